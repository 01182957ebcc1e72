"""What the core asks for by REST, in the few calls that it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tidings_client.errors import ApiError, Unreachable
from tidings_client.rest import HistoryPage, Rest

HISTORY_LIMIT = 200
SESSION_LIMIT = 100
RECEIPT_PAGES = 5  # members by user id; beyond them the next `group_receipt` tells
SESSION_PAGES = 5  # newest activity first, so the sessions that we have just sent to are near the front


async def read_log(rest: Rest, session_id: str, after_seq: int | None) -> HistoryPage:
    """A page of a group's log after `after_seq`; None: from the seq at which this user joined."""
    if after_seq is None:
        session = await rest.session(session_id)
        after_seq = max(0, (session.joined_seq or 1) - 1)
    return await rest.history(session_id, after_seq=after_seq, limit=HISTORY_LIMIT)


async def watermarks(rest: Rest, session_ids: set[str]) -> AsyncIterator[tuple[str, int, int]]:
    """(session_id, delivered_seq, read_seq) of the peers in these sessions. They are a refreshment: without
    an answer it simply ends, and the next `live` asks again."""
    missing, before = set(session_ids), None
    for _ in range(SESSION_PAGES):
        try:
            page = await rest.sessions(SESSION_LIMIT, before)
        except (ApiError, Unreachable):
            return
        for session in page.sessions:
            if session.session_id in missing and session.peer is not None:
                yield session.session_id, session.peer.delivered_seq, session.peer.read_seq
            missing.discard(session.session_id)
        before = page.next
        if not missing or before is None:
            return


async def counts(rest: Rest, session_id: str, seq: int) -> tuple[int, int] | None:
    """How many members have received and read a message, as far as the first pages tell; they end with the first
    reader. A refreshment, too: None without an answer."""
    delivered, after = 0, None
    try:
        for _ in range(RECEIPT_PAGES):
            page = await rest.receipts(session_id, seq, after)
            delivered += len(page.delivered)
            if page.read or page.next is None:
                return delivered, len(page.read)
            after = page.next
    except (ApiError, Unreachable):
        return None
    return delivered, 0
