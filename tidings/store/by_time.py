"""The first message of a session at or after a time. Over any Store.

`at` never falls within a session, and all messages of a segment are of its month. So the directory gives the segments
that may hold the place, and a binary search of single messages finds it. All calls raise StoreUnavailable.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tidings import ids
from tidings.store import history
from tidings.store.base import ColdRows, Store
from tidings.store.directory import FIRST_ROWS, segments_down_to, with_last_seqs
from tidings.store.segment_rows import SegmentRow

# The rest of a search is read in one request. A row of an object costs the decoding of its whole group of 1,024.
_HOT_AT_ONCE, _COLD_AT_ONCE = 32, 1_024


@dataclass(frozen=True, slots=True)
class Part:
    """A range of seqs of one segment, both included. `last_at`: of its last message; None if that has to be read."""

    segment: SegmentRow
    first_seq: int
    last_seq: int
    last_at: int | None


async def first_seq_at(
    store: Store, session_id: str, at_ms: int, lowest_seq: int, head_seq: int, cold: ColdRows | None = None
) -> int | None:
    """The lowest seq in lowest_seq..head_seq whose message is of `at_ms` or later. None if there is none.

    A message that was purged meanwhile counts as earlier.
    """
    month = ids.month_of(at_ms)
    newest = (await store.segments([session_id], FIRST_ROWS)).get(session_id, ())
    directory = await segments_down_to(
        store, newest, head_seq, lambda row: row.month < month or row.first_seq <= lowest_seq
    )
    parts = parts_from(directory, month, lowest_seq, head_seq)

    async def holds_place(number: int) -> bool:
        part = parts[number]
        if part.segment.month > month:
            return True
        if part.last_at is not None:
            return part.last_at >= at_ms
        rows = await history.rows_in(store, part.segment, part.last_seq, part.last_seq, cold)
        return bool(rows) and rows[0].at >= at_ms

    number = await _first_true(0, len(parts), holds_place)
    if number == len(parts):
        return None
    part = parts[number]
    if part.segment.month > month:
        return part.first_seq
    return await _first_reached(store, part, at_ms, cold)


def parts_from(directory: Sequence[SegmentRow], month: int, lowest_seq: int, head_seq: int) -> list[Part]:
    """The parts of lowest_seq..head_seq of that month and later ones, ascending, as is `directory`.

    The newest segments may be listed and still empty (H8). They begin above the head, or where the next one begins.
    """
    parts = []
    for segment, end in with_last_seqs(directory, head_seq):
        first_seq, last_seq = max(lowest_seq, segment.first_seq), min(head_seq, end)
        if segment.month >= month and first_seq <= last_seq:
            parts.append(Part(segment, first_seq, last_seq, _last_at(segment, last_seq)))
    return parts


def _last_at(segment: SegmentRow, seq: int) -> int | None:
    """The time of the segment's last message, if the directory has it and that message has this seq."""
    if segment.cold is not None and segment.first_seq + segment.cold.rows - 1 == seq:
        return segment.cold.last_at
    return segment.last_at if segment.last_seq == seq else None


async def _first_reached(store: Store, part: Part, at_ms: int, cold: ColdRows | None) -> int:
    """The lowest seq of a part whose message is of `at_ms` or later. The last one is."""
    first, end = part.first_seq, part.last_seq
    at_once = _HOT_AT_ONCE if part.segment.cold is None else _COLD_AT_ONCE
    while end - first > at_once:
        middle = (first + end) // 2
        rows = await history.rows_in(store, part.segment, middle, middle, cold)
        if rows and rows[0].at >= at_ms:
            end = middle
        else:
            first = middle + 1
    rows = await history.rows_in(store, part.segment, first, end - 1, cold)
    return next((row.seq for row in rows if row.at >= at_ms), end)


async def _first_true(first: int, end: int, holds: Callable[[int], Awaitable[bool]]) -> int:
    """The lowest number in first..end-1 for which `holds` is true, or `end`. It must stay true above that number."""
    while first < end:
        middle = (first + end) // 2
        if await holds(middle):
            end = middle
        else:
            first = middle + 1
    return first
