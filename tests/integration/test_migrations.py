"""The migration runner on a real Cassandra, and what a service says to a schema that does not fit."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tidings.errors import ConfigurationError
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import DIRECTORY, Naming, current_version, migrate, migrate_and_name, newest_version


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two small migrations."""
    (tmp_path / "0001_one.cql").write_text("CREATE TABLE IF NOT EXISTS one (a int PRIMARY KEY);")
    (tmp_path / "0002_two.cql").write_text("-- more\nALTER TABLE one ADD IF NOT EXISTS b int;\n")
    return tmp_path


async def test_migrations_are_applied_once_and_in_order(config: CassandraConfig, directory: Path) -> None:
    assert await current_version(config) == 0
    assert await migrate(config, directory) == ["0001_one", "0002_two"]
    assert await migrate(config, directory) == []
    assert await current_version(config) == 2


async def test_a_new_file_is_applied_on_top(config: CassandraConfig, directory: Path) -> None:
    later = directory / "0002_two.cql"
    text = later.read_text()
    later.unlink()
    assert await migrate(config, directory) == ["0001_one"]
    later.write_text(text)
    assert await migrate(config, directory) == ["0002_two"]


async def test_a_changed_file_is_refused(config: CassandraConfig, directory: Path) -> None:
    await migrate(config, directory)
    (directory / "0001_one.cql").write_text("CREATE TABLE IF NOT EXISTS one (a int PRIMARY KEY, c int);")
    with pytest.raises(ConfigurationError, match="0001_one"):
        await migrate(config, directory)


async def test_two_runners_at_once_apply_each_migration_once(config: CassandraConfig, directory: Path) -> None:
    both = await asyncio.gather(migrate(config, directory), migrate(config, directory))
    assert sorted(both) == [[], ["0001_one", "0002_two"]]


async def test_a_run_that_died_in_the_middle_is_finished_by_the_next(config: CassandraConfig, directory: Path) -> None:
    whole = directory / "0002_two.cql"
    whole.write_text(whole.read_text() + "CREATE TABLE nonsense;")
    with pytest.raises(ConfigurationError, match="refuses a statement"):
        await migrate(config, directory)
    assert await current_version(config) == 1
    whole.write_text("ALTER TABLE one ADD IF NOT EXISTS b int;")
    assert await migrate(config, directory) == ["0002_two"]


async def test_a_store_refuses_a_missing_keyspace_and_an_older_schema(config: CassandraConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="tidings init"):
        await CassandraStore(config).start()
    await migrate(config, tmp_path)  # no files: an empty keyspace at version 0
    with pytest.raises(ConfigurationError, match="tidings init"):
        await CassandraStore(config).start()
    # All tables, yet not recorded: as after the death of a runner.
    for path in DIRECTORY.glob("*.cql"):
        shutil.copy(path, tmp_path)
    newest = max(DIRECTORY.glob("*.cql"))
    (tmp_path / newest.name).write_text(newest.read_text() + "nonsense;")
    with pytest.raises(ConfigurationError, match="refuses a statement"):
        await migrate(config, tmp_path)
    with pytest.raises(ConfigurationError, match=f"this code needs {newest_version()}"):
        await CassandraStore(config).start()
    await migrate(config)
    store = CassandraStore(config)
    await store.start()
    await store.stop()


async def test_tables_are_named_once_and_again_after_a_restore(config: CassandraConfig) -> None:
    both = await asyncio.gather(*(migrate_and_name(config, Naming(1_000)) for _ in range(2)))
    assert sorted(one.is_named_now for one in both) == [False, True]
    first = both[0].deployment
    assert first is not None
    assert both[1].deployment == first
    assert (first.id, first.since, first.restored) == (first.origin, 1_000, ())
    restored = (await migrate_and_name(config, Naming(5_000, is_restored=True))).deployment
    assert restored is not None
    assert (restored.origin, restored.since, restored.restored) == (first.id, 5_000, (5_000,))
    store = CassandraStore(config)
    await store.start()
    assert store.deployment == restored
    await store.stop()


async def test_tables_of_an_older_release_get_their_name(config: CassandraConfig, tmp_path: Path) -> None:
    shutil.copy(DIRECTORY / "0001_first_tables.cql", tmp_path)
    assert (await migrate_and_name(config, Naming(1_000), tmp_path)).deployment is None
    with pytest.raises(ConfigurationError, match="tidings init"):
        await CassandraStore(config).start()
    assert (await migrate_and_name(config, Naming(2_000))).is_named_now
    store = CassandraStore(config)
    await store.start()
    assert store.deployment.since == 2_000
    await store.stop()
