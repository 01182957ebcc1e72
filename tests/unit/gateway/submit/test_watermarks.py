"""Acks of read diffusion end at the gateway: there are very many, and no table keeps `delivered` there."""

import json
from collections.abc import Sequence
from typing import Any

from tests.builders import write_confirmed
from tests.unit.gateway.large_groups.pushes import GROUP, WRITE, crossing, group_row, member_row, push
from tests.unit.gateway.parts import hello, parts

Frame = dict[str, Any]
Place = tuple[int, int]


def delivered(*seqs: int) -> Frame:
    return {"type": "ack", "delivered": [{"session_id": GROUP, "seq": seq} for seq in seqs]}


def read(seq: int) -> Frame:
    return {"type": "read", "session_id": GROUP, "seq": seq}


async def published_of(frames: Sequence[Frame], *before: Any) -> set[Place]:
    """What of Ann's frames goes to the log, as (delivered, read), when these pushes have come before them."""
    gateway, group, ann = await parts(), group_row(9), member_row("ann", 5, 5)
    await write_confirmed(gateway.store, [group, ann])
    tracker = gateway.connections.registry.group_tracker
    for session_id, head_seq in ((GROUP, 12), ("d:ann:bob", 3)):
        gateway.reads.known_heads.see(session_id, head_seq)

    def learn() -> None:
        # As soon as she has signed in the gateway learns of her group, and the pushes come.
        if tracker.generation("ann") and not tracker.tracked_sessions("ann"):
            tracker.apply_versions(tracker.generation("ann"), [(group, ann)], {GROUP: 9})
            for pushed in before:
                tracker.apply_push(pushed)

    said = await gateway.converse(hello("ann"), *map(json.dumps, frames), before=learn)
    await gateway.submit.publisher.flush(1)
    answers = [json.loads(line) for event in said for line in event.get("text", "").split("\n") if line]
    assert not [frame for frame in answers if frame["type"] == "error"]
    return {(receipt.delivered_seq, receipt.read_seq) for receipt in gateway.receipts()}


async def test_ack_of_a_pushed_group_message_is_not_published() -> None:
    assert await published_of([delivered(10), delivered(11)], push(10), push(11)) == set()


async def test_a_read_and_an_ack_of_other_messages_are_published() -> None:
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
