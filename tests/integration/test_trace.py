"""`tidings trace` on the real servers: a direct message and one of a large group through all stages, then archived."""

import asyncio
import os
import re
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from cli import composition
from cli.trace import shown
from deploy.local.embedded import Services, embedded
from deploy.local.probes import HOST
from deploy.local.process import ROOT
from deploy.local.stack import SERVERS_ONLY, Stack
from services.gateway.settings import AdminSettings, GatewaySettings
from services.gateway.trace_call import PATH
from tests.deployments import settings
from tests.integration.line import Line
from tests.programs import ended
from tests.servers import Stacks
from tests.sockets import opened
from tests.waiting import becomes
from tidings import ids
from tidings.media.backends import prepare_folder
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore
from tidings.runtime.health import Health, serve_admin
from tidings.runtime.settings import (
    CassandraSettings,
    ColdSettings,
    KafkaSettings,
    LimitSettings,
    MediaStoreSettings,
)
from tidings.runtime.start import started
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import migrate
from tidings.tracing.lines import Outcome
from tidings.tracing.subjects import subject_of
from tidings_client import development_tokens

TOKEN = "0123456789abcdef" * 2
_RUN_S = 120.0


@pytest.fixture(scope="module")
def servers(stacks: Stacks) -> Iterator[Stack]:
    """Of this module alone. The topics of the shared ones have records that other tests count on."""
    with stacks.running("trace", SERVERS_ONLY) as stack:
        yield stack


@dataclass
class Place:
    """The services on the real servers, with objects in a folder, and what operators call."""

    url: str
    admin: str
    kafka: KafkaSettings
    cassandra: CassandraSettings
    objects: MediaStoreSettings

    @property
    def env(self) -> dict[str, str]:
        """For programs."""
        return {
            "TIDINGS_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "TIDINGS_CASSANDRA_HOSTS": self.cassandra.hosts,
            "TIDINGS_CASSANDRA_PORT": str(self.cassandra.port),
            "TIDINGS_CASSANDRA_KEYSPACE": self.cassandra.keyspace,
            "TIDINGS_MEDIA_STORE_URL": self.objects.store_url,
            "TIDINGS_ARCHIVE_HOT_DAYS": "0",
        }

    async def post(self, user_id: str, path: str, body: dict[str, object]) -> dict[str, object]:
        headers = {"Authorization": f"Bearer {await development_tokens(self.url, user_id)()}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=60) as http:
            answer = await http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def send(self, user_id: str, **content: object) -> dict[str, object]:
        body = {"client_msg_id": uuid.uuid4().hex, "kind": "text", "body": {"text": "hello"}, **content}
        return await self.post(user_id, "/v1/messages", body)

    async def run(self, *verb: str) -> tuple[int, list[str]]:
        """A verb of the command line: its exit code, and the lines of both outputs."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli", *verb),
            cwd=ROOT,
            env={**os.environ, **self.env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        code, said = await ended(process, _RUN_S)
        return code, said.splitlines()

    async def trace(self, epoch: int = 0, /, **asked: str) -> tuple[Outcome, list[str]]:
        """The outcome and the lines of `tidings trace`, without the start of a program."""
        kafka = self.kafka.model_copy(update={"epoch": epoch})
        async with composition.tracing(self.cassandra, kafka, self.objects) as tracer:
            found = await tracer.trace(subject_of(**asked))
        return found.outcome, [shown(line) for line in found.lines]

    async def confirmed(self, **asked: str) -> list[str]:
        """The lines of a trace when every stage has committed past the message."""
        found: list[list[str]] = []

        async def waiting() -> list[str]:
            outcome, lines = await self.trace(**asked)
            found.append(lines)
            behind = ("not confirmed it", "not past it", "has not confirmed: ")
            return [line for line in lines if outcome is not Outcome.STORED or any(one in line for one in behind)]

        await becomes(waiting, list[str](), within_s=60)
        return found[-1]


@asynccontextmanager
async def place(servers: Stack, config: CassandraConfig, tmp_path: Path) -> AsyncIterator[Place]:
    line, folder, token_file = Line(servers, config), tmp_path / "objects", tmp_path / "operator.token"
    await asyncio.to_thread(prepare_folder, folder)
    await asyncio.to_thread(token_file.write_text, TOKEN)
    stored_in = MediaStoreSettings(store_url=f"file:{folder}")
    objects = ObstoreMediaStore(MediaStoreConfig.of(stored_in))
    chosen = settings(tmp_path, limits=LimitSettings(write_diffusion_max=3))
    update = {
        "kafka": line.kafka,
        "cold": ColdSettings(cache_dir=str(tmp_path / "cache")),
        "admin": AdminSettings(token_file=str(token_file)),
    }
    gateway = GatewaySettings.model_validate({**dict(chosen), **update})
    services = Services(line.broker, line.store, objects, [gateway], kafka=line.kafka, process=chosen.process)
    cassandra = CassandraSettings(hosts=HOST, port=servers.ports.cassandra, keyspace=config.keyspace)
    health = Health()
    await migrate(config)
    async with (
        started(line.store),
        serve_admin(HOST, 0, health) as admin,
        embedded(services, health, asyncio.Event()) as [there],
    ):
        yield Place(there.url, f"http://{HOST}:{admin}", line.kafka, cassandra, stored_in)
    await objects.close()


def of(lines: list[str], stage: str) -> list[str]:
    return [line for line in lines if line.startswith(f"{stage} ")]


async def test_messages_are_followed_through_all_stages(
    servers: Stack, config: CassandraConfig, tmp_path: Path
) -> None:
    async with place(servers, config, tmp_path) as there:
        alice, bob, carol, dave = (f"{uuid.uuid4().hex[:8]}-{name}" for name in ("alice", "bob", "carol", "dave"))
        direct = await there.send(alice, to=bob)
        session_id, message_id = str(direct["session_id"]), str(direct["message_id"])
        lines = await there.confirmed(message_id=message_id)
        _, partition, offset = ids.split_message_id(int(message_id))
        (received,) = of(lines, "received")
        assert f"messages.inbound partition {partition} offset {offset}, epoch 0" in received
        assert received.endswith("[topics, kept 7 days]")
        assert of(lines, "stored")[0].endswith("hot  [tables]")
        for user_id in (alice, bob):
            assert any(f"{user_id}: by deliveries partition" in line for line in of(lines, "inbox")), lines
        for stage in ("persister", "expand", "deliver", "receipts"):
            assert "confirmed" in of(lines, stage)[0]
        await _follow_a_large_group(there, alice, bob, carol, dave)
        await _ask_badly(there, session_id, int(message_id))


async def test_a_message_is_followed_into_the_archive(servers: Stack, config: CassandraConfig, tmp_path: Path) -> None:
    async with place(servers, config, tmp_path) as there:
        alice, bob = (f"{uuid.uuid4().hex[:8]}-{name}" for name in ("alice", "bob"))
        sent = await there.send(alice, to=bob)
        session_id = str(sent["session_id"])
        before = await _read(there, bob, session_id)
        assert "1 of 1" in of(before, "read")[0]
        code, said = await there.run("archive", "run")
        assert code == 0, said
        code, after = await there.run("trace", "--session", session_id, "--seq", "1")
        assert code == 0, after
        (stored,) = of(after, "stored")
        # The newest message of a session keeps its hot row.
        found = re.search(r"20\d\d-\d\d-\d\d \S+  cold/\S+ row 0: cold: archived, with a copy in the tables", stored)
        assert found, stored
        for stage in ("received", "decided", "key", "fan-out", "inbox", "pushed", "delivered", "read"):
            assert of(after, stage) == of(before, stage)
        await _ask_the_admin_port(there, session_id)
        code, lines = await there.run("groups")
        assert code == 0, lines
        _, partition, offset = ids.split_message_id(int(str(sent["message_id"])))
        (persisted, *_) = [line for line in lines if line.startswith(f"  messages.persisted {partition} ")]
        # The message has left its mark, or a later command of the partition has.
        (mark,) = re.findall(rf" {partition}:0/(\d+)", persisted)
        assert int(mark) >= offset


async def _read(there: Place, user_id: str, session_id: str) -> list[str]:
    """The user reads message 1. Returns the lines of its trace when all stages have committed past that."""
    async with opened(there.url) as socket:
        await socket.sign_in(await development_tokens(there.url, user_id)(), "phone")
        await socket.like(type="live")
        await socket.send(
            {"type": "ack", "inbox_seq": 1, "delivered": [{"session_id": session_id, "seq": 1}]},
            {"type": "read", "session_id": session_id, "seq": 1},
        )

        async def is_read() -> bool:
            _, lines = await there.trace(session=session_id, seq="1")
            return any(f"{user_id}: the watermark is at seq 1" in line for line in of(lines, "read"))

        await becomes(is_read, True, within_s=60)
    return await there.confirmed(session=session_id, seq="1")


async def _follow_a_large_group(there: Place, owner: str, *members: str) -> None:
    body: dict[str, object] = {"client_msg_id": uuid.uuid4().hex, "name": "Team", "members": list(members)}
    group = str((await there.post(owner, "/v1/groups", body))["session_id"])
    sent = await there.send(owner, session_id=group, client_msg_id="to the group")
    lines = await there.confirmed(sender=owner, client_msg_id="to the group", session=group)
    assert f"message {sent['message_id']} of {owner}" in of(lines, "decided")[0]
    assert "read diffusion: 4 members read it from the group's log" in of(lines, "fan-out")[0]
    assert (of(lines, "inbox"), of(lines, "deliver")) == ([], [])
    assert of(lines, "delivered")[0].endswith("[unknown]")
    created = await there.confirmed(session=group, seq="1")
    assert "mode switch from write to read diffusion" in of(created, "fan-out")[0]
    assert len(of(created, "inbox")) == 4


async def _ask_badly(there: Place, session_id: str, message_id: int) -> None:
    _, partition, _ = ids.split_message_id(message_id)
    outcome, lines = await there.trace(message_id=str(ids.message_id(0, partition, 2**40)))
    assert (outcome, "no command has this id" in lines[0]) == (Outcome.NOT_FOUND, True), lines
    outcome, lines = await there.trace(session=session_id, seq="99")
    assert (outcome, "ends at seq 1" in lines[0]) == (Outcome.NOT_FOUND, True), lines
    outcome, lines = await there.trace(1, message_id=str(message_id))
    assert (outcome, "is of epoch 0, whose topics are gone" in lines[0]) == (Outcome.UNKNOWN, True), lines
    outcome, lines = await there.trace(1, session=session_id, seq="1")
    assert (outcome, of(lines, "expand")[0].endswith("[unknown]")) == (Outcome.STORED, True)
    code, said = await there.run("trace", str(ids.message_id(5, partition, 0)))
    assert (code, "is of epoch 5, and this deployment is at epoch 0" in said[-1]) == (1, True), said


async def _ask_the_admin_port(there: Place, session_id: str) -> None:
    asked = {"session": session_id, "seq": "1"}
    async with httpx2.AsyncClient(timeout=60) as http:
        allowed = await http.get(f"{there.admin}{PATH}", params=asked, headers={"Authorization": f"Bearer {TOKEN}"})
        assert (allowed.status_code, allowed.json()["outcome"]) == (200, "stored")
        (stored,) = [line for line in allowed.json()["lines"] if line["stage"] == "stored"]
        assert stored["text"].startswith("cold: archived")
        assert (await http.get(f"{there.admin}{PATH}", params=asked)).status_code == 401
        wrong = {"Authorization": f"Bearer {TOKEN[::-1]}"}
        assert (await http.get(f"{there.admin}{PATH}", params=asked, headers=wrong)).status_code == 401
        public = await http.get(f"{there.url}{PATH}", params=asked, headers={"Authorization": f"Bearer {TOKEN}"})
        assert public.status_code == 404
