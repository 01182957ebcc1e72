"""The archiver's questions to the tables in memory: the same promises as Cassandra's adapter."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import cast

from tidings.clock import Clock
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment
from tidings.store.memory import MemoryStore
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import ArchivedShardRow, ColdPlace, SegmentByMonthRow, SegmentRow


class MemoryArchiveTables:
    """Implements ArchiveTables over the rows of a MemoryStore."""

    def __init__(self, store: MemoryStore, clock: Clock | None = None) -> None:
        """The store that holds the rows. Without a clock no claim expires."""
        self._store = store
        self._clock = clock
        # The holder, and the time of the end (ms).
        self._claims: dict[Shard, tuple[str, int]] = {}
        self._archived: dict[Shard, ArchivedShardRow] = {}
        self._reopenings: Counter[Shard] = Counter()

    async def indexed_shards(self) -> Sequence[Shard]:
        await self._store.answer("indexed_shards")
        return sorted(Shard(*cast("tuple[int, int]", name)) for name in self._store.partition_keys("segments_by_month"))

    async def segments_of(self, shard: Shard, after: SessionSegment, limit: int) -> Sequence[SegmentByMonthRow]:
        await self._store.answer("segments_of")
        slots = self._store.partition("segments_by_month", tuple(shard)).ascending(tuple(after))
        rows = [cast(SegmentByMonthRow, slot.row) for slot in slots]
        return [row for row in rows if (row.session_id, row.segment) > after][:limit]

    async def segments_from(self, name: SessionSegment, limit: int) -> Sequence[SegmentRow]:
        await self._store.answer("segments_from")
        slots = self._store.partition("segments", name.session_id).ascending(name.segment)
        return self._store.directory(slots, limit)

    async def set_cold(self, name: SessionSegment, place: ColdPlace | None) -> None:
        await self._store.answer("set_cold")
        for slot in self._store.partition("segments", name.session_id).at([name.segment]):
            slot.row = replace(cast(SegmentRow, slot.row), cold=place)

    async def unmark(self, row: SegmentByMonthRow) -> None:
        await self._store.answer("unmark")
        for slot in self._store.partition("segments_by_month", (row.month, row.shard)).at(
            [(row.session_id, row.segment)]
        ):
            slot.row = replace(cast(SegmentByMonthRow, slot.row), dropped_of=None)

    async def drop_messages(self, name: SessionSegment, below_seq: int | None, written_before_us: int) -> None:
        await self._store.answer("drop_messages")
        partition = self._store.partition("messages", tuple(name))
        for slot in list(partition.descending(below=below_seq)):
            if slot.written_us < written_before_us:
                partition.drop(cast(MessageRow, slot.row).seq)

    async def set_purged(self, session_id: str, purged_seq: int, purged_count: int) -> None:
        await self._store.answer("set_purged")
        self._store.purge(session_id, purged_seq, purged_count)

    async def claim(self, shard: Shard, holder: str, ttl_s: int) -> bool:
        await self._store.answer("claim")
        if self._holder(shard) is not None:
            return False
        self._claims[shard] = (holder, self._now_ms() + ttl_s * 1000)
        return True

    async def keep_claim(self, shard: Shard, holder: str, ttl_s: int) -> bool:
        await self._store.answer("keep_claim")
        if self._holder(shard) != holder:
            return False
        self._claims[shard] = (holder, self._now_ms() + ttl_s * 1000)
        return True

    async def release(self, shard: Shard, holder: str) -> None:
        await self._store.answer("release")
        if self._holder(shard) == holder:
            del self._claims[shard]

    async def archived_shards(self) -> Collection[ArchivedShardRow]:
        await self._store.answer("archived_shards")
        rows = self._archived.items()
        return [row for shard, row in rows if row.reopenings_seen == self._reopenings[shard]]

    async def add_archived_shard(self, row: ArchivedShardRow) -> None:
        await self._store.answer("add_archived_shard")
        self._archived[Shard(row.month, row.shard)] = row

    async def drop_shard(self, shard: Shard) -> None:
        await self._store.answer("drop_shard")
        self._archived.pop(shard, None)
        self._store.drop_partition("segments_by_month", tuple(shard))

    async def reopenings_of(self, shard: Shard) -> int:
        await self._store.answer("reopenings_of")
        return self._reopenings[shard]

    async def reopen(self, shard: Shard) -> None:
        await self._store.answer("reopen")
        self._reopenings[shard] += 1

    def _holder(self, shard: Shard) -> str | None:
        holder, until_ms = self._claims.get(shard, (None, 0))
        return holder if until_ms > self._now_ms() else None

    def _now_ms(self) -> int:
        return self._clock.wall_ms() if self._clock is not None else 0
