"""Months of messages archived to S3 and read from there by a gateway, also when S3 is away for a while."""

import asyncio
import os
import random
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cli.seeding.plan import PlannedSession, SeedPlan, SeedSizes
from cli.seeding.seeder import seed
from deploy.local.embedded import Services, embedded
from deploy.local.probes import HOST
from deploy.local.process import ROOT
from deploy.local.stack import Stack
from services.gateway.settings import GatewaySettings
from tests.contract.media.conftest import s3_config
from tests.contract.media.faulty_proxy import FaultyProxy
from tests.contract.media.moto_running import MotoServer, moto_server
from tests.deployments import settings
from tests.integration.line import Line
from tests.planned import check_planned
from tests.programs import ended
from tests.raw_tables import raw_tables_of
from tidings.clock import SystemClock
from tidings.cold.reader import FAILURE_MS
from tidings.ids import partition_of
from tidings.media.obstore_store import ObstoreMediaStore
from tidings.runtime.health import Health
from tidings.runtime.settings import ColdSettings, LimitSettings
from tidings.runtime.start import started
from tidings.store import history
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import migrate
from tidings_client import development_tokens
from tidings_client.histories import Histories
from tidings_client.rest import Rest
from tidings_client.tokens import Tokens

SIZES = SeedSizes(months=6, sessions=10, groups=2, messages=600, users=10)
_RUN_S = 120.0
_KILL_ROUNDS, _LIVE_S = 8, 2.0
# Slow enough that no life moves everything, on a fast machine too.
_KILLED_PER_S = 10
# The client tries 3 times, each for 2 s.
ANSWERED_WITHIN_S = 15.0


@pytest.fixture
def moto() -> Iterator[MotoServer]:
    """S3 of this test alone."""
    with moto_server() as server:
        yield server


@asynccontextmanager
async def proxy_to(server: MotoServer) -> AsyncIterator[FaultyProxy]:
    proxy = FaultyProxy(server.port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()


@asynccontextmanager
async def gateway_of(line: Line, objects: ObstoreMediaStore, tmp_path: Path) -> AsyncIterator[str]:
    """All services, with these objects behind the gateway. Its URL."""
    chosen = settings(tmp_path)
    update = {"kafka": line.kafka, "cold": ColdSettings(cache_dir=str(tmp_path / "cache"))}
    gateway = GatewaySettings.model_validate({**dict(chosen), **update})
    services = Services(line.broker, line.store, objects, [gateway], kafka=line.kafka, process=chosen.process)
    await migrate(line.tables)
    async with started(line.store), embedded(services, Health(), asyncio.Event()) as [there]:
        yield there.url


async def archive(line: Line, endpoint: str, verb: str, servers: Stack) -> tuple[int, str]:
    return await ended(await begun(line, endpoint, verb, servers), _RUN_S)


async def begun(line: Line, endpoint: str, verb: str, servers: Stack, *options: str) -> asyncio.subprocess.Process:
    env = {
        "TIDINGS_KAFKA_BOOTSTRAP": servers.bootstrap,
        "TIDINGS_CASSANDRA_HOSTS": HOST,
        "TIDINGS_CASSANDRA_PORT": str(servers.ports.cassandra),
        "TIDINGS_CASSANDRA_KEYSPACE": line.tables.keyspace,
        "TIDINGS_MEDIA_STORE_URL": f"s3://{MotoServer.bucket}/below/a-prefix",
        "TIDINGS_MEDIA_S3_ALLOW_HTTP": "true",
        "TIDINGS_MEDIA_S3_ENDPOINT": endpoint,
        "TIDINGS_MEDIA_S3_REGION": "us-east-1",
        "TIDINGS_MEDIA_S3_ACCESS_KEY_ID": "contract",
        "TIDINGS_MEDIA_S3_SECRET_ACCESS_KEY": "contract-secret",
        "TIDINGS_MEDIA_CONNECT_TIMEOUT_S": "1",
        "TIDINGS_MEDIA_REQUEST_TIMEOUT_S": "2",
        "TIDINGS_MEDIA_RETRIES": "2",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "archive", verb, *options),
        cwd=ROOT,
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def killed_archivers(line: Line, endpoint: str, servers: Stack, objects: ObstoreMediaStore) -> tuple[int, int]:
    """Two at once, killed with -9 at points of their lives. Returns how many, and after how many rounds more was there.

    A life becomes longer while nothing is stored, so that the kills are spread on any machine.
    """
    chance, kills, moving, longest_s = random.Random(14), 0, 0, _LIVE_S
    before = 0
    for _ in range(_KILL_ROUNDS):
        slowly = ("--rate", str(_KILLED_PER_S))
        both = [await begun(line, endpoint, "run", servers, *slowly) for _ in range(2)]
        for process in both:
            await asyncio.sleep(chance.uniform(0, longest_s))
            if process.returncode is None:
                process.kill()
            code, said = await ended(process, _RUN_S)
            kills += code < 0
            assert code in (0, -signal.SIGKILL), said
        async with raw_tables_of(line.tables) as raw:
            await raw.expire_claims()
        stored = len([found async for found in objects.list("cold")])
        moving, longest_s = (moving + 1, _LIVE_S) if stored > before else (moving, 2 * longest_s)
        before = stored
    return kills, moving


async def page(url: str, session: PlannedSession, **bounds: int) -> tuple[int, Any]:
    """A page of history as the first member gets it, and its status. It comes within a bounded time."""
    token = await development_tokens(url, session.members[0])()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=ANSWERED_WITHIN_S) as http:
        answer = await http.get(f"/v1/sessions/{session.session_id}/messages", params={"limit": 5, **bounds})
    return answer.status_code, answer.json()


async def check_history(url: str, plan: SeedPlan, session: PlannedSession) -> None:
    """The first member reads the planned messages."""
    rest = Rest(url, Tokens(development_tokens(url, session.members[0])))
    found = [one async for one in Histories(rest.history).backwards(session.session_id)]
    await rest.close()
    assert [(one.seq, one.at, one.sender_id, one.client_msg_id) for one in reversed(found)] == [
        (one.seq, one.at_ms, one.command.sender_id, one.command.client_msg_id) for one in plan.messages_of(session)
    ]


async def check_hot(line: Line, plan: SeedPlan) -> None:
    """Everything is in the tables as planned. Without objects this read refuses cold segments."""
    for session in plan.sessions:
        rows = await history.read_range(line.store, session.session_id, 1, 2**40, 2**40)
        check_planned(rows, list(plan.messages_of(session)))


def planned() -> tuple[SeedPlan, PlannedSession, PlannedSession]:
    """A plan, and two of its groups in different shards. So no object has messages of both."""
    while True:
        plan = SeedPlan(SIZES, LimitSettings(), SystemClock().wall_ms(), prefix=uuid.uuid4().hex[:8])
        *_, first, second = (one for one in plan.sessions if one.is_group)
        shards = LimitSettings().month_shards
        if partition_of(first.session_id, shards) != partition_of(second.session_id, shards):
            return plan, first, second


async def test_history_comes_from_s3_that_may_be_away(
    servers: Stack, config: CassandraConfig, moto: MotoServer, tmp_path: Path
) -> None:
    line = Line(servers, config)
    plan, first, second = planned()
    async with proxy_to(moto) as proxy:
        objects = ObstoreMediaStore(s3_config(moto, proxy.endpoint))
        async with gateway_of(line, objects, tmp_path) as url:
            await seed(line.broker, plan, line.kafka.sizes())
            await check_hot(line, plan)
            await proxy.stop()
            code, said = await archive(line, proxy.endpoint, "run", servers)
            assert code != 0, said
            await check_hot(line, plan)
            await proxy.start()
            kills, moving = await killed_archivers(line, proxy.endpoint, servers, objects)
            assert kills >= _KILL_ROUNDS
            assert moving >= 2
            for verb in ("run", "verify"):
                code, said = await archive(line, proxy.endpoint, verb, servers)
                assert code == 0, said
            await check_history(url, plan, first)
            await proxy.stop()
            status, answer = await page(url, second, after_seq=0)
            assert (status, answer["code"], answer["retryable"]) == (503, "unavailable", True)
            assert "archived messages" in answer["detail"]
            assert (await page(url, second))[0] == 200
            # The gateway has the objects of what it has read on its disk.
            await check_history(url, plan, first)
            await proxy.start()
            await asyncio.sleep(FAILURE_MS / 1000)
            for session in plan.sessions:
                await check_history(url, plan, session)
        await objects.close()
