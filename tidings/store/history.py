"""Messages by seq, across segments, in the tables or in objects. Over any Store.

All calls raise StoreUnavailable.
"""

import asyncio
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tidings.errors import ColdUnavailable
from tidings.store import session_tails
from tidings.store.base import ColdRows, SessionSegment, Store
from tidings.store.directory import FIRST_ROWS, PAGE_ROWS, segments_down_to, with_last_seqs
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import ColdPlace, SegmentRow

# A segment moves to an object, and perhaps back, while a reader looks for it. More moves are a fault.
_MOVES = 3
# A number of a message in its segment of at most 10,000.
_PLACE = struct.Struct(">H")
# Up to so many seqs apart, two wanted rows are read in one request with the rows between them, which is cheaper.
_RUN_GAP = 16


async def read_range(
    store: Store,
    session_id: str,
    first_seq: int,
    last_seq: int,
    limit: int,
    *,
    descending: bool = False,
    cold: ColdRows | None = None,
) -> list[MessageRow]:
    """Up to `limit` messages of first_seq..last_seq (both included) across segments.

    Without `descending` the lowest ones in ascending order; with it the highest ones, newest first.
    """
    if descending and last_seq - first_seq >= limit:
        # Seqs have no gaps (G3), so below the head the limit gives the first seq to read.
        head = (await session_tails.heads(store, [session_id])).get(session_id)
        last_seq = min(last_seq, head.seq if head else 0)
        first_seq = max(first_seq, last_seq - limit + 1)
    last_seq = min(last_seq, first_seq + limit - 1)
    if last_seq < first_seq:
        return []
    directory = (await _directories(store, {session_id: (first_seq, last_seq)}))[session_id]
    rows = await _read_runs(store, _split((first_seq, last_seq), directory), cold)
    return rows[::-1] if descending else rows


async def rows_at(
    store: Store, wanted: Mapping[str, Collection[int]], cold: ColdRows | None = None
) -> dict[tuple[str, int], MessageRow]:
    """The messages at these seqs of each session. Seqs that are not stored, or not any longer, are left out.

    `cold` reads those of cold segments. Without it they raise ColdUnavailable.
    """
    found, failed = await readable_rows_at(store, wanted, cold)
    for error in failed.values():
        raise error
    return found


async def readable_rows_at(
    store: Store,
    wanted: Mapping[str, Collection[int]],
    cold: ColdRows | None = None,
    nearby: Mapping[str, Collection[int]] | None = None,
) -> tuple[dict[tuple[str, int], MessageRow], dict[str, ColdUnavailable]]:
    """The same, and the error of each session of which a cold segment cannot be read. Its hot rows are found.

    `nearby`: seqs of the same sessions that are read, too, where no object is opened for them alone.
    """
    nearby = nearby or {}
    asked = {session_id: {*seqs, *nearby.get(session_id, ())} for session_id, seqs in wanted.items() if seqs}
    directories = await _directories(store, {session_id: (min(seqs), max(seqs)) for session_id, seqs in asked.items()})
    spans = [
        span
        for session_id, seqs in asked.items()
        for run in _runs(sorted(seqs))
        for span in _split(run, directories[session_id])
        if span.segment.cold is None or span.holds_one_of(wanted[session_id])
    ]
    pages = await asyncio.gather(*(_read_span_or_error(store, span, cold) for span in spans))
    found: dict[tuple[str, int], MessageRow] = {}
    failed: dict[str, ColdUnavailable] = {}
    for span, page in zip(spans, pages, strict=True):
        if isinstance(page, ColdUnavailable):
            failed[span.segment.session_id] = page
        else:
            found.update({(row.session_id, row.seq): row for row in page if row.seq in asked[row.session_id]})
    return found, failed


async def rows_in(
    store: Store, segment: SegmentRow, first_seq: int, last_seq: int, cold: ColdRows | None = None
) -> Sequence[MessageRow]:
    """The messages first_seq..last_seq (both included) of a segment that the caller has read from the directory.

    Messages that are not stored any longer are left out.
    """
    return await _read_span(store, _Span(segment, first_seq, last_seq), cold)


async def counts_at(store: Store, wanted: Mapping[str, Collection[int]]) -> dict[tuple[str, int], int]:
    """The countable messages up to each of these seqs. Seqs that are not stored, or not any longer, are left out.

    No object is read: the directory has the counts of cold segments.
    """
    directories = await _directories(store, {name: (min(seqs), max(seqs)) for name, seqs in wanted.items() if seqs})
    counts: dict[tuple[str, int], int] = {}
    hot: dict[str, list[int]] = {}
    for session_id, seqs in wanted.items():
        for seq in seqs:
            segment = _segment_of(directories[session_id], seq)
            if segment is not None and seq <= (segment.purged_seq or 0):
                # No message up to there is left, so the reader has none of them unread.
                counts[session_id, seq] = segment.purged_count or 0
            elif segment is None or segment.cold is None:
                hot.setdefault(session_id, []).append(seq)
            elif seq <= segment.first_seq + segment.cold.rows - 1:
                counts[session_id, seq] = count_in_cold(segment, segment.cold, seq)
    rows = await rows_at(store, hot)
    return counts | {place: row.count for place, row in rows.items()}


def count_in_cold(segment: SegmentRow, place: ColdPlace, seq: int) -> int:
    """The countable messages of the session up to a seq of a cold segment."""
    uncounted = [number for (number,) in _PLACE.iter_unpack(place.uncounted)]
    after = segment.first_seq + place.rows - 1 - seq
    return place.last_count - (after - (len(uncounted) - bisect_right(uncounted, seq - segment.first_seq)))


def uncounted_places(is_countable: Iterable[bool]) -> bytes:
    """`ColdPlace.uncounted` of a segment, from its messages in order."""
    return b"".join(_PLACE.pack(number) for number, is_one in enumerate(is_countable) if not is_one)


@dataclass(frozen=True, slots=True)
class _Span:
    """A range of seqs of one segment, both included."""

    segment: SegmentRow
    first_seq: int
    last_seq: int

    @property
    def name(self) -> SessionSegment:
        return SessionSegment(self.segment.session_id, self.segment.segment)

    def holds_one_of(self, seqs: Iterable[int]) -> bool:
        return any(self.first_seq <= seq <= self.last_seq for seq in seqs)


async def _directories(store: Store, ranges: Mapping[str, tuple[int, int]]) -> dict[str, list[SegmentRow]]:
    """The segments that hold this range of seqs of each session, ascending. There may be more above."""
    listed = await store.segments(ranges, FIRST_ROWS) if ranges else {}

    async def down_to(session_id: str, first_seq: int, last_seq: int) -> list[SegmentRow]:
        newest = listed.get(session_id, ())
        return await segments_down_to(store, newest, last_seq, lambda row: row.first_seq <= first_seq)

    complete = await asyncio.gather(*(down_to(session_id, *seqs) for session_id, seqs in ranges.items()))
    return dict(zip(ranges, complete, strict=True))


def _split(run: tuple[int, int], directory: Sequence[SegmentRow]) -> list[_Span]:
    """Cut a run of seqs where segments begin. `directory` is ascending."""
    first, last = run
    spans = []
    for segment, end in with_last_seqs(directory, last):
        start, stop = max(first, segment.first_seq, (segment.purged_seq or 0) + 1), min(last, end)
        if start <= stop:
            spans.append(_Span(segment, start, stop))
    return spans


def _segment_of(directory: Sequence[SegmentRow], seq: int) -> SegmentRow | None:
    """The segment that would hold a seq. `directory` is ascending."""
    index = bisect_right(directory, seq, key=lambda row: row.first_seq) - 1
    return directory[index] if index >= 0 else None


def _runs(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Join ascending seqs into runs with small gaps, each at most a page long."""
    runs: list[tuple[int, int]] = []
    for seq in seqs:
        if runs and seq - runs[-1][1] <= _RUN_GAP and seq - runs[-1][0] < PAGE_ROWS:
            runs[-1] = (runs[-1][0], seq)
        else:
            runs.append((seq, seq))
    return runs


async def _read_runs(store: Store, spans: Sequence[_Span], cold: ColdRows | None) -> list[MessageRow]:
    """All rows of the spans, in the order of the spans."""
    pages = await asyncio.gather(*(_read_span(store, span, cold) for span in spans))
    return [row for page in pages for row in page]


async def _read_span_or_error(
    store: Store, span: _Span, cold: ColdRows | None
) -> Sequence[MessageRow] | ColdUnavailable:
    try:
        return await _read_span(store, span, cold)
    except ColdUnavailable as error:
        return error


async def _read_span(store: Store, span: _Span, cold: ColdRows | None) -> Sequence[MessageRow]:
    """The rows of one span, where the directory says that they are.

    The archiver may move the segment between the read of the directory and this one, and `restore` may move it back.
    So the directory is read again when rows are missing, or when the object is.
    """
    segment = span.segment
    for _ in range(_MOVES):
        try:
            rows = await _read_where(store, span, segment.cold, cold)
            if segment.cold is not None or len(rows) == span.last_seq - span.first_seq + 1:
                return rows
            error = None
        except ColdUnavailable as raised:
            error = raised
        page = await store.segments_below(segment.session_id, segment.segment + 1, 1)
        before, segment = segment, page[0] if page else segment
        if segment.cold == before.cold:
            break
    purged_seq = segment.purged_seq or 0
    if error is not None and span.last_seq > purged_seq:
        raise error
    return [row for row in rows if row.seq > purged_seq] if error is None else ()


async def _read_where(
    store: Store, span: _Span, place: ColdPlace | None, cold: ColdRows | None
) -> Sequence[MessageRow]:
    if place is None:
        return await store.messages(span.name, span.first_seq, span.last_seq)
    if cold is None:
        raise ColdUnavailable(f"{span.name.session_id}: segment {span.name.segment} is cold; this process reads none")
    last_seq = min(span.last_seq, span.segment.first_seq + place.rows - 1)
    if last_seq < span.first_seq:
        return ()
    return await cold.messages(replace(span.segment, cold=place), span.first_seq, last_seq)
