"""Acks of read diffusion end at the gateway: there are very many, and nobody keeps `delivered` there."""

import json
from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest

from services.gateway.connections.endpoint import WebSocketEndpoint
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.limits import SOCKET_PATH, SUBPROTOCOL
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from services.gateway.submit.watermarks import WatermarkMoves
from tests.contract.store.making import write_confirmed
from tests.unit.gateway.large_groups.test_tracker import (
    GROUP,
    READ,
    WRITE,
    crossing,
    group_row,
    learned,
    member_row,
    push,
)
from tidings import topics
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.codec import decode_receipt
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_WRITE
from tidings.topics import RECEIPTS_INBOUND, TopicSizes
from tidings.wire.common_pb2 import Stamps

Frame = dict[str, Any]
Place = tuple[int, int]


def delivered(*seqs: int) -> Frame:
    return {"type": "ack", "delivered": [{"session_id": GROUP, "seq": seq} for seq in seqs]}


def read(seq: int) -> Frame:
    return {"type": "read", "session_id": GROUP, "seq": seq}


async def published_of(frames: Sequence[Frame], *before: Any) -> set[Place]:
    """What of Ann's frames goes to the log, as (delivered, read), when these pushes have come before them."""
    sizes, clock, broker, store = TopicSizes(1, 1, 1), SystemClock(), MemoryBroker(), MemoryStore()
    await broker.admin().create_topics(topics.declared(sizes), 1)
    group, ann = group_row(9), member_row("ann", 5, 5)
    await write_confirmed(store, [group, ann])
    publisher = Publisher(broker.producer("g"), GatewayIdentity(0, 7), sizes, Stamps(rules=1))
    registry = ConnectionRegistry(
        ConnectionRules(lambda _token, _wall_ms: Identity("ann", 3_600_000)), publisher, clock, "gw"
    )
    memberships = Memberships(store)
    sessions = SessionReads(store, MessageReads(store, clock, 0), memberships, known_heads=registry.known_heads)
    for session_id, head_seq in ((GROUP, 12), ("d:ann:bob", 3)):
        registry.known_heads.see(session_id, head_seq)
    moves = WatermarkMoves(publisher, memberships, sessions, clock)
    parts: tuple[Any, ...] = (registry, None, moves, None, clock, AllowedOrigins(), 1)
    texts = [json.dumps(frame) for frame in ({"type": "hello", "token": "t", "device_id": "d"}, *frames)]
    events: list[MutableMapping[str, Any]] = [{"type": "websocket.connect"}]
    events += [{"type": "websocket.receive", "text": text} for text in texts]
    said: list[Frame] = []

    async def receive() -> MutableMapping[str, Any]:
        # As soon as she has signed in the gateway learns of her group, and the pushes come.
        if registry.group_tracker.generation("ann") and not registry.group_tracker.tracked_sessions("ann"):
            registry.group_tracker.apply_versions(registry.group_tracker.generation("ann"), [(group, ann)], {GROUP: 9})
            for pushed in before:
                registry.group_tracker.apply_push(pushed)
        return events.pop(0) if events else {"type": "websocket.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        said.extend(json.loads(line) for line in message.get("text", "").split("\n") if line)

    endpoint = WebSocketEndpoint(*parts)
    await endpoint({"path": SOCKET_PATH, "headers": [], "subprotocols": [SUBPROTOCOL]}, receive, send)
    await endpoint.claims.settled(1)
    await publisher.flush(1)
    assert not [frame for frame in said if frame["type"] == "error"]
    receipts = [decode_receipt(record.value) for record in broker.records(RECEIPTS_INBOUND)]
    return {(receipt.delivered_seq, receipt.read_seq) for receipt in receipts}


async def test_an_ack_of_what_came_in_line_is_not_published() -> None:
    assert await published_of([delivered(10), delivered(11)], push(10), push(11)) == set()


async def test_a_read_is_published_and_so_is_an_ack_of_what_did_not_come_in_line() -> None:
    assert await published_of([read(10)], push(10), push(11)) == {(10, 10)}
    assert await published_of([delivered(9)], push(10)) == {(9, 0)}
    assert await published_of([delivered(12)], push(10), push(11)) == {(12, 0)}


async def test_each_session_of_an_ack_is_judged_alone() -> None:
    both = delivered(10)
    both["delivered"].append({"session_id": "d:ann:bob", "seq": 3})
    assert await published_of([both], push(10)) == {(3, 0)}


async def test_back_in_write_diffusion_every_ack_is_published() -> None:
    assert await published_of([delivered(10)], push(10), crossing(11, WRITE)) == {(10, 0)}
    assert await published_of([delivered(11)], push(10), crossing(11, WRITE)) == {(11, 0)}


# -- who is judged -----------------------------------------------------------------------------------


def kept_by_nobody(groups: GroupTracker, *seqs: int) -> list[bool]:
    return [groups.is_delivered_ignored("ann", GROUP, seq) for seq in seqs]


def test_only_what_came_without_a_gap_while_one_was_in_is_kept_by_nobody() -> None:
    groups = learned("ann", "bob")
    assert kept_by_nobody(groups, 9, 10) == [False, False]
    groups.apply_push(push(10))
    assert kept_by_nobody(groups, 9, 10, 11) == [False, True, False]
    groups.apply_push(push(12))
    assert kept_by_nobody(groups, 10, 12) == [False, False]


@pytest.mark.parametrize("ends", [push(11, left=("ann",)), push(11, "ann", left=("ann",))])
def test_who_has_left_is_refused_as_before(ends: Any) -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(10))
    groups.apply_push(ends)
    assert kept_by_nobody(groups, 10) == [False]


def test_nothing_is_known_of_strangers_and_of_those_who_are_not_connected() -> None:
    groups = learned("bob")
    groups.apply_push(push(10))
    assert kept_by_nobody(groups, 10) == [False]


def test_the_crossing_to_read_diffusion_is_kept_by_nobody_and_what_lies_before_it_is() -> None:
    groups = GroupTracker()
    groups.add_user("ann")
    groups.apply_versions(
        groups.generation("ann"), [(group_row(9, mode=MODE_WRITE), member_row("ann", 5, 5))], {GROUP: 9}
    )
    begins = crossing(10, READ)
    begins.member_ids.append("ann")
    groups.apply_push(begins)
    groups.apply_push(push(11))
    assert kept_by_nobody(groups, 9, 10, 11) == [False, True, True]
