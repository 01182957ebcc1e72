"""Gateways and the real services behind them over one log and tables in memory: calls as a client makes them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from services.fanout import service as fanout
from services.fanout.settings import FanoutSettings
from services.gateway import service as gateway
from services.gateway.settings import GatewaySettings, HttpSettings, TokenSettings
from services.persister import service as persister
from services.persister.settings import PersisterSettings
from services.receipts import service as receipts
from services.receipts.settings import ReceiptsSettings
from tests.faults.store import FaultyStore
from tests.unit.gateway.documented import Document
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.runtime.health import Health
from tidings.runtime.initialise import initialise
from tidings.runtime.settings import KafkaSettings, LimitSettings, ProcessSettings

KAFKA = KafkaSettings(session_partitions=2, user_partitions=2, push_partitions=2)
PATIENCE_S = 60.0


@dataclass
class Connected:
    """A signed-in connection that keeps every frame it got."""

    socket: ClientConnection
    frames: list[dict[str, Any]] = field(default_factory=list)
    taken: int = 0

    async def until(self, kind: str) -> dict[str, Any]:
        """The next frame of this type; what stands before it is passed over."""
        while True:
            while self.taken < len(self.frames):
                frame = self.frames[self.taken]
                self.taken += 1
                if frame["type"] == kind:
                    return frame
            self.frames += [json.loads(line) for line in str(await self.socket.recv()).split("\n")]

    def seqs(self, session_id: str) -> list[int]:
        """The seqs of a session's messages, in the order in which they came by read diffusion."""
        messages = [frame for frame in self.frames if frame["type"] == "message" and frame["inbox_seq"] is None]
        return [frame["message"]["seq"] for frame in messages if frame["message"]["session_id"] == session_id]


@dataclass
class Deployment:
    """Gateways by URL, and what is behind them."""

    broker: MemoryBroker
    store: FaultyStore
    urls: list[str]
    clients: dict[tuple[str, int], httpx2.AsyncClient] = field(default_factory=dict)
    document: Document | None = None

    async def client(self, user_id: str, number: int = 0) -> httpx2.AsyncClient:
        """A REST client of a user at a gateway."""
        client = self.clients.get((user_id, number))
        if client is None:
            # Certificates, which no URL here asks for, would take 40 ms to load.
            client = httpx2.AsyncClient(base_url=self.urls[number], timeout=PATIENCE_S, verify=False)
            self.clients[user_id, number] = client
            token = (await client.post("/v1/tokens", json={"user_id": user_id})).json()["token"]
            client.headers["Authorization"] = f"Bearer {token}"
        return client

    async def call(self, user_id: str, method: str, path: str, body: Any = None, *, at: int = 0) -> tuple[int, Any]:
        """Status and JSON of one call, whose answer is held against /openapi.json."""
        options = {} if body is None else {"json": body}
        client = await self.client(user_id, at)
        response = await client.request(method, path, **options)
        if self.document is None:
            self.document = Document.of((await client.get("/openapi.json")).json())
        if path.startswith("/v1/"):
            self.document.check(method, path, response)
        return response.status_code, response.json() if response.content else None

    async def answers(self, user_id: str, *frames: dict[str, Any]) -> list[dict[str, Any]]:
        """What a connection of the user is answered to each frame, in the order of the frames' refs."""
        token = (await (await self.client(user_id)).post("/v1/tokens", json={"user_id": user_id})).json()["token"]
        url = self.urls[0].replace("http:", "ws:") + "/v1/ws"
        found: dict[str, dict[str, Any]] = {}
        async with connect(url, subprotocols=[Subprotocol("tidings.v1.json")]) as socket:
            await socket.send(json.dumps({"type": "hello", "token": token, "device_id": "phone"}))
            await socket.send("\n".join(json.dumps({**frame, "ref": str(at)}) for at, frame in enumerate(frames)))
            while len(found) < len(frames):
                lines = [json.loads(line) for line in str(await socket.recv()).split("\n")]
                found |= {line["ref"]: line for line in lines if "ref" in line}
        return [found[str(at)] for at in range(len(frames))]

    @contextlib.asynccontextmanager
    async def connected(self, user_id: str) -> AsyncIterator[Connected]:
        """A connection of the user while the block runs."""
        token = (await (await self.client(user_id)).post("/v1/tokens", json={"user_id": user_id})).json()["token"]
        url = self.urls[0].replace("http:", "ws:") + "/v1/ws"
        async with connect(url, subprotocols=[Subprotocol("tidings.v1.json")]) as socket:
            await socket.send(json.dumps({"type": "hello", "token": token, "device_id": "phone"}))
            yield Connected(socket)

    async def group(self, owner: str, *members: str, **fields: Any) -> str:
        """The session id of a new group."""
        body = {"client_msg_id": f"make {len(self.messages)}", "name": "Team", "members": members, **fields}
        status, created = await self.call(owner, "POST", "/v1/groups", body)
        assert status == 201, created
        return str(created["session_id"])

    @property
    def messages(self) -> list[Any]:
        """All stored messages."""
        return self.store.rows("messages")


@contextlib.asynccontextmanager
async def deployed(
    tmp_path: Path,
    gateways: int = 1,
    limits: LimitSettings | None = None,
    *,
    has_receipts: bool = True,
    **http: Any,
) -> AsyncIterator[Deployment]:
    """Run everything while the block runs."""
    broker, store, stopping = MemoryBroker(), FaultyStore(SystemClock()), asyncio.Event()
    await initialise(broker.admin(), KAFKA.sizes(), 1)
    process = ProcessSettings(development=True)
    ports: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in range(gateways)]
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        written, spread = PersisterSettings(process=process, kafka=KAFKA), FanoutSettings(process=process, kafka=KAFKA)
        group.create_task(persister.serve(written, broker, store, Health(), stopping))
        group.create_task(fanout.serve(spread, broker, store, Health(), stopping))
        if has_receipts:
            marked = ReceiptsSettings(process=process, kafka=KAFKA)
            group.create_task(receipts.serve(marked, broker, store, Health(), stopping))
        for ordinal, port in enumerate(ports):
            chosen = GatewaySettings(
                process=ProcessSettings(development=True, ordinal=ordinal),
                http=HttpSettings(http_port=0, drain_s=0.1, **http),
                tokens=TokenSettings(dev_key_file=str(tmp_path / "dev.key")),
                kafka=KAFKA,
                limits=limits or LimitSettings(),
            )
            group.create_task(gateway.serve(chosen, broker, store, Health(), stopping, port.set_result))
        deployment = Deployment(broker, store, [f"http://127.0.0.1:{await port}" for port in ports])
        try:
            yield deployment
        finally:
            for client in deployment.clients.values():
                await client.aclose()
            stopping.set()
