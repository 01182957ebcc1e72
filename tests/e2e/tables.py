"""The real tables, as a test reads them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deploy.local.stack import Stack
from tidings.runtime.start import started
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig


@asynccontextmanager
async def tables_of(stack: Stack) -> AsyncIterator[CassandraStore]:
    """Connected, patiently."""
    store = CassandraStore(CassandraConfig(port=stack.ports.cassandra))
    async with started(store):
        yield store
