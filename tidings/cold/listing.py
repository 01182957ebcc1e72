"""The segments of a (month, shard), each with the rows of the directory that say whether it has ended."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from tidings.cold.objects import ArchivedSegment
from tidings.store.archive_tables import BEFORE_ALL, ArchiveTables, Shard
from tidings.store.base import SessionSegment
from tidings.store.segment_rows import SegmentByMonthRow, SegmentRow

_INDEX_PAGE = 256
_AT_ONCE = 32


class Listed(NamedTuple):
    """A row of the index, its row of the directory, and the next row of the directory (None: it is the newest)."""

    row: SegmentByMonthRow
    segment: SegmentRow
    following: SegmentRow | None

    @property
    def name(self) -> SessionSegment:
        """The partition of its messages."""
        return SessionSegment(self.row.session_id, self.row.segment)

    @property
    def is_dropped(self) -> bool:
        """Whether it is cold and its hot rows are deleted. A mark of an earlier move says nothing about this one."""
        return self.segment.cold is not None and self.row.dropped_of == self.segment.cold.moved_at

    @property
    def is_purged(self) -> bool:
        """Whether its messages have reached the end of their life. All of a segment do so at once."""
        return self.segment.first_seq <= (self.segment.purged_seq or 0)


async def pages(tables: ArchiveTables, shard: Shard, *, with_marked: bool = True) -> AsyncIterator[list[Listed]]:
    """All segments of a shard, a few at a time.

    Without `with_marked`, those whose hot rows were deleted once are left out, and their directory is not read. They
    may be hot again: a stalled archiver may have marked them after they were restored. So only a caller that need not
    see every hot segment does without them.

    A row of the index without a row of the directory is left out: its segment was not begun yet (H8).
    """
    after = BEFORE_ALL
    while page := await tables.segments_of(shard, after, _INDEX_PAGE):
        after = SessionSegment(page[-1].session_id, page[-1].segment)
        wanted = [row for row in page if with_marked or row.dropped_of is None]
        for start in range(0, len(wanted), _AT_ONCE):
            yield await listed(tables, wanted[start : start + _AT_ONCE])


async def listed(tables: ArchiveTables, rows: Sequence[SegmentByMonthRow]) -> list[Listed]:
    """The rows of the directory for rows of the index."""
    names = [SessionSegment(row.session_id, row.segment) for row in rows]
    found = await asyncio.gather(*(tables.segments_from(name, 2) for name in names))
    return [
        Listed(row, directory[0], directory[1] if len(directory) > 1 else None)
        for row, directory in zip(rows, found, strict=True)
        if directory and directory[0].segment == row.segment
    ]


def archived_of(one: Listed) -> ArchivedSegment:
    """A cold segment as its object has it, by the directory."""
    place = one.segment.cold
    assert place is not None  # only cold segments are in objects
    return ArchivedSegment(*one.name, one.segment.first_seq, place.first_row, place.rows, place.rows_sha256)
