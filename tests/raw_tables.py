"""Rows of Cassandra, whatever the directory says, and changes that only time makes."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from cassandra.cluster import Session

from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment
from tidings.store.cassandra_cluster import connect
from tidings.store.cassandra_config import CassandraConfig


class RawTables:
    """Over a connection of its own."""

    def __init__(self, session: Session, keyspace: str) -> None:
        self._session = session
        self._keyspace = keyspace

    async def hot_seqs(self) -> dict[SessionSegment, set[int]]:
        """The seqs of the hot rows of each segment."""
        found: dict[SessionSegment, set[int]] = {}
        for session_id, segment, seq in await self._execute("SELECT session_id, segment, seq FROM {}.messages"):
            found.setdefault(SessionSegment(session_id, segment), set()).add(seq)
        return found

    async def claims(self) -> list[tuple[int, int]]:
        """The shards that an archiver holds, or held when it was killed."""
        return [(month, shard) for month, shard in await self._execute("SELECT month, shard FROM {}.archive_claims")]

    async def unfinish(self, shards: Collection[Shard]) -> None:
        """Make the archiver look at shards of past months again. Only a seeding adds messages to them."""
        for month, shard in shards:
            await self._execute(f"DELETE done_at FROM {{}}.archived_shards WHERE month = {month} AND shard = {shard}")

    async def expire_claims(self) -> None:
        """What a minute does to the claims of archivers that were killed."""
        for month, shard in await self.claims():
            place = f"month = {month} AND shard = {shard}"
            await self._execute(f"DELETE FROM {{}}.archive_claims WHERE {place} IF EXISTS")

    async def execute(self, statement: str) -> None:
        """One statement of an operator, with `{}` for the keyspace."""
        await self._execute(statement)

    async def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        text = statement.format(self._keyspace)
        return await asyncio.to_thread(lambda: list(map(tuple, self._session.execute(text))))


@asynccontextmanager
async def raw_tables_of(config: CassandraConfig) -> AsyncIterator[RawTables]:
    """Connected."""
    session = await asyncio.to_thread(connect, config)
    try:
        yield RawTables(session, config.keyspace)
    finally:
        await asyncio.to_thread(session.cluster.shutdown)
