"""A real gateway on a free port, over the memory adapters; the test plays the stages behind the log."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from services.gateway.service import serve
from services.gateway.settings import GatewaySettings, HttpSettings, TokenSettings
from tidings import topics
from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.ids import direct_users
from tidings.runtime.health import Health
from tidings.runtime.settings import CassandraSettings, KafkaSettings, LimitSettings, ProcessSettings
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.rows import (
    MODE_WRITE,
    BucketRow,
    InboxRow,
    KeyRow,
    MessageRow,
    Row,
    SegmentRow,
    UserSessionRow,
)
from tidings.wire.common_pb2 import KIND_TEXT
from tidings.wire.inbound_pb2 import Command
from tidings.wire.push_pb2 import Push, SendAck

SUBPROTOCOL = Subprotocol("tidings.v1.json")
PATIENCE_S = 10.0


def settings(tmp_path: Path, ordinal: int = 0, **http: Any) -> GatewaySettings:
    """Development mode, a free port, a short drain."""
    http = {"http_port": 0, "drain_s": 0.2, "media_hosts": "media.example", **http}
    return GatewaySettings(
        process=ProcessSettings(development=True, ordinal=ordinal),
        http=HttpSettings(**http),
        tokens=TokenSettings(dev_key_file=str(tmp_path / "dev.key")),
        kafka=KafkaSettings(session_partitions=2, user_partitions=2, push_partitions=2),
        cassandra=CassandraSettings(),
        limits=LimitSettings(),
    )


@dataclass
class Running:
    """One gateway and the log and tables behind it."""

    broker: MemoryBroker
    store: MemoryStore
    port: int
    task: asyncio.Task[None]
    stopping: asyncio.Event
    health: Health
    ordinal: int
    positions: dict[TopicPartition, int] = field(default_factory=dict)

    async def records(self, topic: str, count: int, partitions: int = 2) -> list[Record]:
        """The next `count` records of a topic, in the order of arrival."""
        reader = self.broker.reader("test")
        await reader.start()
        names = [TopicPartition(topic, number) for number in range(partitions)]
        reader.assign({name: self.positions.get(name, 0) for name in names})
        found: list[Record] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                found.extend(await reader.poll(count - len(found), 100))
        await reader.stop()
        for record in found:
            self.positions[TopicPartition(topic, record.partition)] = record.offset + 1
        return found

    async def commands(self, count: int) -> list[Command]:
        """The next published commands."""
        records = await self.records(topics.MESSAGES_INBOUND, count)
        return [Command.FromString(record.value or b"") for record in records]

    async def push(self, *pushes: Push) -> None:
        """Append to the gateway's push partition."""
        producer = self.broker.producer("test")
        await producer.start()
        await producer.produce(topics.PUSH, self.ordinal, [NewRecord(push.SerializeToString()) for push in pushes])
        await producer.stop()

    async def ack(self, command: Command, seq: int, at_ms: int = 5) -> None:
        """What the persister would push."""
        ack = SendAck(
            origin=command.origin,
            session_id=command.session_id,
            client_msg_id=command.client_msg_id,
            message_id=seq + 1000,
            seq=seq,
            at_ms=at_ms,
        )
        await self.push(Push(gateway_epoch=command.origin.gateway_epoch, send_ack=ack))

    @property
    def url(self) -> str:
        """Of the public port."""
        return f"http://127.0.0.1:{self.port}"

    async def token(self, user_id: str) -> str:
        """A development token."""
        async with httpx2.AsyncClient(base_url=self.url) as http:
            response = await http.post("/v1/tokens", json={"user_id": user_id})
        return str(response.json()["token"])

    @contextlib.asynccontextmanager
    async def rest(self, user_id: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A REST client of a user."""
        headers = {"Authorization": f"Bearer {await self.token(user_id)}"}
        async with httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE_S) as http:
            yield http

    @contextlib.asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator["Socket"]:
        """An open WebSocket, not signed in."""
        url = f"ws://127.0.0.1:{self.port}/v1/ws"
        async with connect(url, subprotocols=[SUBPROTOCOL], compression=None, **options) as connection:
            yield Socket(connection)

    @contextlib.asynccontextmanager
    async def signed_in(self, user_id: str, device_id: str = "phone") -> AsyncIterator["Socket"]:
        """A signed-in WebSocket."""
        async with self.socket() as socket:
            await socket.send({"type": "hello", "token": await self.token(user_id), "device_id": device_id})
            socket.welcome = await socket.expect("welcome")
            yield socket


@dataclass
class Socket:
    """Frames in and out."""

    connection: ClientConnection
    welcome: dict[str, Any] = field(default_factory=dict)
    held: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, *frames: dict[str, Any]) -> None:
        """All in one message."""
        await self.connection.send("\n".join(json.dumps(frame) for frame in frames))

    async def next(self) -> dict[str, Any]:
        """The next frame, whatever it is."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.held:
                self.held = [json.loads(line) for line in str(await self.connection.recv()).split("\n")]
        return self.held.pop(0)

    async def expect(self, kind: str) -> dict[str, Any]:
        """The next frame of a type; heartbeats before it are let go."""
        while True:
            frame = await self.next()
            if frame["type"] == kind:
                return frame
            assert frame["type"] == "heartbeat", frame

    async def closed(self) -> int:
        """The close code, once the server has closed."""
        async with asyncio.timeout(PATIENCE_S):
            await self.connection.wait_closed()
        assert self.connection.close_code is not None
        return self.connection.close_code


@contextlib.asynccontextmanager
async def running(
    chosen: GatewaySettings, broker: MemoryBroker | None = None, store: MemoryStore | None = None
) -> AsyncIterator[Running]:
    """Start a gateway; stop it as SIGTERM would, unless it has ended by itself."""
    broker, store = broker or MemoryBroker(), store or MemoryStore()
    await broker.admin().create_topics(topics.declared(chosen.kafka.sizes()), 1)
    health, stopping = Health(), asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(chosen, broker, store, health, stopping, port.set_result))
    await asyncio.wait((task, port), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    gateway = Running(broker, store, port.result(), task, stopping, health, chosen.process.ordinal)
    try:
        yield gateway
    finally:
        stopping.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait((task,))


def message_row(seq: int, session_id: str = "d:alice:bob", sender_id: str = "bob", **changes: Any) -> MessageRow:
    """A stored text message; its count is its seq."""
    fields: dict[str, Any] = {
        "session_id": session_id,
        "segment": 1,
        "seq": seq,
        "message_id": 1000 + seq,
        "sender_id": sender_id,
        "client_msg_id": f"m{seq}",
        "kind": KIND_TEXT,
        "body": json.dumps({"text": f"message {seq}"}).encode(),
        "at": 10_000 + seq,
        "count": seq,
        "log_epoch": 0,
        "log_offset": seq,
    }
    return MessageRow(**(fields | changes))


async def fill_session(store: MemoryStore, seqs: Iterable[int], session_id: str = "d:alice:bob") -> None:
    """Messages of one session in its first segment, and its place in both users' lists."""
    rows: list[Row] = [SegmentRow(session_id, 1, 1, 202611, 0, 1)]
    rows += [message_row(seq, session_id) for seq in seqs]
    rows += [UserSessionRow(user_id, session_id, 1, 0, 0, MODE_WRITE) for user_id in direct_users(session_id)]
    await store.write([TaggedRow(0, row) for row in rows])


async def fill_inbox(store: MemoryStore, user_id: str, numbers: Iterable[int], first: int = 1) -> None:
    """Messages of d:alice:bob in a user's inbox, numbered as in the session, in the bucket that begins at first."""
    numbers = list(numbers)
    await fill_session(store, numbers)
    rows: list[Row] = [BucketRow(user_id, first, first, 0, 1)]
    rows += [InboxRow(user_id, first, n, "d:alice:bob", n, 1000 + n, 10_000 + n, 0, n, 10_000 + n) for n in numbers]
    await store.write([TaggedRow(0, row) for row in rows])


def stored_key(client_msg_id: str) -> KeyRow:
    """A message of alice to bob that is stored already."""
    return KeyRow("d:alice:bob", 0, 0, "alice", client_msg_id, 1, 1001, b"d" * 32, 10_001, 0, 1)
