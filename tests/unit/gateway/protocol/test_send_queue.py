"""What a hostile client was seen to do in a review, and may not do again."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.gateway.connections.endpoint import WebSocketEndpoint
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.frames import is_too_deep
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.limits import SOCKET_PATH, SUBPROTOCOL
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.protocol.send_queue import REPEAT_AFTER_MS, Full, SendQueue, SendQueueLimits
from services.gateway.reads.inbox import InboxPage
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps

KIB = 1024


@pytest.mark.parametrize("size", [64 * KIB, 1024 * KIB])
def test_a_string_of_escapes_without_an_end_is_looked_at_once(size: int) -> None:
    """With a string that had to end, 64 KiB took 43 s. Generous, since this is about hours."""
    began = time.monotonic()
    assert is_too_deep("[" * 33 + '"' + '\\"' * (size // 2))
    assert not is_too_deep("[" * 20 + '"' + '\\"' * (size // 2) + "[" * 33)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "is_deep"),
    [
        ("[" * 33, True),
        ("[" * 32 + "]" * 32, False),
        ('["' + "[" * 40 + '"]', False),
        ('["\\"' + "[" * 40 + '"]', False),
        ('["\\\\"' + "[" * 40, True),
        ("[]" * 40, False),
    ],
)
def test_only_brackets_outside_of_strings_nest(text: str, is_deep: bool) -> None:
    assert is_too_deep(text) is is_deep


def drained(outbox: SendQueue) -> None:
    while outbox.take():
        pass


def test_a_client_that_reads_but_never_acks_is_bounded_in_bytes() -> None:
    outbox = SendQueue(SendQueueLimits(deliveries=2_000, buffered_bytes=100 * KIB))
    for inbox_seq in range(1, 11):
        outbox.deliver(inbox_seq, b"x" * 10 * KIB, 0)
        drained(outbox)
    with pytest.raises(Full):
        outbox.deliver(11, b"x" * 10 * KIB, 0)


def test_a_repeat_never_closes_a_connection_before_its_45_s() -> None:
    outbox = SendQueue(SendQueueLimits(deliveries=2_000, buffered_bytes=100 * KIB))
    for inbox_seq in range(1, 11):
        outbox.deliver(inbox_seq, b"x" * 10 * KIB, 0)
        drained(outbox)
    for at_ms in REPEAT_AFTER_MS:
        assert outbox.repeat(at_ms)
        assert outbox
        drained(outbox)
    assert not outbox.repeat(45_000)


class BrokenInbox:
    async def page(self, _user_id: str, _after: int, _limit: int) -> InboxPage:
        raise ValueError("a bug")


async def test_a_fault_of_the_gateway_closes_the_connection_with_a_code_and_the_log_says_why() -> None:
    clock = SystemClock()
    broker, sizes = MemoryBroker(), TopicSizes(1, 1, 1)
    await broker.admin().create_topics(topics.declared(sizes), 1)
    publisher = Publisher(broker.producer("g"), GatewayIdentity(0, 7), sizes, Stamps(rules=1))
    rules = ConnectionRules(lambda _token, _wall_ms: Identity("alice", 3_600_000))
    registry = ConnectionRegistry(rules, publisher, clock, "gw")
    parts: tuple[Any, ...] = (registry, None, publisher, BrokenInbox(), clock, AllowedOrigins(), 1)
    endpoint = WebSocketEndpoint(*parts)
    closed = asyncio.Event()
    said: list[MutableMapping[str, Any]] = []
    lines = ['{"type":"hello","token":"t","device_id":"d"}', '{"type":"sync","after":0}']
    events: list[MutableMapping[str, Any]] = [{"type": "websocket.connect"}]
    events += [{"type": "websocket.receive", "text": line} for line in lines]

    async def receive() -> MutableMapping[str, Any]:
        if events:
            return events.pop(0)
        await asyncio.wait_for(closed.wait(), 10)
        return {"type": "websocket.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.append(message)
        if message["type"] == "websocket.close":
            closed.set()

    with capture_logs() as logs:
        await endpoint({"path": SOCKET_PATH, "headers": [], "subprotocols": [SUBPROTOCOL]}, receive, send)
    assert said[-1]["code"] == 4503
    assert [(one["user_id"], one["code"]) for one in logs if one["event"] == "connection closed"] == [("alice", 4503)]
    assert len(registry) == 0
    await publisher.flush(1)
