"""History, heads, the list of sessions and who has read what, from the tables. Direct sessions."""

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import orjson

from services.gateway import messages_json
from services.gateway.batching import Batched
from services.gateway.inbox_reads import PAGE_BYTES
from services.gateway.message_reads import MessageReads
from tidings import ids
from tidings.codec import COUNTABLE_KINDS
from tidings.errors import Refused
from tidings.store import history
from tidings.store.base import Store
from tidings.store.rows import MessageRow, ReceiptRow

PREVIEW_POINTS = 100


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """What is asked of a session's history; at most one of the two bounds is given."""

    before_seq: int | None
    after_seq: int | None
    limit: int


class SessionReads:
    """Every answer holds what was acked before it was asked for (PROTOCOL, Freshness). Raises StoreUnavailable."""

    def __init__(self, store: Store, messages: MessageReads) -> None:
        """Equal reads that wait for each other are made once."""
        self._store = store
        self._messages = messages
        self._heads: Batched[str, MessageRow] = Batched(lambda names: history.heads(store, names))
        self._receipts: Batched[tuple[str, str], ReceiptRow] = Batched(store.receipts)

    async def head_seq(self, session_id: str) -> int:
        """The newest seq of a session, 0 for one that has not begun."""
        head = await self._heads.get(session_id)
        return head.seq if head else 0

    async def watermarks(self, session_id: str, user_id: str) -> ReceiptRow:
        """The watermarks of one user; zeros where there are none."""
        return await self._receipts.get((session_id, user_id)) or ReceiptRow(session_id, user_id)

    async def page(self, session_id: str, asked: HistoryRange) -> bytes:
        """A page of history as JSON, ascending, cut at PAGE_BYTES on the far side of where it begins."""
        head_seq = await self.head_seq(session_id)
        if asked.after_seq is not None:
            first, last = asked.after_seq + 1, min(head_seq, asked.after_seq + asked.limit)
        else:
            last = min(head_seq, (asked.before_seq or head_seq + 1) - 1)
            first = max(1, last - asked.limit + 1)
        rows = await self._messages.range(session_id, first, last, head_seq) if first <= last else []
        if asked.after_seq is not None:
            chosen = _within_page(rows)
            has_more = bool(chosen) and chosen[-1][0] < head_seq
        else:
            chosen = _within_page(rows[::-1])[::-1]
            has_more = bool(chosen) and chosen[0][0] > 1
        messages = [orjson.Fragment(message) for _, message in chosen]
        return orjson.dumps({"messages": messages, "head_seq": head_seq, "has_more": has_more})

    async def sessions(self, user_id: str, limit: int, before: str | None) -> bytes:
        """The user's sessions as JSON, newest activity first. Raises Refused for a `before` we did not give."""
        below = _decoded_cursor(before) if before else None
        listed = {row.session_id: row.joined_count for row in await self._store.user_sessions(user_id)}
        heads = await self._heads.get_many(listed)
        order = sorted(heads, key=lambda name: (heads[name].at, name), reverse=True)
        if below is not None:
            order = [name for name in order if (heads[name].at, name) < below]
        chosen = order[:limit]
        found = await self._watermarks_of(user_id, chosen)
        items = [_session(user_id, name, heads[name], listed[name], found) for name in chosen]
        answer: dict[str, object] = {"sessions": items}
        if len(order) > limit:
            answer["next"] = _cursor(heads[chosen[-1]])
        return orjson.dumps(answer)

    async def session(self, user_id: str, session_id: str) -> bytes:
        """One session as JSON, begun or not."""
        head = await self._heads.get(session_id)
        found = await self._watermarks_of(user_id, [session_id])
        return orjson.dumps(_session(user_id, session_id, head, 0, found))

    async def message_receipts(self, user_id: str, session_id: str, seq: int) -> bytes:
        """Who has got and read one's own message, as JSON. Raises Refused."""
        stored = await history.rows_at(self._store, {session_id: [seq]})
        message = stored.get((session_id, seq))
        if message is None:
            raise Refused("message_not_found", "no message with this seq in the session")
        if message.sender_id != user_id:
            raise Refused("forbidden", "only the author of a message is told who has read it")
        peers = _peers(user_id, session_id)
        found = await self._receipts.get_many([(session_id, peer) for peer in peers])
        rows = [row for row in found.values() if max(row.delivered_seq, row.read_seq) >= seq]
        answer = {
            "delivered": [row.user_id for row in rows],
            "read": [{"user_id": row.user_id, "at": row.read_at} for row in rows if row.read_seq >= seq],
            "members": len(peers),
        }
        return orjson.dumps(answer)

    async def _watermarks_of(self, user_id: str, session_ids: Collection[str]) -> Mapping[tuple[str, str], ReceiptRow]:
        """The watermarks of the user and the peers in these sessions."""
        return await self._receipts.get_many(
            [(name, member) for name in session_ids for member in (user_id, *_peers(user_id, name))]
        )


def _peers(user_id: str, session_id: str) -> Sequence[str]:
    return [member for member in ids.direct_users(session_id) if member != user_id]


def _within_page(rows: Sequence[MessageRow]) -> list[tuple[int, bytes]]:
    """(seq, JSON) of the first rows, up to PAGE_BYTES, at least one."""
    chosen: list[tuple[int, bytes]] = []
    size = 0
    for row in rows:
        encoded = messages_json.of_row(row)
        size += len(encoded) + 1
        if chosen and size > PAGE_BYTES:
            break
        chosen.append((row.seq, encoded))
    return chosen


def _session(
    user_id: str,
    session_id: str,
    head: MessageRow | None,
    joined_count: int,
    found: Mapping[tuple[str, str], ReceiptRow],
) -> dict[str, object]:
    own = found.get((session_id, user_id)) or ReceiptRow(session_id, user_id)
    answer: dict[str, object] = {
        "session_id": session_id,
        "session_kind": "direct",
        "mode": "write",
        "head": _head(head) if head else {"seq": 0},
        "unread": unread(head, own, joined_count) if head else 0,
        "read_seq": own.read_seq,
        "delivered_seq": max(own.delivered_seq, own.read_seq),
    }
    for peer in _peers(user_id, session_id):
        row = found.get((session_id, peer)) or ReceiptRow(session_id, peer)
        answer["peer"] = {
            "user_id": peer,
            "delivered_seq": max(row.delivered_seq, row.read_seq),
            "read_seq": row.read_seq,
        }
    return answer


def unread(head: MessageRow, own: ReceiptRow, joined_count: int) -> int:
    """Countable messages after what was read, one's own last one, or one's joining (G9). Arithmetic, no counter."""
    sent_count = own.sent_count
    if head.sender_id == own.user_id and head.kind in COUNTABLE_KINDS:
        # The receipts service may not have come to it yet.
        sent_count = head.count
    return max(0, head.count - max(own.read_count, sent_count, joined_count))


def _head(head: MessageRow) -> dict[str, object]:
    return {"seq": head.seq, "at": head.at, "sender_id": head.sender_id, "preview": preview(head)}


def preview(message: MessageRow) -> str:
    """A line for a list of sessions: the beginning of a text, the name of anything else."""
    body = orjson.loads(message.body)
    text = body.get("text") or body.get("name") or body.get("type") or body.get("event")
    kind = messages_json.kind_name(message.kind)
    if kind == "text":
        return str(text)[:PREVIEW_POINTS]
    return f"[{kind}] {text}"[:PREVIEW_POINTS] if text else f"[{kind}]"


def _cursor(head: MessageRow) -> str:
    return base64.urlsafe_b64encode(f"{head.at} {head.session_id}".encode()).decode()


def _decoded_cursor(text: str) -> tuple[int, str]:
    try:
        at, session_id = base64.urlsafe_b64decode(text.encode()).decode().split(" ")
        return int(at), session_id
    except (ValueError, binascii.Error):
        raise Refused("invalid_frame", "before takes the `next` of an earlier answer, unchanged") from None
