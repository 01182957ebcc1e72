"""The archiver as operators run it, on the stack of this tier, and months of messages for it to move."""

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from cli.seeding.plan import SeedPlan, SeedSizes
from cli.seeding.seeder import seed
from deploy.local.probes import HOST
from deploy.local.process import ROOT
from deploy.local.stack import Stack
from tests import programs
from tests.planned import check_planned
from tests.programs import Ended
from tests.raw_tables import RawTables, raw_tables_of
from tidings import ids
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.clock import SystemClock
from tidings.cold.cache import ObjectCache
from tidings.cold.reader import ColdReader
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore
from tidings.runtime.settings import KafkaSettings, LimitSettings
from tidings.store import history
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment, Store
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentRow

# Small, so that a session of a few hundred messages has several segments in a month.
SEGMENT_MESSAGES = 100
_ARCHIVER = (sys.executable, "-m", "services.persister.archive")
_CLI = (sys.executable, "-m", "cli", "archive")
_RUN_S = 120.0
_CACHE_BYTES = 10**8

Messages = Mapping[str, Sequence[MessageRow]]


# -- runs ------------------------------------------------------------------------------------------


async def archive(stack: Stack, verb: str, *options: str, **rules: object) -> Ended:
    """`tidings archive <verb>`. `rules`: settings of TIDINGS_ARCHIVE_*, as hot_days=90."""
    return await programs.ended(await _begun(stack, (*_CLI, verb, *options), rules), _RUN_S)


async def run(stack: Stack, **rules: object) -> Ended:
    """One run, which must end well."""
    ended = await archive(stack, "run", **rules)
    assert ended.code == 0, ended.said
    return ended


async def verify(stack: Stack) -> str:
    """All objects are as the directory says."""
    ended = await archive(stack, "verify")
    assert ended.code == 0, ended.said
    assert "DAMAGED" not in ended.said
    return ended.said


async def archiver(stack: Stack, number: int = 0, **rules: object) -> asyncio.subprocess.Process:
    """`python -m services.persister.archive`, which has just begun."""
    port = str(stack.ports.admin("persister", 5 + number))
    return await _begun(stack, _ARCHIVER, rules, TIDINGS_ADMIN_PORT=port, TIDINGS_ADMIN_HOST=HOST)


async def ended(process: asyncio.subprocess.Process) -> Ended:
    """The end of an archiver."""
    return await programs.ended(process, _RUN_S)


async def _begun(
    stack: Stack, command: Sequence[str], rules: Mapping[str, object], **env: str
) -> asyncio.subprocess.Process:
    settings = {
        "TIDINGS_KAFKA_BOOTSTRAP": stack.bootstrap,
        "TIDINGS_CASSANDRA_HOSTS": HOST,
        "TIDINGS_CASSANDRA_PORT": str(stack.ports.cassandra),
        "TIDINGS_MEDIA_STORE_URL": f"file:{stack.media_dir}",
        **{f"TIDINGS_ARCHIVE_{name.upper()}": str(value) for name, value in rules.items()},
    }
    return await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **settings, **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


# -- messages --------------------------------------------------------------------------------------


async def seeded(stack: Stack, sizes: SeedSizes, store: Store) -> tuple[SeedPlan, Messages]:
    """Months of messages of users of their own, and their rows, which are as planned."""
    limits = LimitSettings(segment_messages=SEGMENT_MESSAGES)
    plan = SeedPlan(sizes, limits, SystemClock().wall_ms(), prefix=uuid.uuid4().hex[:8])
    kafka = KafkaSettings(bootstrap=stack.bootstrap)
    await seed(KafkaBroker(KafkaConfig.of(kafka)), plan, kafka.sizes())
    rows = {one.session_id: await history.read_range(store, one.session_id, 1, 2**40, 2**40) for one in plan.sessions}
    for session in plan.sessions:
        check_planned(rows[session.session_id], list(plan.messages_of(session)))
    async with raw_tables(stack) as raw:
        await raw.unfinish({_shard_of(row, limits) for some in rows.values() for row in some})
    return plan, rows


def _shard_of(row: MessageRow, limits: LimitSettings) -> Shard:
    return Shard(ids.month_of(row.at), ids.partition_of(row.session_id, limits.month_shards))


@asynccontextmanager
async def cold_rows(stack: Stack, folder: Path) -> AsyncIterator[ColdReader]:
    """A reader of the stack's objects."""
    objects = ObstoreMediaStore(MediaStoreConfig(folder=str(stack.media_dir)))
    reader = ColdReader(ObjectCache(objects, folder, _CACHE_BYTES, 10.0), SystemClock())
    await reader.start()
    try:
        yield reader
    finally:
        await reader.close()
        await objects.close()


async def directory_of(store: Store, session_id: str) -> list[SegmentRow]:
    """All segments of a session, ascending."""
    found = await store.segments([session_id], 1_000)
    return sorted(found[session_id], key=lambda row: row.segment)


def rows_by_segment(rows: Sequence[MessageRow]) -> dict[SessionSegment, list[MessageRow]]:
    """The messages of each segment."""
    found: dict[SessionSegment, list[MessageRow]] = {}
    for row in rows:
        found.setdefault(SessionSegment(row.session_id, row.segment), []).append(row)
    return found


def seqs_by_segment(rows: Messages) -> dict[SessionSegment, set[int]]:
    """The seqs of each segment, as `RawTables.hot_seqs` has them while all is hot."""
    found = {name: some for one in rows.values() for name, some in rows_by_segment(one).items()}
    return {name: {row.seq for row in some} for name, some in found.items()}


@asynccontextmanager
async def raw_tables(stack: Stack) -> AsyncIterator[RawTables]:
    """Connected."""
    async with raw_tables_of(CassandraConfig(port=stack.ports.cassandra)) as raw:
        yield raw
