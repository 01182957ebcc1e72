"""Block lists on a real Cassandra: copied from the earlier table, where a block was a row."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_cluster import connect
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import DIRECTORY, migrate
from tidings.store.rows import COPIED_VERSION, BlockList

MANY = 250


async def block_as_before(config: CassandraConfig, blocked: Mapping[str, Sequence[str]]) -> None:
    """What earlier gateways wrote."""

    def write() -> None:
        session = connect(config)
        session.set_keyspace(config.keyspace)
        insert = session.prepare("INSERT INTO blocks (user_id, blocked_id) VALUES (?, ?)")
        for user_id, others in blocked.items():
            for other in others:
                session.execute(insert, (user_id, other))
        session.cluster.shutdown()

    await asyncio.to_thread(write)


async def test_old_blocks_are_copied_until_a_list_is_changed(config: CassandraConfig, tmp_path: Path) -> None:
    shutil.copy(DIRECTORY / "0001_first_tables.cql", tmp_path)
    await migrate(config, tmp_path)
    many = [f"user{number}" for number in range(MANY)]
    await block_as_before(
        config, {"bob": ["mia", "adam", "zoe"], "carol": ["mia"], **{user_id: ["x"] for user_id in many}}
    )
    applied = await migrate(config)
    assert applied[-1] == f"the block lists of {MANY + 2} users"
    store = CassandraStore(config)
    await store.start()
    try:
        found = await store.block_lists(["bob", "carol", "nobody", *many])
        assert found["bob"] == BlockList("bob", ("adam", "mia", "zoe"), COPIED_VERSION)
        assert len(found) == MANY + 2
        # Bob changes his list at a new gateway, carol hers at an earlier one.
        assert await store.replace_block_list(found["bob"].changed({"zoe"}), COPIED_VERSION)
        await block_as_before(config, {"bob": ["late"], "carol": ["late"], "dora": ["late"]})
        assert await migrate(config) == ["the block lists of 2 users"]
        assert await migrate(config) == []
        found = await store.block_lists(["bob", "carol", "dora"])
        assert {user_id: one.blocked_ids for user_id, one in found.items()} == {
            "bob": ("zoe",),
            "carol": ("late", "mia"),
            "dora": ("late",),
        }
    finally:
        await store.stop()
