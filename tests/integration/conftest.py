"""Keyspaces of one test each."""

import uuid

import pytest

from deploy.local.stack import Stack
from tidings.store.cassandra_config import CassandraConfig


@pytest.fixture
def config(servers: Stack) -> CassandraConfig:
    """A keyspace that is not there yet."""
    return CassandraConfig(port=servers.ports.cassandra, keyspace=f"test_{uuid.uuid4().hex[:8]}")
