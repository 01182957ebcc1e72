"""`tidings audit` and the auditor over real servers: sound, while messages are written, and damaged by hand."""

import asyncio
import os
import re
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from cli.seeding.plan import SeedPlan, SeedSizes
from cli.seeding.seeder import seed
from deploy.local.ports import free_ports
from deploy.local.probes import HOST
from deploy.local.process import ROOT
from deploy.local.stack import SERVERS_ONLY, Stack
from tests.integration.line import Line
from tests.programs import Ended, ended
from tests.raw_tables import raw_tables_of
from tests.servers import Stacks
from tests.waiting import becomes
from tidings.clock import SystemClock
from tidings.ids import DAY_MS
from tidings.media.backends import prepare_folder
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore
from tidings.runtime.settings import LimitSettings, MediaStoreSettings
from tidings.store.base import TaggedRow, UserBucket
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.media_rows import MediaRefRow, MediaRow
from tidings.store.rows import Row

SIZES = SeedSizes(months=5, sessions=12, groups=3, messages=1_500, users=12)
_RUN_S = 120.0
_DAYS_S = 3 * DAY_MS // 1000


@pytest.fixture(scope="module")
def servers(stacks: Stacks) -> Iterator[Stack]:
    """Of this module alone. The topics of the shared ones have records that other tests count on."""
    with stacks.running("audit", SERVERS_ONLY) as stack:
        yield stack


@dataclass
class Operator:
    """The programs, over the tables of one test and a folder as object store."""

    line: Line
    servers: Stack
    folder: Path

    @property
    def settings(self) -> MediaStoreSettings:
        return MediaStoreSettings(store_url=f"file:{self.folder}", request_timeout_s=2, retries=1)

    async def run(self, *arguments: str, **more: str) -> Ended:
        return await ended(await self.begin("cli", *arguments, **more), _RUN_S)

    async def begin(self, *arguments: str, **more: str) -> asyncio.subprocess.Process:
        env = {
            "TIDINGS_KAFKA_BOOTSTRAP": self.servers.bootstrap,
            "TIDINGS_CASSANDRA_HOSTS": HOST,
            "TIDINGS_CASSANDRA_PORT": str(self.servers.ports.cassandra),
            "TIDINGS_CASSANDRA_KEYSPACE": self.line.tables.keyspace,
            "TIDINGS_MEDIA_STORE_URL": self.settings.store_url,
            "TIDINGS_MEDIA_REQUEST_TIMEOUT_S": "2",
            "TIDINGS_ARCHIVE_HOT_DAYS": "60",
            "TIDINGS_AUDIT_SETTLE_S": "1",
            "TIDINGS_AUDIT_ROWS_PER_S": "0",
        }
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *arguments),
            cwd=ROOT,
            env={**os.environ, **env, **more},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    def plan(self) -> SeedPlan:
        return SeedPlan(SIZES, LimitSettings(), SystemClock().wall_ms(), prefix=uuid.uuid4().hex[:8])

    async def seed(self) -> SeedPlan:
        plan = self.plan()
        await seed(self.line.broker, plan, self.line.kafka.sizes())
        return plan

    async def write(self, *rows: Row) -> None:
        assert not await self.line.store.write([TaggedRow(0, row) for row in rows])

    async def upload(self) -> None:
        """An upload that a message refers to, as the gateway stores it."""
        media_id, key = uuid.uuid4().hex, f"20000/{uuid.uuid4().hex}/content"
        objects = ObstoreMediaStore(MediaStoreConfig.of(self.settings))
        await objects.put(key, _bytes(b"abc"))
        await objects.close()
        await self.line.store.add_media(MediaRow(media_id, "a", key, "text/plain", "f", 3, b"s" * 32, 0, 0, 0, 1))
        await self.write(MediaRefRow(media_id, "d:a:b", 1))


async def _bytes(content: bytes) -> AsyncIterator[bytes]:
    yield content


def check_sound(run: Ended) -> None:
    assert run.code == 0, run.said
    assert re.search(r"\d{3,} reads of rows: nothing found", run.said)


async def test_audit_finds_what_was_damaged_by_hand(servers: Stack, config: CassandraConfig, tmp_path: Path) -> None:
    line = Line(servers, config)
    operator = Operator(line, servers, tmp_path / "objects")
    prepare_folder(operator.folder)
    async with line.services():
        plan = await operator.seed()
        await line.settled()
        await operator.upload()
        check_sound(await operator.run("audit"))
        await check_while_writing(operator)
        archived = await operator.run("archive", "run")
        assert archived.code == 0, archived.said
        check_sound(await operator.run("audit"))
        await check_away(operator)
        await check_damages(operator, plan)


async def check_while_writing(operator: Operator) -> None:
    """Audits one after the other, until the messages of a second seeding are in all inboxes."""
    writing = asyncio.create_task(operator.seed())
    audits = 0
    while not writing.done() or audits < 2:
        check_sound(await operator.run("audit"))
        audits += 1
    await writing
    await operator.line.settled()


async def check_away(operator: Operator) -> None:
    """The folder is not mounted."""
    away = operator.folder.with_name("away")
    operator.folder.rename(away)
    run = await operator.run("audit")
    away.rename(operator.folder)
    assert run.code == 3, run.said
    assert "nothing found" in run.said
    assert "not looked at: 1 places of uploads" in run.said
    assert re.search(r"not looked at: \d+ places of cold/20\d{4}/00", run.said)


async def check_damages(operator: Operator, plan: SeedPlan) -> None:
    line, direct = operator.line, next(one for one in plan.sessions if not one.is_group)
    session_id, user_id = direct.session_id, direct.members[0]
    (newest,) = (await line.store.segments([session_id], 1))[session_id]
    bucket = (await line.store.inbox_buckets([user_id], 1))[user_id][0].bucket
    rows = (await line.store.newest_inbox_rows([UserBucket(user_id, bucket)], 9))[UserBucket(user_id, bucket)]
    last, middle = rows[0], rows[5]
    stray_ref = uuid.uuid4().hex
    cold = next(operator.folder.glob("cold/*/*/*.parquet"))
    stray_object = cold.with_name("stray.parquet")
    stray_object.write_bytes(b"x")
    os.utime(stray_object, times=(stray_object.stat().st_mtime - _DAYS_S,) * 2)
    lost_seq = newest.first_seq
    async with raw_tables_of(line.tables) as raw:
        keyspace = "DELETE FROM {}."
        await raw.execute(f"{keyspace}messages WHERE session_id = '{session_id}' AND segment = {newest.segment}"
                          f" AND seq = {lost_seq}")  # fmt: skip
        await raw.execute(f"{keyspace}inbox WHERE user_id = '{user_id}' AND bucket = {bucket}"
                          f" AND inbox_seq = {middle.inbox_seq}")  # fmt: skip
        await operator.write(
            replace(last, inbox_seq=last.inbox_seq + 1),
            MediaRefRow(stray_ref, session_id, 1),
        )
        cold.unlink()
        run = await operator.run("audit")
    assert run.code == 1, run.said
    wanted = [
        rf"orphaned: key of {session_id} .* names {session_id} seq {lost_seq}, which is not stored",
        rf"orphaned: inbox {user_id}: inbox_seq \d+ names {session_id} seq {lost_seq}, which is not stored",
        rf"missing: inbox {user_id}: inbox_seq {middle.inbox_seq} is lost",
        rf"doubled: inbox {user_id}: inbox_seq {last.inbox_seq + 1} has {last.session_id} seq {last.seq}, which",
        rf"orphaned: upload {stray_ref}: {session_id} seq 1 refers to it, and it has no row",
        rf"orphaned: object {stray_object.relative_to(operator.folder)}: no segment is in it",
        rf"missing: object {cold.relative_to(operator.folder)}: it is gone, and \d+ segments are in it",
        rf"(missing|orphaned): session {session_id} segment {newest.segment}: .*seqs? {lost_seq}\b",
    ]
    for text in wanted:
        assert re.search(text, run.said), (text, run.said)
    assert run.said.count("doubled: ") == 1
    assert run.said.count(f"missing: inbox {user_id}") == 1


async def test_auditor_shows_passes_on_its_admin_port(servers: Stack, config: CassandraConfig, tmp_path: Path) -> None:
    line = Line(servers, config)
    operator = Operator(line, servers, tmp_path / "objects")
    prepare_folder(operator.folder)
    async with line.services():
        await operator.write(MediaRefRow("a" * 32, "d:a:b", 1))
        port = free_ports().kafka
        more = {"TIDINGS_ADMIN_PORT": str(port), "TIDINGS_AUDIT_PAUSE_S": "1"}
        process = await operator.begin("services.auditor", **more)

        async def shown() -> str:
            try:
                async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}") as http:
                    lines = (await http.get("/metrics")).text.splitlines()
            except httpx2.TransportError:
                return ""
            return "; ".join(line for line in lines if line.startswith('tidings_audit_findings{kind="orphaned"}'))

        await becomes(shown, 'tidings_audit_findings{kind="orphaned"} 1.0', within_s=60)
        process.send_signal(signal.SIGTERM)
        end = await ended(process, _RUN_S)
        assert end.code == 0, end.said
        assert "audit finding" in end.said
