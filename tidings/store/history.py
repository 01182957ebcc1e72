"""Results that need more than one read: heads, ranges across segments, state as of a position. Over any Store.

A segment or bucket is listed before its first row is written, so the newest listed
one may be empty (H8). All calls raise StoreUnavailable.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeVar

from tidings.errors import LostLogTail
from tidings.ids import Position
from tidings.store.base import SessionSegment, Store, UserBucket
from tidings.store.rows import BucketRow, InboxRow, MessageRow, SegmentRow

D = TypeVar("D", SegmentRow, BucketRow)
# Raises when the answer is no longer needed. Called after each read, so that a long search counts as many awaits: law
# 12 (a round that waited too long is dropped).
Check = Callable[[], None]

# Two, because the newest listed one may still be empty.
_FIRST_DIRECTORY_ROWS = 2
_DIRECTORY_PAGE = 100
_ABOVE_ALL_SEGMENTS = 2**31 - 1
_END_OF_LOG = Position(2**31, 2**63)
# ARCHITECTURE, Stages: a round's rows above its first offset are mostly among the newest 20. Then the search reads
# pages of 200 rows, which take 5 MiB with the longest body (24 KiB).
_NEWEST_ROWS = 20
_PAGE_ROWS = 200
# Up to so many seqs apart, two wanted rows are read in one request with the rows between them, which is cheaper.
_RUN_GAP = 16


def _unchecked() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Tail:
    """A session's newest message and its segment."""

    segment: SegmentRow
    message: MessageRow


@dataclass(frozen=True, slots=True)
class InboxEnd:
    """A user's newest bucket and its newest row, which is None if all rows of the bucket have expired (H9)."""

    bucket: BucketRow
    row: InboxRow | None


class TailsAndRowsAbove(NamedTuple):
    """`rows_above`: the rows that were read at or above a session's position and below its end."""

    tails: dict[str, Tail | LostLogTail | None]
    rows_above: list[MessageRow]


# -- sessions --------------------------------------------------------------------------------------


async def heads(store: Store, session_ids: Collection[str]) -> dict[str, MessageRow]:
    """The newest stored message of each session. Sessions without messages are left out."""
    # Not by tails_below, because its comparison of positions took a fifth of this function's time in a gateway.
    listed = await store.segments(session_ids, 1) if session_ids else {}
    found = await _newest_messages(store, [rows[0] for rows in listed.values()])
    unclear = [session_id for session_id in listed if session_id not in found]
    tails = await asyncio.gather(
        *(_tail_below(store, session_id, _END_OF_LOG, _END_OF_LOG, _unchecked) for session_id in unclear)
    )
    return found | {
        name: tail.message for name, (tail, _) in zip(unclear, tails, strict=True) if isinstance(tail, Tail)
    }


async def tails_below(
    store: Store, positions: Mapping[str, Position], check: Check = _unchecked
) -> dict[str, Tail | LostLogTail | None]:
    """Like `tails_and_rows_above`, and returns only the tails."""
    return (await tails_and_rows_above(store, positions, {}, check)).tails


async def tails_and_rows_above(
    store: Store,
    positions: Mapping[str, Position],
    ends: Mapping[str, Position],
    check: Check = _unchecked,
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
    listed = await store.segments(positions, _FIRST_DIRECTORY_ROWS) if positions else {}
    check()
    candidates = {session_id: _first_below(rows, positions[session_id]) for session_id, rows in listed.items()}
    newest = await _newest_messages(store, [row for row in candidates.values() if row is not None])
    check()
    tails: dict[str, Tail | LostLogTail | None] = dict.fromkeys(positions)
    unclear = []
    for session_id, segment in candidates.items():
        message = newest.get(session_id)
        if segment is not None and message is not None and message.made_at < positions[session_id]:
            tails[session_id] = Tail(segment, message)
        else:
            unclear.append(session_id)
    found = await asyncio.gather(
        *(
            _tail_below(store, session_id, positions[session_id], ends.get(session_id, positions[session_id]), check)
            for session_id in unclear
        )
    )
    tails.update((session_id, tail) for session_id, (tail, _) in zip(unclear, found, strict=True))
    return TailsAndRowsAbove(tails, [row for _, rows in found for row in rows])


async def read_range(
    store: Store, session_id: str, first_seq: int, last_seq: int, limit: int, *, descending: bool = False
) -> list[MessageRow]:
    """Up to `limit` messages of first_seq..last_seq (both included) across segments.

    Without `descending` the lowest ones in ascending order; with it the highest ones, newest first.
    """
    if descending and last_seq - first_seq >= limit:
        # Seqs have no gaps (G3), so below the head the limit gives the first seq to read.
        head = (await heads(store, [session_id])).get(session_id)
        last_seq = min(last_seq, head.seq if head else 0)
        first_seq = max(first_seq, last_seq - limit + 1)
    last_seq = min(last_seq, first_seq + limit - 1)
    if last_seq < first_seq:
        return []
    directory = await _directory_from(store, session_id, first_seq)
    rows = await _read_runs(store, _split((first_seq, last_seq), directory))
    return rows[::-1] if descending else rows


async def rows_at(store: Store, wanted: Mapping[str, Collection[int]]) -> dict[tuple[str, int], MessageRow]:
    """The messages at these seqs of each session. Seqs that are not stored are left out."""
    asked = {session_id: sorted(seqs) for session_id, seqs in wanted.items() if seqs}
    directories = await _directories_from(store, {session_id: seqs[0] for session_id, seqs in asked.items()})
    spans = [
        span
        for session_id, seqs in asked.items()
        for run in _runs(seqs)
        for span in _split(run, directories[session_id])
    ]
    rows = await _read_runs(store, spans)
    return {(row.session_id, row.seq): row for row in rows if row.seq in wanted[row.session_id]}


async def _tail_below(
    store: Store, session_id: str, position: Position, end: Position, check: Check
) -> tuple[Tail | LostLogTail | None, list[MessageRow]]:
    """The tail of one session, and the rows in [position, end) that were read in the search.

    Searches segment by segment, newest first, for sessions whose newest row alone does not give the tail. Segments
    that were opened at or above `end` are not read, so the cost does not depend on how far commits are behind.
    """
    below, lowest = 0, _ABOVE_ALL_SEGMENTS
    rows_above: list[MessageRow] = []
    while page := await store.segments_below(session_id, lowest, _DIRECTORY_PAGE):
        check()
        for segment in page:
            if segment.made_at >= end:
                continue
            message, above = await _newest_message_below(store, segment, position, end, check)
            rows_above += above
            if segment.made_at < position:
                below += 1
                if message is not None:
                    return Tail(segment, message), rows_above
        lowest = page[-1].segment
    if below:
        lost = LostLogTail(
            f"{session_id}: {below} segments were opened below epoch {position.epoch} offset {position.offset}, "
            "yet no message can be read. Restore the messages or the log before this partition continues"
        )
        return lost, rows_above
    return None, rows_above


async def _newest_message_below(
    store: Store, segment: SegmentRow, position: Position, end: Position, check: Check
) -> tuple[MessageRow | None, list[MessageRow]]:
    """The newest message of the segment below the position, and the rows in [position, end) before it."""
    rows_above: list[MessageRow] = []
    name = SessionSegment(segment.session_id, segment.segment)
    rows: Sequence[MessageRow] = (await store.newest_messages([name], _NEWEST_ROWS)).get(name, ())
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
        lower = max(segment.first_seq, upper - _PAGE_ROWS)
        rows = (await store.messages(name, lower, upper - 1))[::-1]
        upper = lower


async def _newest_messages(store: Store, segments: Sequence[SegmentRow]) -> dict[str, MessageRow]:
    """The newest message of each segment, by session. `segments`: at most one per session."""
    names = [SessionSegment(row.session_id, row.segment) for row in segments]
    newest = await store.newest_messages(names, 1) if names else {}
    return {name.session_id: rows[0] for name, rows in newest.items()}


# -- ranges ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Span:
    """A range of seqs of one segment, both included."""

    name: SessionSegment
    first_seq: int
    last_seq: int


async def _directory_from(store: Store, session_id: str, first_seq: int) -> list[SegmentRow]:
    return (await _directories_from(store, {session_id: first_seq}))[session_id]


async def _directories_from(store: Store, first_seqs: Mapping[str, int]) -> dict[str, list[SegmentRow]]:
    """The segments of each session from the one that holds its seq to the newest, ascending."""
    listed = await store.segments(first_seqs, _FIRST_DIRECTORY_ROWS) if first_seqs else {}
    complete = await asyncio.gather(
        *(_down_to(store, session_id, seq, listed.get(session_id, ())) for session_id, seq in first_seqs.items())
    )
    return dict(zip(first_seqs, complete, strict=True))


async def _down_to(store: Store, session_id: str, seq: int, newest: Sequence[SegmentRow]) -> list[SegmentRow]:
    rows = list(newest)
    while rows and rows[-1].first_seq > seq:
        older = await store.segments_below(session_id, rows[-1].segment, _DIRECTORY_PAGE)
        if not older:
            break
        rows.extend(older)
    return rows[::-1]


def _split(run: tuple[int, int], directory: Sequence[SegmentRow]) -> list[_Span]:
    """Cut a run of seqs where segments begin. `directory` is ascending."""
    first, last = run
    ends = [following.first_seq - 1 for _, following in pairwise(directory)]
    spans = []
    for segment, end in zip(directory, [*ends, last], strict=False):
        start, stop = max(first, segment.first_seq), min(last, end)
        if start <= stop:
            spans.append(_Span(SessionSegment(segment.session_id, segment.segment), start, stop))
    return spans


def _runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Join ascending seqs into runs with small gaps, each at most a page long."""
    runs: list[tuple[int, int]] = []
    for seq in seqs:
        if runs and seq - runs[-1][1] <= _RUN_GAP and seq - runs[-1][0] < _PAGE_ROWS:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs


async def _read_runs(store: Store, spans: Sequence[_Span]) -> list[MessageRow]:
    """All rows of the spans, in the order of the spans."""
    pages = await asyncio.gather(*(store.messages(span.name, span.first_seq, span.last_seq) for span in spans))
    return [row for page in pages for row in page]


# -- inboxes ---------------------------------------------------------------------------------------


async def inbox_tails_below(
    store: Store, positions: Mapping[str, Position], check: Check = _unchecked
) -> dict[str, InboxEnd | None]:
    """The newest bucket of each user that was opened below the position, with its newest row below the position.

    Law 5 (a replay ignores later rows) needs the state as of a position. None: no bucket was
    opened below it. A bucket that was opened below the position held a confirmed row below it.
    If no such row can be read, all of them have expired, and those of older buckets too. Then
    the row is None (H9). `check` is called after each read.
    """
    buckets = await _buckets_below(store, positions, check)
    names = {user_id: UserBucket(user_id, bucket.bucket) for user_id, bucket in buckets.items()}
    newest = await store.newest_inbox_rows(names.values(), 1) if names else {}
    check()
    ends: dict[str, InboxEnd | None] = dict.fromkeys(positions)
    unclear = []
    for user_id, bucket in buckets.items():
        rows = newest.get(names[user_id], ())
        if rows and rows[0].made_at >= positions[user_id]:
            unclear.append(user_id)
        else:
            ends[user_id] = InboxEnd(bucket, rows[0] if rows else None)
    newest = await store.newest_inbox_rows([names[user_id] for user_id in unclear], _NEWEST_ROWS) if unclear else {}
    check()
    found = await asyncio.gather(
        *(
            _inbox_row_below(store, buckets[user_id], positions[user_id], newest.get(names[user_id], ()), check)
            for user_id in unclear
        )
    )
    ends.update({user_id: InboxEnd(buckets[user_id], row) for user_id, row in zip(unclear, found, strict=True)})
    return ends


async def inbox_tails(store: Store, user_ids: Collection[str]) -> dict[str, int]:
    """The newest readable inbox_seq of each user, 0 for an empty inbox.

    If all rows have expired, it is the seq before the first one of the newest bucket.
    """
    listed = await store.inbox_buckets(user_ids, _FIRST_DIRECTORY_ROWS) if user_ids else {}
    names = [UserBucket(user_id, row.bucket) for user_id, rows in listed.items() for row in rows]
    newest = await store.newest_inbox_rows(names, 1) if names else {}
    tails = dict.fromkeys(user_ids, 0)
    for user_id, rows in listed.items():
        tails[user_id] = rows[0].first_inbox_seq - 1
    for name, inbox_rows in newest.items():
        tails[name.user_id] = max(tails[name.user_id], inbox_rows[0].inbox_seq)
    return tails


async def _buckets_below(store: Store, positions: Mapping[str, Position], check: Check) -> dict[str, BucketRow]:
    """The newest bucket of each user that was opened below the position. Users without one are left out."""
    found: dict[str, BucketRow] = {}
    pending: Collection[str] = positions
    limit = _FIRST_DIRECTORY_ROWS
    while pending:
        listed = await store.inbox_buckets(pending, limit)
        check()
        unclear = []
        for user_id, rows in listed.items():
            bucket = _first_below(rows, positions[user_id])
            if bucket is not None:
                found[user_id] = bucket
            elif len(rows) == limit:
                unclear.append(user_id)
        pending, limit = unclear, limit * 10
    return found


async def _inbox_row_below(
    store: Store, bucket: BucketRow, position: Position, rows: Sequence[InboxRow], check: Check
) -> InboxRow | None:
    """The newest row made below the position, or None. `rows`: the newest rows of the bucket, which often hold it."""
    name = UserBucket(bucket.user_id, bucket.bucket)
    while rows:
        for row in rows:
            if row.made_at < position:
                return row
        lowest = rows[-1].inbox_seq
        rows = (await store.inbox_rows(name, max(bucket.first_inbox_seq, lowest - _PAGE_ROWS), lowest - 1))[::-1]
        check()
    return None


def _first_below(rows: Sequence[D], position: Position) -> D | None:
    return next((row for row in rows if row.made_at < position), None)
