"""The log read again from its beginning into the same tables, which any owner may have to do, changes nothing."""

import random

import pytest

from tests.simulation.scenario import Scenario, post, scenario
from tests.unit.persister.builders import uuid7
from tidings.topics import DELIVER, EXPAND, MESSAGES_INBOUND, PERSISTER, RECEIPTS, Group

GROUPS = (PERSISTER, EXPAND, DELIVER, RECEIPTS)


@pytest.mark.promise("G4")
@pytest.mark.parametrize("rewound", [(PERSISTER,), (EXPAND,), (DELIVER,), (RECEIPTS,), GROUPS])
@scenario("persister", "fanout", "receipts", sessions=2, users=2)
async def test_replay_from_the_beginning_changes_no_row(line: Scenario, rewound: tuple[Group, ...]) -> None:
    chance = random.Random(1)
    for number in range(60):
        client_msg_id = uuid7(line.clock.wall_ms(), number) if number % 3 else f"id{number % 12}"
        session_id = chance.choice(("d:alice:bob", "d:alice:carol"))
        line.publish(post(client_msg_id, session_id=session_id, segment_messages=3, bucket_rows=4))
        line.clock.jumped_ms += 30_000
        if number % 10 == 5:
            line.append(MESSAGES_INBOUND, 0, b"\xff")
            await line.settled(*GROUPS)
            line.say("bob", delivered_seq=2 + number // 20, read_seq=1)
    await line.settled(*GROUPS)
    before, acks = line.dump(), {ack.client_msg_id: ack.seq for ack in line.acks()}
    for owner in line.owners:
        owner.kill()
    for group in rewound:
        line.rewind(group)
    line.start("persister", "fanout", "receipts")
    await line.settled(*GROUPS)
    line.check()
    assert line.dump() == before
    assert {ack.client_msg_id: ack.seq for ack in line.acks()} == acks
