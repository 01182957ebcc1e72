"""One store per adapter for the whole run; tests keep apart by names of their own."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.store import FaultyStore
from tidings.store.base import Store
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.memory import MemoryStore
from tidings.store.migrate import migrate


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["memory", "faulty", "cassandra"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Each adapter in turn, started. Of the one with faults none is set."""
    store: Store
    if request.param != "cassandra":
        store = MemoryStore() if request.param == "memory" else FaultyStore()
    else:
        port = request.getfixturevalue("servers").ports.cassandra
        config = CassandraConfig(port=port, keyspace=f"contract_{uuid.uuid4().hex[:8]}")
        await migrate(config)
        store = CassandraStore(config)
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
def name() -> str:
    """Used by no other test."""
    return uuid.uuid4().hex[:12]


@pytest.fixture
def session_id(name: str) -> str:
    """A direct session that no other test uses."""
    return f"d:{name}:{name}-peer"
