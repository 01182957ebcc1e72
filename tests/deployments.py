"""Gateways, alone or with the services behind them, over one log and tables in memory, as clients and as the log."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from deploy.local.embedded import WORKERS, Gateway, Services, embedded
from services.gateway.settings import GatewaySettings, HttpSettings, TokenSettings
from tests.faults.broker import FaultyBroker
from tests.faults.media import FaultyMediaStore
from tests.faults.store import FaultyStore
from tests.sockets import PATIENCE_S, Frame, Socket, opened
from tests.unit.gateway.documented import Document
from tidings import topics
from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.clock import SystemClock
from tidings.media.base import MediaStore
from tidings.runtime.health import Health
from tidings.runtime.settings import KafkaSettings, LimitSettings, ProcessSettings
from tidings.wire.inbound_pb2 import Command
from tidings.wire.push_pb2 import Push, SendAck

KAFKA = KafkaSettings(session_partitions=2, user_partitions=2, push_partitions=2)


def settings(tmp_path: Path, ordinal: int = 0, limits: LimitSettings | None = None, **http: Any) -> GatewaySettings:
    """Development mode, a free port, a short drain."""
    return GatewaySettings(
        process=ProcessSettings(development=True, ordinal=ordinal),
        http=HttpSettings(**{"http_port": 0, "drain_s": 0.1, "media_hosts": "media.example", **http}),
        tokens=TokenSettings(dev_key_file=str(tmp_path / "dev.key")),
        kafka=KAFKA,
        limits=limits or LimitSettings(),
    )


@dataclass
class Deployment:
    """Gateways and what is behind them. What names no gateway is about the first one."""

    broker: FaultyBroker
    store: FaultyStore
    objects: FaultyMediaStore
    gateways: list[Gateway]
    health: Health
    stopping: asyncio.Event
    clients: dict[tuple[str, int], httpx2.AsyncClient] = field(default_factory=dict)
    document: Document | None = None
    positions: dict[TopicPartition, int] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        """Of all gateways."""
        return [gateway.url for gateway in self.gateways]

    @property
    def url(self) -> str:
        """Of the public port."""
        return self.gateways[0].url

    @property
    def port(self) -> int:
        """The public port."""
        return self.gateways[0].port

    @property
    def task(self) -> asyncio.Task[None]:
        """Ends with the gateway."""
        return self.gateways[0].task

    # -- as a client -------------------------------------------------------------------------------

    async def client(self, user_id: str, number: int = 0) -> httpx2.AsyncClient:
        """A REST client of a user at a gateway."""
        client = self.clients.get((user_id, number))
        if client is None:
            # Certificates, which no URL here asks for, would take 40 ms to load.
            client = httpx2.AsyncClient(base_url=self.urls[number], timeout=PATIENCE_S, verify=False)
            self.clients[user_id, number] = client
            client.headers["Authorization"] = f"Bearer {await self.token(user_id, client)}"
        return client

    async def token(self, user_id: str, client: httpx2.AsyncClient | None = None) -> str:
        """A development token."""
        client = client or await self.client(user_id)
        return str((await client.post("/v1/tokens", json={"user_id": user_id})).json()["token"])

    @contextlib.asynccontextmanager
    async def rest(self, user_id: str) -> AsyncIterator[httpx2.AsyncClient]:
        """A REST client of a user."""
        yield await self.client(user_id)

    async def bytes(
        self, user_id: str, method: str, path: str, content: bytes | None = None, **headers: str
    ) -> httpx2.Response:
        """One call that takes or gives bytes, whose answer is held against /openapi.json."""
        client = await self.client(user_id)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await client.request(method, path, content=content, headers=named)
        await self._hold(client, method, path, response)
        return response

    async def call(self, user_id: str, method: str, path: str, body: Any = None, *, at: int = 0) -> tuple[int, Any]:
        """Status and JSON of one call, whose answer is held against /openapi.json."""
        options = {} if body is None else {"json": body}
        client = await self.client(user_id, at)
        response = await client.request(method, path, **options)
        await self._hold(client, method, path, response)
        return response.status_code, response.json() if response.content else None

    async def _hold(self, client: httpx2.AsyncClient, method: str, path: str, response: httpx2.Response) -> None:
        if self.document is None:
            self.document = Document.of((await client.get("/openapi.json")).json())
        if path.startswith("/v1/"):
            self.document.check(method, path, response)

    async def group(self, owner: str, *members: str, **fields: Any) -> str:
        """The session id of a new group."""
        body = {"client_msg_id": f"make {len(self.messages)}", "name": "Team", "members": members, **fields}
        status, created = await self.call(owner, "POST", "/v1/groups", body)
        assert status == 201, created
        return str(created["session_id"])

    @contextlib.asynccontextmanager
    async def socket(self, **options: Any) -> AsyncIterator[Socket]:
        """An open WebSocket, not signed in."""
        async with opened(self.url, **options) as socket:
            yield socket

    @contextlib.asynccontextmanager
    async def signed_in(self, user_id: str, device_id: str = "phone") -> AsyncIterator[Socket]:
        """A signed-in WebSocket."""
        async with self.socket() as socket:
            await socket.sign_in(await self.token(user_id), device_id)
            yield socket

    async def answers(self, user_id: str, *frames: Frame) -> list[Frame]:
        """What a connection of the user is answered to each frame, in the order of the frames' refs."""
        found: dict[str, Frame] = {}
        async with self.signed_in(user_id) as socket:
            await socket.send(*({**frame, "ref": str(at)} for at, frame in enumerate(frames)))
            while len(found) < len(frames):
                answer = await socket.next()
                found |= {answer["ref"]: answer} if "ref" in answer else {}
        return [found[str(at)] for at in range(len(frames))]

    # -- as the log and the stages behind it -------------------------------------------------------

    @property
    def messages(self) -> list[Any]:
        """All stored messages."""
        return self.store.rows("messages")

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
        await producer.produce(topics.PUSH, 0, [NewRecord(push.SerializeToString()) for push in pushes])

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


@contextlib.asynccontextmanager
async def deployed(
    tmp_path: Path,
    gateways: int = 1,
    limits: LimitSettings | None = None,
    *,
    has_receipts: bool = True,
    patience_s: float = PATIENCE_S,
    **http: Any,
) -> AsyncIterator[Deployment]:
    """Gateways and the services behind them while the block runs."""
    chosen = [settings(tmp_path, ordinal, limits, **http) for ordinal in range(gateways)]
    workers = [name for name in WORKERS if has_receipts or name != "receipts"]
    store = FaultyStore(SystemClock())
    async with running(*chosen, store=store, workers=workers, patience_s=patience_s) as deployment:
        yield deployment


@contextlib.asynccontextmanager
async def running(
    *chosen: GatewaySettings,
    broker: FaultyBroker | None = None,
    store: FaultyStore | None = None,
    objects: MediaStore | None = None,
    workers: Collection[str] = (),
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Deployment]:
    """Gateways while the block runs, without workers alone: the test plays the stages behind the log.

    With other `objects` than those in memory, the deployment's own stay empty.
    """
    broker, store, health, stopping = broker or FaultyBroker(), store or FaultyStore(), Health(), asyncio.Event()
    faulty = FaultyMediaStore(SystemClock(), signs=True)
    services = Services(broker, store, objects or faulty, chosen, workers, KAFKA, ProcessSettings(development=True))
    async with asyncio.timeout(patience_s), embedded(services, health, stopping) as gateways:
        deployment = Deployment(broker, store, faulty, list(gateways), health, stopping)
        try:
            yield deployment
        finally:
            for client in deployment.clients.values():
                await client.aclose()
