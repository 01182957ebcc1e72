"""The parts of one gateway over a log and tables in memory, wired by the product's own build functions."""

import asyncio
import json
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.gateway.connections.build import Connections, SocketRules, build_connections
from services.gateway.connections.link import Link
from services.gateway.media.build import Media, MediaRules, build_media
from services.gateway.media.uploads import UploadRules
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.limits import SOCKET_PATH, SUBPROTOCOL
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.push.build import build_push
from services.gateway.push.router import PushRouter
from services.gateway.reads.build import Reads, build_reads
from services.gateway.submit.build import Submit, SubmitRules, build_submit
from services.gateway.submit.publisher import GatewayIdentity
from tests.faults.media import FaultyMediaStore
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.clock import Clock, SystemClock
from tidings.codec import decode_receipt
from tidings.store.memory import MemoryStore
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps
from tidings.wire.push_pb2 import Push
from tidings.wire.receipts_pb2 import Receipt

SIZES = TopicSizes(1, 1, 1)
IDENTITY = GatewayIdentity(0, 7)
MEDIA_RULES = MediaRules(UploadRules(b"k" * 32, image_bytes=100_000, file_bytes=200_000, user_bytes_per_day=1_000_000))
Event = MutableMapping[str, Any]


def identity_of(token: str, _wall_ms: int) -> Identity:
    """The token is the user id."""
    return Identity(token, 3_600_000)


def hello(user_id: str) -> str:
    """The frame of a sign-in."""
    return json.dumps({"type": "hello", "token": user_id, "device_id": "d"})


@dataclass
class Parts:
    """One gateway. `sent`: the texts that connections of `sign_in` were sent."""

    broker: MemoryBroker
    store: MemoryStore
    clock: Clock
    reads: Reads
    submit: Submit
    media: Media
    connections: Connections
    router: PushRouter
    sent: list[str] = field(default_factory=list)

    def sign_in(self, user_id: str) -> Link:
        """One more connection of the user's only device."""
        link = self.connections.registry.open(self.keep)
        link.connection.received(hello(user_id), self.clock.monotonic_ms(), self.clock.wall_ms())
        self.connections.registry.sign_in(link)
        return link

    def sent_of(self, kind: str) -> list[dict[str, Any]]:
        """The frames of a type that connections were sent."""
        frames = [json.loads(line) for text in self.sent for line in text.split("\n")]
        return [frame for frame in frames if frame["type"] == kind]

    def push(self, **content: Any) -> None:
        """A record of the push partition."""
        self.router.take(Push(gateway_epoch=IDENTITY.epoch, **content).SerializeToString())

    def receipts(self) -> list[Receipt]:
        """The receipts on the log."""
        return [decode_receipt(record.value) for record in self.broker.records(topics.RECEIPTS_INBOUND)]

    async def converse(
        self, *texts: str, is_closed: bool = False, before: Callable[[], None] = lambda: None, **scope: Any
    ) -> Sequence[Event]:
        """What the endpoint sends to a client that sends these texts.

        `is_closed`: the gateway ends the connection, otherwise the client leaves. `before` is called before each text.
        """
        events: list[Event] = [{"type": "websocket.connect"}]
        events += [{"type": "websocket.receive", "text": text} for text in texts]
        said: list[Event] = []
        closed = asyncio.Event()

        async def receive() -> Event:
            before()
            if events:
                return events.pop(0)
            if is_closed:
                await asyncio.wait_for(closed.wait(), 10)
            return {"type": "websocket.disconnect"}

        async def send(event: Event) -> None:
            said.append(event)
            if event["type"] == "websocket.close":
                closed.set()

        handshake = {"path": SOCKET_PATH, "headers": [], "subprotocols": [SUBPROTOCOL], **scope}
        await self.connections.endpoint(handshake, receive, send)
        await self.connections.endpoint.claims.settled(1)
        return said

    async def keep(self, event: Event) -> None:
        """What a connection is sent goes into `sent`."""
        self.sent.append(event.get("text", ""))


async def parts(store: MemoryStore | None = None, clock: Clock | None = None, *, pending_calls: int = 10) -> Parts:
    """A gateway with nothing behind it: its commands are answered by no persister."""
    broker, store, clock = MemoryBroker(), store or MemoryStore(), clock or SystemClock()
    await broker.admin().create_topics(topics.declared(SIZES), 1)
    reads = build_reads(store, clock)
    rules = SubmitRules(SIZES, Stamps(rules=1), messages_per_s=1_000, burst=1_000, pending_calls=pending_calls)
    submit = build_submit(broker.producer("g"), IDENTITY, reads, store, clock, rules)
    sockets = SocketRules(f"{IDENTITY.ordinal}-{IDENTITY.epoch}", AllowedOrigins(), max_connections=100)
    media = build_media(store, FaultyMediaStore(), clock, MEDIA_RULES)
    connections = build_connections(reads, submit, store, clock, ConnectionRules(identity_of), sockets)
    router = build_push(connections, submit, reads, IDENTITY.epoch, clock)
    return Parts(broker, store, clock, reads, submit, media, connections, router)
