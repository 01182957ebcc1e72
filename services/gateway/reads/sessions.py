"""History, heads and sessions, from the tables."""

import asyncio
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import orjson

from services.gateway.protocol import messages_json
from services.gateway.protocol.limits import PAGE_BYTES
from services.gateway.reads.batching import Batched
from services.gateway.reads.block_lists import BlockLists
from services.gateway.reads.known_heads import KnownHeads
from services.gateway.reads.lost import lost_message
from services.gateway.reads.membership import MOST_READS, Membership, Memberships, changes_too_often
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.previews import preview
from tidings import ids
from tidings.codec import COUNTABLE_KINDS
from tidings.errors import ColdUnavailable
from tidings.groups import mode_name
from tidings.store import by_time, session_tails
from tidings.store.base import ColdRows, Store
from tidings.store.rows import MessageRow, PurgedHead, ReceiptRow

# Stands for the watermarks of a peer that blocks the reader. They are left out, because 0 would look like a step back.
HIDDEN = ReceiptRow("", "")
# Messages searched for the user's own last one: more than a round of the persister has (500 records).
_LOOKED_THROUGH = 1_000

# Rows by (session, user).
Watermarks = Mapping[tuple[str, str], ReceiptRow]


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """A range of a session's history. At most one of the bounds is given. `at`: from the first message of that time
    (ms) or later on."""

    before_seq: int | None
    after_seq: int | None
    limit: int
    at: int | None = None


class SessionReads:
    """Answers include every message acked before the call (PROTOCOL, Freshness). Raises StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        messages: MessageReads,
        memberships: Memberships,
        blocks: BlockLists | None = None,
        known_heads: KnownHeads | None = None,
        cold: ColdRows | None = None,
    ) -> None:
        """`blocks`: the watermarks of a peer that blocks the caller are hidden. `known_heads` records every head that
        is read."""
        self._cold = cold
        self.known_heads = known_heads or KnownHeads()
        self._store = store
        self._blocks = blocks
        self._messages = messages
        self._memberships = memberships
        self._heads: Batched[str, MessageRow] = Batched(lambda names: session_tails.heads(store, names))
        self._receipts: Batched[tuple[str, str], ReceiptRow] = Batched(store.receipts)

    async def head_seq(self, session_id: str) -> int:
        """The newest seq of a session; 0 if it has no message."""
        return (await self.head_seqs((session_id,))).get(session_id, 0)

    async def watermarks(self, session_id: str, user_id: str) -> ReceiptRow:
        """The watermarks of one user; zeros if none are stored."""
        return await self._receipts.get((session_id, user_id)) or ReceiptRow(session_id, user_id)

    async def head_seqs(self, session_ids: Collection[str]) -> dict[str, int]:
        """The newest seq of each session that has a message."""
        return {name: head.seq for name, head in (await self.heads(session_ids)).items()}

    async def readable_head_seqs(self, session_ids: Collection[str]) -> tuple[dict[str, int], Set[str]]:
        """The same, and the sessions whose head cannot be read, without an exception for them."""
        found, failed = await self._heads.get_some(session_ids)
        self._see(found)
        return {name: head.seq for name, head in found.items()}, failed.keys()

    async def learn_heads_of_marks(self, user_id: str, session_ids: Collection[str]) -> None:
        """Record the user's stored watermarks as lower bounds of the heads, because no watermark passes the head."""
        found, _ = await self._receipts.get_some([(name, user_id) for name in session_ids])
        for (name, _), row in found.items():
            self.known_heads.see(name, max(row.delivered_seq, row.read_seq))

    async def head(self, session_id: str) -> MessageRow | None:
        """The newest message of a session; None if it has none."""
        return (await self.heads((session_id,))).get(session_id)

    async def heads(self, session_ids: Collection[str]) -> dict[str, MessageRow]:
        """The newest message of each session that has one."""
        found = await self._heads.get_many(session_ids)
        self._see(found)
        return found

    def _see(self, heads: Mapping[str, MessageRow]) -> None:
        for name, head in heads.items():
            self.known_heads.see(name, head.seq)

    async def page(self, member: Membership, asked: HistoryRange, head: MessageRow | None) -> bytes:
        """A page of history as JSON, ascending, cut at PAGE_BYTES at the end far from the bound.

        The caller must check the membership after it has read `head`, so that no message after a removal is in the page
        (G10).
        """
        session_id, head_seq = member.session_id, head.seq if head else 0
        lowest = max(member.first_seq, _purged_seq(head) + 1)
        if asked.at is not None:
            asked = replace(asked, after_seq=await self._last_before(member, asked.at, lowest, head), at=None)
        if asked.after_seq is not None:
            first = max(lowest, asked.after_seq + 1)
            last = min(head_seq, first + asked.limit - 1)
        else:
            last = min(head_seq, (asked.before_seq or head_seq + 1) - 1)
            first = max(lowest, last - asked.limit + 1)
        rows = await self._messages.range(session_id, first, last, head_seq) if first <= last else []
        if len(rows) < last - first + 1:
            # Messages were purged after the head was read. What was read of the membership still holds.
            purged = _purged_like(head, await self.head(session_id))
            if _purged_seq(purged) > _purged_seq(head):
                return await self.page(member, asked, purged)
            found = {row.seq for row in rows}
            raise lost_message(session_id, next(seq for seq in range(first, last + 1) if seq not in found))
        if asked.after_seq is not None:
            chosen = _within_page(rows)
            has_more = bool(chosen) and chosen[-1][0] < head_seq
        else:
            chosen = _within_page(rows[::-1])[::-1]
            has_more = bool(chosen) and chosen[0][0] > lowest
        messages = [orjson.Fragment(message) for _, message in chosen]
        page: dict[str, object] = {"messages": messages, "head_seq": head_seq, "has_more": has_more}
        if (asked.after_seq or 0) > head_seq:
            page["ahead"] = True
        return orjson.dumps(page | _purged(member, head))

    async def _last_before(self, member: Membership, at_ms: int, lowest: int, head: MessageRow | None) -> int:
        """The seq below the first readable message of a time or later. The head's seq if there is no such message."""
        if head is None or head.at < at_ms:
            return head.seq if head else 0
        found = await by_time.first_seq_at(self._store, member.session_id, at_ms, lowest, head.seq, self._cold)
        return head.seq if found is None else found - 1

    async def described(self, user_id: str, heads: Sequence[MessageRow], found: Watermarks) -> list[dict[str, object]]:
        """The sessions of these heads, in their order, if the user is a member. Memberships are read after heads (G10).

        `found`: the result of `watermarks_of` for all of them.
        """
        members = await self._memberships.check_many(user_id, [head.session_id for head in heads])
        shown = [head for head in heads if (one := members.get(head.session_id)) and _may_see(one, head)]
        found = await self._within(members, shown, found)
        return [_session(members[head.session_id], head, found) for head in shown]

    async def session(self, user_id: str, session_id: str) -> bytes:
        """One session as JSON, also if it has no message. The membership is checked again after the read (G10)."""
        member, head = await self._visible_head(user_id, session_id)
        found: Watermarks = await self.watermarks_of(user_id, [session_id])
        found = await self._within({session_id: member}, [head] if head else [], found)
        return orjson.dumps(_session(member, head, found))

    async def _visible_head(self, user_id: str, session_id: str) -> tuple[Membership, MessageRow | None]:
        """The head, read before the membership, so that a removed member gets no later one (G10).

        A member that was removed and added again between the two reads may not see that head. Then the later head is
        read, because an answer without one would show lower watermarks than before (G8).
        """
        for _ in range(MOST_READS):
            head = await self.head(session_id)
            member = await self._memberships.check(user_id, session_id)
            if head is None or _may_see(member, head):
                return member, head
        raise changes_too_often()

    async def _within(
        self, members: Mapping[str, Membership], heads: Sequence[MessageRow], found: Watermarks
    ) -> Watermarks:
        """The same watermarks, with the user's own last messages at or below the heads.

        The persister writes `sent` before another user's message can hide it (ADR 23). So `sent` may name a
        message above the head that is still being stored. Then the stored messages are searched for the last own one.
        """
        ahead = []
        for head in heads:
            own = found.get((head.session_id, members[head.session_id].user_id))
            if own is not None and own.sent_seq > head.seq and not _is_own_last(head, own.user_id):
                ahead.append(self._looked_up(members[head.session_id], head, own))
        if not ahead:
            return found
        return {**found, **{(row.session_id, row.user_id): row for row in await asyncio.gather(*ahead)}}

    async def _looked_up(self, member: Membership, head: MessageRow, own: ReceiptRow) -> ReceiptRow:
        first_seq = max(own.read_seq + 1, member.joined_seq, 1)
        looked_from = max(first_seq, head.seq - _LOOKED_THROUGH + 1)
        if looked_from > head.seq:
            return own
        try:
            rows = await self._messages.range(head.session_id, looked_from, head.seq, head.seq)
        except ColdUnavailable:
            # The list has to work while archived messages are unavailable.
            return own
        last = next((row for row in reversed(rows) if _is_own_last(row, own.user_id)), None)
        if last is not None:
            return replace(own, sent_seq=last.seq, sent_count=last.count)
        # The user has many unread messages and is writing one, so the message counts as stored.
        return own if looked_from > first_seq else replace(own, sent_seq=0, sent_count=0)

    async def watermarks_of(self, user_id: str, session_ids: Collection[str]) -> dict[tuple[str, str], ReceiptRow]:
        """The watermarks of the user, and of the peers in direct sessions. HIDDEN for a peer that blocks the user."""
        peers = [(name, peer) for name in session_ids for peer in _peers(user_id, name)]
        found, hiding = await asyncio.gather(
            self._receipts.get_many([*((name, user_id) for name in session_ids), *peers]),
            self._hiding(user_id, [peer for _, peer in peers]),
        )
        return found | {place: HIDDEN for place in peers if place[1] in hiding} if hiding else found

    async def _hiding(self, user_id: str, peer_ids: Sequence[str]) -> set[str]:
        """The peers that block the user, and those whose block lists cannot be read."""
        if self._blocks is None or not peer_ids:
            return set()
        return {peer_id for peer_id, _ in await self._blocks.hiding([(peer_id, user_id) for peer_id in peer_ids])}


def _may_see(member: Membership, head: MessageRow) -> bool:
    """False if the user was not a member when the head was read, and has been added again since."""
    return head.seq >= member.first_seq


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


def _is_own_last(message: MessageRow, user_id: str) -> bool:
    """Whether the message, as the newest one, would leave the user nothing unread."""
    return message.sender_id == user_id and message.kind in COUNTABLE_KINDS


def _session(member: Membership, head: MessageRow | None, found: Watermarks) -> dict[str, object]:
    """A session as JSON fields. Watermarks are cut at the head, because some were read after it (G8)."""
    user_id, session_id, group = member.user_id, member.session_id, member.group
    own = found.get((session_id, user_id)) or ReceiptRow(session_id, user_id)
    head_seq = head.seq if head else 0
    answer: dict[str, object] = {
        "session_id": session_id,
        "session_kind": "direct" if group is None else "group",
        "mode": mode_name(member.mode),
        "head": _head(head) if head else {"seq": 0},
        "unread": unread(head, own, member.joined_count) if head else 0,
        "read_seq": min(own.read_seq, head_seq),
        "delivered_seq": min(max(own.delivered_seq, own.read_seq), head_seq),
    }
    if group is not None:
        answer |= {"name": group.name, "joined_seq": member.joined_seq}
    answer |= _purged(member, head)
    for peer in _peers(user_id, session_id):
        row = found.get((session_id, peer)) or ReceiptRow(session_id, peer)
        delivered_seq = min(max(row.delivered_seq, row.read_seq), head_seq)
        shown = {"delivered_seq": delivered_seq, "read_seq": min(row.read_seq, head_seq)}
        answer["peer"] = {"user_id": peer, **({} if row is HIDDEN else shown)}
    return answer


def unread(head: MessageRow, own: ReceiptRow, joined_count: int) -> int:
    """Countable messages after the last read one, the user's own last one, and the joining (G9). Not a counter.

    Messages at the end of their life do not count.
    """
    sent_count = own.sent_count
    if _is_own_last(head, own.user_id):
        # The `sent` row of this message may not be written yet.
        sent_count = head.count
    purged_count = head.purged_count if isinstance(head, PurgedHead) else 0
    return max(0, head.count - max(own.read_count, sent_count, joined_count, purged_count))


def _purged_like(head: MessageRow | None, later: MessageRow | None) -> MessageRow | None:
    """The head, with the purged messages of a later one."""
    if head is None or not isinstance(later, PurgedHead):
        return head
    return session_tails.purged_head(head, later.purged_seq, later.purged_count)


def _purged_seq(head: MessageRow | None) -> int:
    return head.purged_seq if isinstance(head, PurgedHead) else 0


def _purged(member: Membership, head: MessageRow | None) -> dict[str, object]:
    """The field that names messages at the end of their life, if the member could read them before."""
    purged_seq = _purged_seq(head)
    return {"purged_seq": purged_seq} if purged_seq >= member.first_seq else {}


def _head(head: MessageRow) -> dict[str, object]:
    if head.seq <= _purged_seq(head) or not head.kind:
        return {"seq": head.seq, "at": head.at}
    return {"seq": head.seq, "at": head.at, "sender_id": head.sender_id, "preview": preview(head)}
