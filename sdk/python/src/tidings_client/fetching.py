"""Answers the core's Fetch effects with REST calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tidings_client import effects
from tidings_client.core import Core
from tidings_client.effects import Effect, Fetch
from tidings_client.errors import ApiError, Unreachable
from tidings_client.rest import HistoryPage, Rest, Session

HISTORY_LIMIT = 200
SESSION_LIMIT = 100
RECEIPT_PAGES = 5  # members by user id; counts beyond them come with the next `group_receipt`
SESSION_PAGES = 5  # newest activity first, so sessions with recent own messages are on the first pages
FETCHES_AT_ONCE = 4
ASKED_ONE_BY_ONE = 4  # sessions; for more of them one call of the session list answers most


class Fetcher:
    """Executes Fetch effects and passes the answers to the core. `apply` executes the effects that the core returns;
    `now_ms` is its clock."""

    def __init__(
        self, rest: Rest, core: Core, apply: Callable[[list[Effect]], None], now_ms: Callable[[], int]
    ) -> None:
        self._rest = rest
        self._core = core
        self._apply = apply
        self._now_ms = now_ms
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)

    def answer(self, asked: Fetch) -> Coroutine[Any, Any, None]:
        """Fetch, and pass the answer to the core."""
        match asked:
            case effects.FetchHistory(session_id=session_id, after_seq=after_seq):
                return self._history(session_id, after_seq)
            case effects.FetchWatermarks(session_ids=session_ids):
                return self._watermarks(set(session_ids))
            case effects.FetchOwnMarks(session_ids=session_ids):
                return self._own_marks(dict.fromkeys(session_ids))
            case effects.FetchCounts(session_id=session_id, seq=seq):
                return self._counts(session_id, seq)

    async def _history(self, session_id: str, after_seq: int | None) -> None:
        try:
            async with self._slots:
                page = await read_log(self._rest, session_id, after_seq)
        except (OSError, ApiError, Unreachable) as error:
            self._apply(self._core.history_failed(self._now_ms(), session_id, gone=_is_gone(error)))
            return
        if page.ahead:
            self._apply(self._core.history_ahead(self._now_ms(), session_id))
        else:
            read = (page.messages, page.has_more, page.purged_seq)
            self._apply(self._core.history(self._now_ms(), session_id, *read))

    async def _watermarks(self, session_ids: set[str]) -> None:
        async for peer_of_session in watermarks(self._rest, session_ids):
            self._apply(self._core.watermarks(*peer_of_session))

    async def _own_marks(self, missing: dict[str, None]) -> None:
        if len(missing) > ASKED_ONE_BY_ONE:
            async for session in listed(self._rest, set(missing)):
                del missing[session.session_id]
                self._own_mark(session)
        for session_id in missing:
            try:
                async with self._slots:
                    session = await self._rest.session(session_id)
            except (OSError, ApiError, Unreachable) as error:
                self._core.own_marks_failed(session_id, gone=_is_gone(error))
            else:
                self._own_mark(session)

    def _own_mark(self, session: Session) -> None:
        marks = (session.session_id, session.delivered_seq, max(session.joined_seq or 1, session.purged_seq + 1))
        self._apply(self._core.own_marks(self._now_ms(), *marks))

    async def _counts(self, session_id: str, seq: int) -> None:
        async with self._slots:
            found = await counts(self._rest, session_id, seq)
        if found is not None:
            self._apply(self._core.counts(session_id, seq, *found))


def _is_gone(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.code == "session_not_found"


async def read_log(rest: Rest, session_id: str, after_seq: int | None) -> HistoryPage:
    """A page of a group's log after `after_seq`; None: from the seq of joining."""
    if after_seq is None:
        session = await rest.session(session_id)
        after_seq = max(0, (session.joined_seq or 1) - 1)
    return await rest.history(session_id, after_seq=after_seq, limit=HISTORY_LIMIT)


async def listed(rest: Rest, session_ids: set[str]) -> AsyncIterator[Session]:
    """Those of these sessions that are on the first pages of the session list. Ends early if a call fails."""
    missing, before = set(session_ids), None
    for _ in range(SESSION_PAGES):
        try:
            page = await rest.sessions(SESSION_LIMIT, before)
        except (ApiError, Unreachable):
            return
        for session in page.sessions:
            if session.session_id in missing:
                missing.discard(session.session_id)
                yield session
        before = page.next
        if not missing or before is None:
            return


async def watermarks(rest: Rest, session_ids: set[str]) -> AsyncIterator[tuple[str, int, int]]:
    """(session_id, delivered_seq, read_seq) of the peers in these sessions. An absent watermark is 0 and moves nothing.

    Ends early if a call fails, because the client fetches again after the next `live`.
    """
    async for session in listed(rest, session_ids):
        if session.peer is not None:
            yield session.session_id, session.peer.delivered_seq or 0, session.peer.read_seq or 0


async def counts(rest: Rest, session_id: str, seq: int) -> tuple[int, int] | None:
    """How many members have received and read a message, counted on the first pages. Stops at the first page with a
    reader. None if a call fails."""
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
