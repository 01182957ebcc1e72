"""The log read again from its beginning into the same tables, which any owner may have to do, changes nothing."""

import random

import pytest

from tests.simulation.virtual_time import simulated
from tests.unit.hazards.checking import check
from tests.unit.hazards.pipeline import pipeline, post
from tests.unit.persister.builders import uuid7
from tidings.topics import DELIVER, EXPAND, MESSAGES_INBOUND, PERSISTER, RECEIPTS, Group

GROUPS = (PERSISTER, EXPAND, DELIVER, RECEIPTS)


@pytest.mark.promise("G4")
@pytest.mark.parametrize("rewound", [(PERSISTER,), (EXPAND,), (DELIVER,), (RECEIPTS,), GROUPS])
@simulated
async def test_a_replay_from_the_beginning_changes_no_row(rewound: tuple[Group, ...]) -> None:
    chance = random.Random(1)
    async with pipeline(sessions=2, users=2) as line:
        line.everybody()
        line.receipts()
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
        line.everybody()
        line.receipts()
        await line.settled(*GROUPS)
        check(line)
        assert line.dump() == before
        assert {ack.client_msg_id: ack.seq for ack in line.acks()} == acks
