"""What only the archiver asks of the tables, as a port. Adapters: CassandraArchiveTables and MemoryArchiveTables.

All calls are at LOCAL_QUORUM and may be repeated. Each raises StoreUnavailable; the outcome of a write is then unknown.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from tidings.store.base import SessionSegment
from tidings.store.segment_rows import ArchivedShardRow, ColdPlace, SegmentByMonthRow, SegmentRow

# Below every row of a (month, shard).
BEFORE_ALL = SessionSegment("", 0)


class Shard(NamedTuple):
    """A partition of segments_by_month. `month` as 202611."""

    month: int
    shard: int


class ArchiveTables(Protocol):
    """The directory, the index by month, and the removal of hot rows."""

    async def indexed_shards(self) -> Sequence[Shard]:
        """Every (month, shard) that has a segment, ascending."""
        ...

    async def segments_of(self, shard: Shard, after: SessionSegment, limit: int) -> Sequence[SegmentByMonthRow]:
        """The next rows of the index, by (session_id, segment)."""
        ...

    async def segments_from(self, name: SessionSegment, limit: int) -> Sequence[SegmentRow]:
        """Up to `limit` rows of the directory from this segment on, ascending."""
        ...

    async def set_cold(self, name: SessionSegment, place: ColdPlace | None) -> None:
        """The directory names the object of a segment, or (None) its hot rows. From then on readers read there."""
        ...

    async def unmark(self, row: SegmentByMonthRow) -> None:
        """Remove `dropped_of` of a row of the index. `Store.write` sets it."""
        ...

    async def drop_messages(self, name: SessionSegment, below_seq: int | None, written_before_us: int) -> None:
        """Delete the hot rows of a segment that were written before a time (µs), below a seq or (None) all.

        Rows that were written later stay, as those of a restored segment.
        """
        ...

    async def set_purged(self, session_id: str, purged_seq: int, purged_count: int) -> None:
        """Messages up to this seq have reached the end of their life. The highest seq stays."""
        ...

    async def claim(self, shard: Shard, holder: str, ttl_s: int) -> bool:
        """Take a shard for so long, unless another archiver holds it."""
        ...

    async def keep_claim(self, shard: Shard, holder: str, ttl_s: int) -> bool:
        """Hold it for so long from now on. False: another archiver may hold it."""
        ...

    async def release(self, shard: Shard, holder: str) -> None:
        """Give it back."""
        ...

    async def archived_shards(self) -> Collection[ArchivedShardRow]:
        """Every shard that is finished, and was not reopened since the archiver began to look at it."""
        ...

    async def add_archived_shard(self, row: ArchivedShardRow) -> None:
        """A shard is finished: each of its segments is cold, and no hot row is left."""
        ...

    async def reopenings_of(self, shard: Shard) -> int:
        """How often the shard was reopened."""
        ...

    async def reopen(self, shard: Shard) -> None:
        """Let no row of `add_archived_shard` count that was made of an earlier look, also if it is written later.

        Call it before a segment becomes hot, and after it: an archiver may have looked in between.
        """
        ...

    async def drop_shard(self, shard: Shard) -> None:
        """The messages of a shard are gone for good: its index and its mark are removed. The directory stays."""
        ...
