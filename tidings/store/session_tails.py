"""The end of each session: its newest message, as of now or as of a position of the log. Over any Store.

A segment is listed before its first row is written, so the newest listed one may be empty (H8). All calls raise
StoreUnavailable.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from tidings.errors import LostLogTail
from tidings.ids import Position
from tidings.store.base import SessionSegment, Store
from tidings.store.directory import DIRECTORY_PAGE, FIRST_ROWS, NEWEST_ROWS, PAGE_ROWS, Check, first_below, unchecked
from tidings.store.rows import MessageRow, PurgedHead
from tidings.store.segment_rows import SegmentRow

_ABOVE_ALL_SEGMENTS = 2**31 - 1
_END_OF_LOG = Position(2**31, 2**63)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a session as of a position: seq, countable messages and time (ms) of its newest message.

    `is_closed`: the segment was closed below the position. Then the directory holds the tail, and no message is read.
    """

    segment: SegmentRow
    seq: int
    count: int
    at: int
    is_closed: bool = False
    message: MessageRow | None = None


class TailsAndRowsAbove(NamedTuple):
    """`rows_above`: the rows that were read at or above a session's position and below its end."""

    tails: dict[str, Tail | LostLogTail | None]
    rows_above: list[MessageRow]


async def heads(store: Store, session_ids: Collection[str]) -> dict[str, MessageRow]:
    """The newest stored message of each session. Sessions without messages are left out.

    A PurgedHead for a session with messages at the end of their life. The newest message of a cold session stays in the
    tables until then, so that no head is read from an object.
    """
    # Not by tails_below, because its comparison of positions took a fifth of this function's time in a gateway.
    listed = await store.segments(session_ids, 1) if session_ids else {}
    found = await _newest_messages(store, [rows[0] for rows in listed.values()])
    unclear = [session_id for session_id in listed if session_id not in found]
    tails = await asyncio.gather(
        *(_tail_below(store, session_id, _END_OF_LOG, _END_OF_LOG, unchecked) for session_id in unclear)
    )
    found |= {name: _head_of(tail) for name, (tail, _) in zip(unclear, tails, strict=True) if isinstance(tail, Tail)}
    for session_id, head in found.items():
        newest = listed[session_id][0]
        if newest.purged_seq is not None:
            found[session_id] = purged_head(head, newest.purged_seq, newest.purged_count or 0)
    return found


async def tails_below(
    store: Store, positions: Mapping[str, Position], check: Check = unchecked
) -> dict[str, Tail | LostLogTail | None]:
    """Like `tails_and_rows_above`, and returns only the tails."""
    return (await tails_and_rows_above(store, positions, {}, check)).tails


async def tails_and_rows_above(
    store: Store,
    positions: Mapping[str, Position],
    ends: Mapping[str, Position],
    check: Check = unchecked,
) -> TailsAndRowsAbove:
    """The newest message of each session that was made below its position, from the newest segment that has one.

    Law 5 (a replay ignores later rows) needs the state as of a position. A tail is None
    if the session had not begun. It is a LostLogTail if segments were opened below the
    position, so that their messages are confirmed, but none can be read (ARCHITECTURE, Stages).
    LostLogTail is a value and is not raised, because only the session's partition stops.
    The search also returns the rows that it read at or above the position and below the
    session's end. The persister needs them to detect a log that lost its tail.
    `check` is called after each read.
    """
    listed = await store.segments(positions, FIRST_ROWS) if positions else {}
    check()
    candidates = {session_id: first_below(rows, positions[session_id]) for session_id, rows in listed.items()}
    tails: dict[str, Tail | LostLogTail | None] = dict.fromkeys(positions)
    unread = []
    for session_id, segment in candidates.items():
        if segment is not None:
            tails[session_id] = _tail_of_closed(segment, positions[session_id])
            unread += [segment] if tails[session_id] is None else []
    newest = await _newest_messages(store, unread)
    check()
    unclear = []
    for session_id, segment in candidates.items():
        message = newest.get(session_id)
        if segment is not None and message is not None and message.made_at < positions[session_id]:
            tails[session_id] = _tail_of(segment, message)
        elif tails[session_id] is None:
            unclear.append(session_id)
    found = await asyncio.gather(
        *(
            _tail_below(store, session_id, positions[session_id], ends.get(session_id, positions[session_id]), check)
            for session_id in unclear
        )
    )
    tails.update((session_id, tail) for session_id, (tail, _) in zip(unclear, found, strict=True))
    return TailsAndRowsAbove(tails, [row for _, rows in found for row in rows])


def _head_of(tail: Tail) -> MessageRow:
    """The message of a tail, or what is left of it. A head without sender and body has kind 0."""
    if tail.message is not None:
        return tail.message
    name = (tail.segment.session_id, tail.segment.segment, tail.seq)
    return MessageRow(*name, 0, "", "", 0, b"{}", tail.at, tail.count, 0, 0)


def purged_head(head: MessageRow, purged_seq: int, purged_count: int) -> PurgedHead:
    """A head of a session of which these messages are gone."""
    values = {field.name: getattr(head, field.name) for field in fields(MessageRow)}
    return PurgedHead(**values, purged_seq=purged_seq, purged_count=purged_count)


async def _tail_below(
    store: Store, session_id: str, position: Position, end: Position, check: Check
) -> tuple[Tail | LostLogTail | None, list[MessageRow]]:
    """The tail of one session, and the rows in [position, end) that were read in the search.

    Searches segment by segment, newest first, for sessions whose newest row alone does not give the tail. Segments
    that were opened at or above `end` are not read, so the cost does not depend on how far commits are behind.
    """
    below, lowest = 0, _ABOVE_ALL_SEGMENTS
    rows_above: list[MessageRow] = []
    while page := await store.segments_below(session_id, lowest, DIRECTORY_PAGE):
        check()
        for segment in page:
            if segment.made_at >= end:
                continue
            closed = _tail_of_closed(segment, position)
            if closed is not None:
                return closed, rows_above
            message, above = await _newest_message_below(store, segment, position, end, check)
            rows_above += above
            if segment.made_at < position:
                below += 1
                if message is not None:
                    return _tail_of(segment, message), rows_above
        lowest = page[-1].segment
    if below:
        lost = LostLogTail(
            f"{session_id}: {below} segments were opened below epoch {position.epoch} offset {position.offset}, "
            "yet no message can be read. Restore the messages or the log before this partition continues"
        )
        return lost, rows_above
    return None, rows_above


def _tail_of(segment: SegmentRow, message: MessageRow) -> Tail:
    return Tail(segment, message.seq, message.count, message.at, message=message)


def _tail_of_closed(segment: SegmentRow, position: Position) -> Tail | None:
    """The tail that the directory holds, if the segment was closed below the position.

    If it was closed at or above it, the closing is ignored: law 5 (a replay ignores later rows). The hot rows are still
    there then, because the archiver waits until the persister has confirmed the closing.
    """
    if segment.closed_at is None or segment.closed_at >= position:
        return None
    if segment.last_seq is None or segment.last_count is None or segment.last_at is None:
        return None
    return Tail(segment, segment.last_seq, segment.last_count, segment.last_at, is_closed=True)


async def _newest_message_below(
    store: Store, segment: SegmentRow, position: Position, end: Position, check: Check
) -> tuple[MessageRow | None, list[MessageRow]]:
    """The newest message of the segment below the position, and the rows in [position, end) before it."""
    rows_above: list[MessageRow] = []
    name = SessionSegment(segment.session_id, segment.segment)
    rows: Sequence[MessageRow] = (await store.newest_messages([name], NEWEST_ROWS)).get(name, ())
    upper = rows[-1].seq if rows else segment.first_seq
    while True:
        check()
        for row in rows:
            if row.made_at < position:
                return row, rows_above
            if row.made_at < end:
                rows_above.append(row)
        if upper <= segment.first_seq:
            return None, rows_above
        # An empty page is not the end: confirmed messages may be below a gap of unconfirmed ones.
        lower = max(segment.first_seq, upper - PAGE_ROWS)
        rows = (await store.messages(name, lower, upper - 1))[::-1]
        upper = lower


async def _newest_messages(store: Store, segments: Sequence[SegmentRow]) -> dict[str, MessageRow]:
    """The newest message of each segment, by session. `segments`: at most one per session."""
    names = [SessionSegment(row.session_id, row.segment) for row in segments]
    newest = await store.newest_messages(names, 1) if names else {}
    return {name.session_id: rows[0] for name, rows in newest.items()}
