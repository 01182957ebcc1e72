"""The audit's questions to the tables, on each adapter."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.builders import message, write_confirmed
from tidings.store.audit_tables import FIRST_KEY, FIRST_TOKEN, AuditTables, FoundPartition, Walked
from tidings.store.base import KeyBucket, Store
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_audit import CassandraAuditTables
from tidings.store.media_rows import MediaRefRow
from tidings.store.memory import MemoryStore
from tidings.store.memory_audit import MemoryAuditTables
from tidings.store.rows import BucketRow, InboxRow, KeyRow, Row
from tidings.store.segment_rows import SegmentRow

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def tables(store: Store) -> AsyncIterator[AuditTables]:
    """Of the same tables as the store."""
    if isinstance(store, CassandraStore):
        yield CassandraAuditTables(store.session)
    else:
        assert isinstance(store, MemoryStore)
        yield MemoryAuditTables(store)


async def walked(tables: AuditTables, table: Walked, limit: int) -> list[FoundPartition]:
    found: list[FoundPartition] = []
    while page := await tables.partitions(table, found[-1].token if found else FIRST_TOKEN, limit):
        assert len(page) <= limit
        found += page
    return found


def key(session_id: str, client_msg_id: str, seq: int, sender_id: str = "alice") -> KeyRow:
    return KeyRow(session_id, 0, 0, sender_id, client_msg_id, seq, 1000 + seq, b"d" * 32, 10_000, 0, seq)


async def test_a_walk_finds_each_partition_once(store: Store, tables: AuditTables, name: str) -> None:
    sessions = [f"d:{name}:{name}-{number}" for number in range(7)]
    rows: list[Row] = [message(one, seq) for one in sessions for seq in (1, 2, 3)]
    await write_confirmed(store, rows)
    found = await walked(tables, "messages", 3)
    tokens = [one.token for one in found]
    assert tokens == sorted(set(tokens))
    mine = [one.key for one in found if one.key[0] in sessions]
    assert sorted(mine) == [(one, 1) for one in sessions]


async def test_a_walk_begins_above_a_token(store: Store, tables: AuditTables, name: str) -> None:
    await write_confirmed(store, [MediaRefRow(f"{name}{number}", "d:a:b", 1) for number in range(5)])
    found = await walked(tables, "media_refs", 100)
    middle = found[len(found) // 2].token
    after = await tables.partitions("media_refs", middle, 1_000)
    assert after == [one for one in found if one.token > middle]


async def test_a_walk_has_the_keys_of_each_table(store: Store, tables: AuditTables, session_id: str) -> None:
    rows: dict[Walked, tuple[Row, tuple[str | int, ...]]] = {
        "segments": (SegmentRow(session_id, 1, 1, 202611, 0, 1), (session_id,)),
        "message_keys": (key(session_id, "m1", 1), (session_id, 0, 0)),
        "inbox_buckets": (BucketRow(session_id, 2, 1, 0, 1), (session_id,)),
        "inbox": (InboxRow(session_id, 2, 1, session_id, 1, 7, 1, 0, 1, 1), (session_id, 2)),
        "media_refs": (MediaRefRow(session_id, session_id, 1), (session_id,)),
    }
    await write_confirmed(store, [row for row, _ in rows.values()])
    for table, (_, wanted) in rows.items():
        assert wanted in [one.key for one in await walked(tables, table, 50)], table


async def test_keys_come_in_pages_by_sender_and_id(store: Store, tables: AuditTables, session_id: str) -> None:
    ids = [(sender, f"m{number}") for sender in ("alice", "bob") for number in (1, 2, 3)]
    keys = [key(session_id, client_msg_id, seq, sender) for seq, (sender, client_msg_id) in enumerate(ids, start=1)]
    await write_confirmed(store, keys)
    bucket, after, found = KeyBucket(session_id, 0, 0), FIRST_KEY, list[KeyRow]()
    while page := await tables.key_page(bucket, after, 4):
        assert len(page) <= 4
        found += page
        after = (page[-1].sender_id, page[-1].client_msg_id)
    assert found == keys


async def test_keys_of_other_buckets_are_left_out(store: Store, tables: AuditTables, session_id: str) -> None:
    await write_confirmed(store, [key(session_id, "m1", 1)])
    assert await tables.key_page(KeyBucket(session_id, 202611, 0), FIRST_KEY, 10) == []
