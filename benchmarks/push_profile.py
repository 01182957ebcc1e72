"""`python -m benchmarks.push_profile`: the cost of one push record to 1,000 connections in a gateway, by function.

It needs no server and no socket. It runs the registry, router and connections of one gateway under cProfile, with
records as fanout writes them. The result shows that a message is encoded once per push record, for any number of
receivers.
"""

import asyncio
import cProfile
import json
import pstats
import time
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.push.router import PushRouter
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.session_order import SessionOrders
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.pending_calls import PendingCalls
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_READ, ROLE_MEMBER, GroupRow, MemberRow
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Kind, Message, Mode, Stamps
from tidings.wire.push_pb2 import Push, PushedMessage

RESULTS = Path(__file__).parent / "results"
RECEIVERS, RECORDS, BODY_CHARACTERS = 1_000, 50, 512
GROUP, EPOCH = "g:profile", 7
USERS = [f"u{number:05d}" for number in range(RECEIVERS)]
# The functions that encode a message, and those that pass the bytes to a connection.
ENCODING = {
    "message to JSON": "messages_json.of_record",
    "frame around it": "frames.encode_delivery",
    "frame to connection, read diffusion": "connection.push",
    "frame to connection, write diffusion": "connection.deliver",
}


def main() -> None:
    """Profile read and write diffusion, and print the number of calls."""
    results = {"receivers": RECEIVERS, "records": RECORDS} | asyncio.run(profiled())
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "push_profile.json").write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


async def profiled() -> dict[str, Any]:
    """By diffusion mode: calls of the encoding functions per record, and CPU per receiver until the frame is queued."""
    ways: dict[str, Callable[[int], Push]] = {"read": read_push, "write": write_push}
    results = {}
    for name, made in ways.items():
        records = [made(seq).SerializeToString() for seq in range(2, 2 + 2 * RECORDS)]
        router = await gateway()
        calls = await calls_of(router, records[:RECORDS])
        began = time.process_time()
        for record in records[RECORDS:]:
            router.take(record)
        took_s = time.process_time() - began
        await asyncio.sleep(0)
        results[name] = {
            "calls_per_record": {what: calls.get(function, 0) / RECORDS for what, function in ENCODING.items()},
            "us_cpu_per_receiver_to_queue": round(took_s / RECORDS / RECEIVERS * 1e6, 2),
        }
    return results


async def calls_of(router: PushRouter, records: list[bytes]) -> Mapping[str, int]:
    """The number of calls of each function of the gateway while these records are routed."""
    profile = cProfile.Profile()
    profile.enable()
    for record in records:
        router.take(record)
    profile.disable()
    await asyncio.sleep(0)
    entries = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return {
        f"{Path(path).stem}.{name}": counts[1]
        for (path, _, name), counts in entries.items()
        if "services/gateway" in path
    }


async def gateway() -> PushRouter:
    """A router with RECEIVERS signed-in connections, all members of one group in read diffusion."""
    clock, store, broker = SystemClock(), MemoryStore(), MemoryBroker()
    sizes = TopicSizes(1, 1, 1)
    await broker.admin().create_topics(topics.declared(sizes), 1)
    publisher = Publisher(broker.producer("profile"), GatewayIdentity(0, EPOCH), sizes, Stamps(rules=1))
    registry = ConnectionRegistry(
        ConnectionRules(lambda token, _now_ms: Identity(token, 3_600_000)), publisher, clock, "profile"
    )
    memberships = Memberships(store)
    sessions = SessionReads(store, MessageReads(store, clock, 0), memberships)
    lives = LiveAnswers(registry, store, memberships, sessions, clock)
    group = GroupRow(GROUP, 1, "Profile", USERS[0], MODE_READ, RECEIVERS, "{}", 0, 1)
    for user_id in USERS:
        link = registry.open(taken)
        hello = {"type": "hello", "token": user_id, "device_id": "phone"}
        link.connection.received(json.dumps(hello), clock.monotonic_ms(), clock.wall_ms())
        registry.sign_in(link)
        member = MemberRow(GROUP, user_id, 1, 1, 0, 0, ROLE_MEMBER, 0, 0, 1)
        registry.group_tracker.apply_versions(registry.group_tracker.generation(user_id), [(group, member)], {GROUP: 1})
        registry.settle(link)
    await asyncio.sleep(0)
    return PushRouter(registry, PendingCalls(1), AckLatency(), lives, SessionOrders(), EPOCH, clock)


async def taken(_event: MutableMapping[str, Any]) -> None:
    """Replaces a socket that accepts everything at once."""


def read_push(seq: int) -> Push:
    """A push as expand writes it: one for all members at the gateway."""
    return Push(gateway_epoch=EPOCH, message=PushedMessage(message=message(seq), mode=Mode.MODE_READ))


def write_push(seq: int) -> Push:
    """A push as deliver writes it, with users and their inbox_seqs."""
    pushed = PushedMessage(message=message(seq), mode=Mode.MODE_WRITE, user_ids=USERS, inbox_seqs=[seq] * RECEIVERS)
    return Push(gateway_epoch=EPOCH, message=pushed)


def message(seq: int) -> Message:
    """A message with a text of a realistic size."""
    body = json.dumps({"text": "x" * BODY_CHARACTERS}).encode()
    return Message(
        message_id=seq, session_id=GROUP, seq=seq, sender_id=USERS[0], client_msg_id=f"m{seq}", at_ms=seq, body=body,
        kind=Kind.KIND_TEXT,
    )  # fmt: skip


if __name__ == "__main__":
    main()
