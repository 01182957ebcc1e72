"""The archiver's questions to Cassandra. Each is one statement of statements.py."""

from collections.abc import Collection, Sequence

from tidings.store import statements
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment
from tidings.store.cassandra import segment_row
from tidings.store.cassandra_session import CassandraSession
from tidings.store.segment_rows import ArchivedShardRow, ColdPlace, SegmentByMonthRow, SegmentRow


class CassandraArchiveTables:
    """Implements ArchiveTables."""

    def __init__(self, session: CassandraSession) -> None:
        """`session`: that of the store, which starts and stops it."""
        self._session = session

    async def indexed_shards(self) -> Sequence[Shard]:
        rows = await self._session.execute(statements.INDEXED_SHARDS, ())
        return sorted(Shard(month, shard) for month, shard in rows)

    async def segments_of(self, shard: Shard, after: SessionSegment, limit: int) -> Sequence[SegmentByMonthRow]:
        rows = await self._session.execute(statements.SEGMENTS_OF_MONTH, (*shard, *after, limit))
        return [SegmentByMonthRow(*row) for row in rows]

    async def segments_from(self, name: SessionSegment, limit: int) -> Sequence[SegmentRow]:
        rows = await self._session.execute(statements.SEGMENTS_FROM, (*name, limit))
        return [segment_row(row) for row in rows]

    async def set_cold(self, name: SessionSegment, place: ColdPlace | None) -> None:
        await self._session.execute(statements.SET_COLD, (place and tuple(place), *name))

    async def unmark(self, row: SegmentByMonthRow) -> None:
        await self._session.execute(statements.UNMARK_SEGMENT, (row.month, row.shard, row.session_id, row.segment))

    async def drop_messages(self, name: SessionSegment, below_seq: int | None, written_before_us: int) -> None:
        if below_seq is None:
            await self._session.execute(statements.DROP_MESSAGES, (written_before_us, *name))
        else:
            await self._session.execute(statements.DROP_MESSAGES_BELOW, (written_before_us, *name, below_seq))

    async def set_purged(self, session_id: str, purged_seq: int, purged_count: int) -> None:
        await self._session.execute(statements.SET_PURGED, (purged_seq, purged_seq, purged_count, session_id))

    async def claim(self, shard: Shard, holder: str, ttl_s: int) -> bool:
        return await self._is_applied(statements.CLAIM_SHARD, (*shard, holder, ttl_s))

    async def keep_claim(self, shard: Shard, holder: str, ttl_s: int) -> bool:
        return await self._is_applied(statements.KEEP_SHARD, (ttl_s, holder, *shard, holder))

    async def release(self, shard: Shard, holder: str) -> None:
        await self._session.execute(statements.RELEASE_SHARD, (*shard, holder))

    async def archived_shards(self) -> Collection[ArchivedShardRow]:
        rows = await self._session.execute(statements.ARCHIVED_SHARDS, ())
        finished = [(ArchivedShardRow(*row), reopenings or 0) for *row, reopenings in rows if None not in row]
        return [row for row, reopenings in finished if row.reopenings_seen == reopenings]

    async def add_archived_shard(self, row: ArchivedShardRow) -> None:
        values = tuple(getattr(row, name) for name in statements.columns(ArchivedShardRow))
        await self._session.execute(statements.ADD_ARCHIVED_SHARD, values)

    async def drop_shard(self, shard: Shard) -> None:
        await self._session.execute(statements.DROP_ARCHIVED_SHARD, tuple(shard))
        await self._session.execute(statements.DROP_INDEX, tuple(shard))

    async def reopenings_of(self, shard: Shard) -> int:
        rows = await self._session.execute(statements.REOPENINGS, tuple(shard))
        return rows[0][0] or 0 if rows else 0

    async def reopen(self, shard: Shard) -> None:
        reopenings = await self.reopenings_of(shard) + 1
        # Its own timestamp, so that it takes effect also if the clock of this machine is behind.
        await self._session.execute(statements.REOPEN_SHARD, (reopenings, reopenings, *shard))

    async def _is_applied(self, statement: str, values: Sequence[object]) -> bool:
        ((is_applied, *_),) = await self._session.execute(statement, values)
        return bool(is_applied)
