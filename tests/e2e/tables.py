"""The real tables, as a test reads them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local.stack import Stack
from tidings.runtime.start import started
from tidings.store.base import Store, UserBucket
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.rows import InboxRow

PATIENCE_S = 60.0


@asynccontextmanager
async def tables_of(stack: Stack) -> AsyncIterator[CassandraStore]:
    """Connected, patiently."""
    store = CassandraStore(CassandraConfig(port=stack.ports.cassandra))
    async with started(store):
        yield store


async def inbox_of(store: Store, user_id: str, session_id: str, count: int) -> list[int]:
    """The session's seqs in the order of the user's inbox; waits a while for so many."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows: list[InboxRow] = []
        for bucket in (await store.inbox_buckets([user_id], 100)).get(user_id, ()):
            rows += await store.inbox_rows(UserBucket(user_id, bucket.bucket), 1, 2**40)
        seqs = [row.seq for row in sorted(rows, key=lambda row: row.inbox_seq) if row.session_id == session_id]
        if len(seqs) >= count or time.monotonic() > deadline:
            return seqs
        await asyncio.sleep(0.2)
