"""The log of one session: the seqs of its segments, and each message once. Raises StoreUnavailable."""

from collections.abc import AsyncIterator

from tidings.audit.pacing import Pacing
from tidings.audit.rules import Finding, Repeats, numbers, runs_missing
from tidings.ids import Position
from tidings.store.archive_tables import ArchiveTables
from tidings.store.base import SessionSegment, Store
from tidings.store.segment_rows import SegmentRow

_DIRECTORY_PAGE = 100
# 12 MiB with the longest bodies, and several sessions are looked at together.
_PAGE_ROWS = 500


class Sessions:
    """Looks at sessions and at partitions of messages."""

    def __init__(self, store: Store, directory: ArchiveTables, pacing: Pacing) -> None:
        self._store = store
        self._directory = directory
        self._pacing = pacing

    async def look(self, session_id: str, confirmed: Position) -> set[Finding]:
        """The findings of a session. `confirmed`: read before; a segment that was opened later is not judged."""
        found: set[Finding] = set()
        repeats, is_first = Repeats(), True
        async for segment, following in self._segments(session_id):
            if segment.made_at >= confirmed:
                break
            if is_first and segment.first_seq != 1:
                gap = numbers("seq", 1, segment.first_seq - 1)
                found.add(Finding("missing", f"session {session_id}", f"{gap} in no segment"))
            is_first = False
            if segment.cold is not None:
                found |= _of_cold(segment, following)
            else:
                found |= await self._of_hot(segment, following, repeats)
        return found

    async def look_at_segment(self, name: SessionSegment) -> set[Finding]:
        """The messages of a segment need a row of the directory, without which no reader finds them."""
        if await self._row(name):
            return set()
        newest = await self._pacing.read((await self._store.newest_messages([name], 1)).get(name, ()))
        # The partition was deleted, or the directory has come meanwhile.
        if not newest or await self._row(name):
            return set()
        return {Finding("orphaned", _place(*name), f"its messages up to seq {newest[0].seq} are in no directory")}

    async def _row(self, name: SessionSegment) -> bool:
        rows = await self._pacing.read(await self._directory.segments_from(name, 1))
        return bool(rows) and rows[0].segment == name.segment

    async def _segments(self, session_id: str) -> AsyncIterator[tuple[SegmentRow, SegmentRow | None]]:
        """Each segment with the next one, ascending."""
        last, number = None, 0
        while True:
            page = await self._directory.segments_from(SessionSegment(session_id, number), _DIRECTORY_PAGE)
            for segment in await self._pacing.read(page):
                if last is not None:
                    yield last, segment
                last, number = segment, segment.segment + 1
            if len(page) < _DIRECTORY_PAGE:
                break
        if last is not None:
            yield last, None

    async def _of_hot(self, segment: SegmentRow, following: SegmentRow | None, repeats: Repeats) -> set[Finding]:
        found: set[Finding] = set()
        name = SessionSegment(segment.session_id, segment.segment)
        first_seq = max(segment.first_seq, (segment.purged_seq or 0) + 1)
        last_seq = _last_seq(segment, following)
        if last_seq is None:
            newest = await self._pacing.read((await self._store.newest_messages([name], 1)).get(name, ()))
            last_seq = newest[0].seq if newest else segment.first_seq
        rows_found = 0
        for start in range(first_seq, last_seq + 1, _PAGE_ROWS):
            end = min(last_seq, start + _PAGE_ROWS - 1)
            rows = await self._pacing.read(await self._store.messages(name, start, end))
            rows_found += len(rows)
            for first, last in runs_missing([row.seq for row in rows], start, end):
                found.add(Finding("missing", _place(*name), f"{numbers('seq', first, last)} not stored"))
            found.update(filter(None, map(repeats.add, rows)))
        if not rows_found and last_seq >= first_seq:
            return {Finding("orphaned", _place(*name), f"it has no rows; {numbers('seq', first_seq, last_seq)} lost")}
        return found


def _of_cold(segment: SegmentRow, following: SegmentRow | None) -> set[Finding]:
    """The directory's own numbers. `objects` looks whether the object is there."""
    place, last_seq = segment.cold, _last_seq(segment, following)
    assert place is not None
    wanted = place.rows if last_seq is None else last_seq - segment.first_seq + 1
    if place.rows == wanted:
        return set()
    where = _place(segment.session_id, segment.segment)
    return {Finding("missing", where, f"{place.object_key} has {place.rows} of its {wanted} messages")}


def _last_seq(segment: SegmentRow, following: SegmentRow | None) -> int | None:
    """None: messages may still come to the segment."""
    if following is not None:
        return following.first_seq - 1
    return segment.last_seq if segment.closed_at is not None else None


def _place(session_id: str, segment: int) -> str:
    return f"session {session_id} segment {segment}"
