"""Applies numbered .cql files, each once and in order, by one runner at a time.

A file `NNNN_words.cql` holds statements that may be repeated (IF NOT EXISTS). After a
runner that crashed, the next runner starts the file from its beginning.
"""

import asyncio
import hashlib
import re
import time
import uuid
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from cassandra.cluster import Session

from tidings.errors import ConfigurationError, StoreUnavailable
from tidings.store import statements
from tidings.store.cassandra_block_lists import copy_old_blocks
from tidings.store.cassandra_cluster import PROGRAMMING_ERRORS, SERVER_ERRORS, connect
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.deployment import Deployment
from tidings.store.rows import BlockList

DIRECTORY = Path(__file__).parent / "migrations"

# A statement waits up to 10 s for schema agreement (the driver's bound); the lock is renewed before each.
_LOCK_S = 60
_LOCK_POLL_S = 0.5
_LOCK_WAIT_S = 180
# Schema changes are slower than rows.
_REQUEST_TIMEOUT_S = 30.0
_NAME = re.compile(r"(\d{4})_\w+\.cql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The statements without comments. No literal in a migration holds `--` or `;`."""
        code = re.sub(r"--[^\n]*", "", self.text)
        return [part.strip() for part in code.split(";") if part.strip()]


@dataclass(frozen=True, slots=True)
class Naming:
    """How to name the tables if they have no name yet. `is_restored`: give them a new name in any case.

    `at_ms`: the current log time; if it is None, the clock of this machine counts.
    """

    at_ms: int | None = None
    is_restored: bool = False

    def next_life(self, known: Deployment | None) -> Deployment:
        """The life of the tables that begins now."""
        at_ms = time.time_ns() // 1_000_000 if self.at_ms is None else self.at_ms
        life_id = uuid.uuid4().hex
        return known.after_restore(life_id, at_ms) if known else Deployment.new(life_id, at_ms)


@dataclass(frozen=True, slots=True)
class Migrated:
    """The result of a run. `deployment` is None if the migrations make no table `deployments`, as in tests."""

    applied: list[str]
    deployment: Deployment | None
    is_named_now: bool


def migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """The files by version. Raises ConfigurationError unless they are numbered 1, 2, 3 …"""
    found = [_read(path) for path in sorted(directory.glob("*.cql"))]
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ConfigurationError(f"migrations in {directory.name} are not numbered 1, 2, 3 …")
    return found


@cache
def newest_version() -> int:
    """The version that this code needs."""
    return len(migrations())


async def migrate(config: CassandraConfig, directory: Path = DIRECTORY) -> list[str]:
    """Like `migrate_and_name`, and returns only the names of the applied migrations."""
    return (await migrate_and_name(config, Naming(), directory)).applied


async def migrate_and_name(config: CassandraConfig, naming: Naming, directory: Path = DIRECTORY) -> Migrated:
    """Create the keyspace, apply missing migrations, copy old block lists, and name the tables if they have no name.

    Safe to run again, and in several processes at once. Raises StoreUnavailable. Raises
    ConfigurationError if a file differs from the applied one of its number, or if
    Cassandra refuses a statement.
    """
    return await asyncio.to_thread(_migrate, config, migrations(directory), naming)


async def current_version(config: CassandraConfig) -> int:
    """The newest version applied in the keyspace, or 0. Raises StoreUnavailable."""
    return await asyncio.to_thread(_current_version, config)


def _read(path: Path) -> Migration:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ConfigurationError(f"{path.name} is not named like 0001_first_tables.cql")
    return Migration(int(match[1]), path.stem, path.read_text())


def _migrate(config: CassandraConfig, wanted: list[Migration], naming: Naming) -> Migrated:
    session = connect(config, _REQUEST_TIMEOUT_S)
    try:
        runner = _Runner(session, config)
        done = runner.run(wanted, naming)
        users = copy_old_blocks(session) if runner.tables() >= {"blocks", BlockList.table} else 0
        return replace(done, applied=[*done.applied, f"the block lists of {users} users"]) if users else done
    except PROGRAMMING_ERRORS as error:
        raise ConfigurationError(f"Cassandra refuses a statement of the migrations: {error}") from error
    except SERVER_ERRORS as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
    finally:
        session.cluster.shutdown()


def _current_version(config: CassandraConfig) -> int:
    session = connect(config)
    try:
        keyspace = session.cluster.metadata.keyspaces.get(config.keyspace)
        if keyspace is None or "schema_migrations" not in keyspace.tables:
            return 0
        session.set_keyspace(config.keyspace)
        return max((row[0] for row in session.execute(statements.SCHEMA_VERSIONS)), default=0)
    except SERVER_ERRORS as error:
        raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
    finally:
        session.cluster.shutdown()


class _Runner:
    """One run of the migrations. Its methods block."""

    def __init__(self, session: Session, config: CassandraConfig) -> None:
        self._session = session
        self._config = config
        self._holder = uuid.uuid4().hex

    def run(self, wanted: list[Migration], naming: Naming) -> Migrated:
        keyspace, replication = self._config.keyspace, self._config.replication
        try:
            self._change(statements.CREATE_KEYSPACE.format(keyspace=keyspace, replication=replication))
        except PROGRAMMING_ERRORS as error:
            raise ConfigurationError(f"TIDINGS_CASSANDRA_REPLICATION={replication!r}: {error}") from error
        self._session.set_keyspace(keyspace)
        self._change(statements.CREATE_MIGRATIONS)
        self._change(statements.CREATE_LOCK)
        self._lock()
        try:
            applied = [migration.name for migration in self._missing(wanted) if self._apply(migration)]
            return Migrated(applied, *self._name(naming))
        finally:
            self._execute(statements.RELEASE_LOCK, self._holder)

    def tables(self) -> set[str]:
        """The names of the tables, from the server, because the driver's metadata may lack another runner's changes."""
        return {name for (name,) in self._execute(statements.TABLE_NAMES, self._config.keyspace)}

    def _missing(self, wanted: list[Migration]) -> list[Migration]:
        applied: dict[int, str] = dict(self._execute(statements.APPLIED_MIGRATIONS))
        for migration in wanted:
            if applied.get(migration.version, migration.checksum) != migration.checksum:
                raise ConfigurationError(
                    f"{migration.name} was applied with another content: restore the file and add a new migration"
                )
        return [migration for migration in wanted if migration.version not in applied]

    def _apply(self, migration: Migration) -> bool:
        for statement in migration.statements:
            self._keep_lock()
            self._change(statement)
        recorded = (migration.version, migration.name, migration.checksum, time.time_ns() // 1_000_000)
        self._execute(statements.RECORD_MIGRATION, *recorded)
        return True

    def _name(self, naming: Naming) -> tuple[Deployment | None, bool]:
        """The life of the tables, and whether this run has named it."""
        if "deployments" not in self.tables():
            return None, False
        known = next((Deployment.of_row(row) for row in self._execute(statements.DEPLOYMENT)), None)
        if known is not None and not naming.is_restored:
            return known, False
        self._keep_lock()
        named = naming.next_life(known)
        values = (named.id, named.origin, named.since, list(named.restored))
        self._execute(statements.NAME_DEPLOYMENT, *values)
        return named, True

    def _keep_lock(self) -> None:
        if not self._is_applied(statements.KEEP_LOCK, _LOCK_S, self._holder, self._holder):
            raise StoreUnavailable("another runner took the migration lock; run again")

    def _lock(self) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not self._is_applied(statements.TAKE_LOCK, self._holder, _LOCK_S):
            if time.monotonic() > deadline:
                raise StoreUnavailable("another runner holds the migration lock")
            time.sleep(_LOCK_POLL_S)

    def _change(self, statement: str) -> None:
        """Make a schema change, and wait until all nodes agree on it."""
        result = self._session.execute(statement)
        if not result.response_future.is_schema_agreed:
            raise StoreUnavailable("the nodes do not agree on the schema; run again")

    def _execute(self, statement: str, *values: object) -> list[Any]:
        prepared = self._session.prepare(statement)
        return list(self._session.execute(prepared, values))

    def _is_applied(self, statement: str, *values: object) -> bool:
        """Whether a lightweight transaction was applied, which is its first column."""
        return bool(self._execute(statement, *values)[0][0])
