"""Records that nobody can read: before the ack they go aside, after it they stop their partition (law 9, H19, H32)."""

import pytest
from structlog.testing import capture_logs

from tests.faults.drawn import LogFaults, ProduceFault
from tests.simulation.virtual_time import simulated
from tests.unit.hazards.checking import check
from tests.unit.hazards.pipeline import Pipeline, pipeline, post
from tests.unit.hazards.test_persister_hazards import stopped
from tidings import ids
from tidings.store.rows import InboxRow, ReceiptRow
from tidings.topics import (
    DEAD_LETTERS,
    DELIVERIES,
    EXPAND,
    MESSAGES_INBOUND,
    MESSAGES_PERSISTED,
    PERSISTER,
    RECEIPTS,
    RECEIPTS_INBOUND,
)
from tidings.wire.dead_letters_pb2 import DeadLetter

POISON = b"\xff\xff poison"


def letters(line: Pipeline) -> list[tuple[str, int, bytes]]:
    found = [DeadLetter.FromString(record.value or b"") for record in line.records(DEAD_LETTERS)]
    assert all(letter.reason for letter in found)
    return [(letter.topic, letter.offset, letter.value) for letter in found]


@pytest.mark.bad_input("B2")
@simulated
async def test_poison_among_commands_goes_aside_once_and_costs_no_seq() -> None:
    async with pipeline() as line:
        line.everybody()
        line.publish(post("m1"))
        line.append(MESSAGES_INBOUND, 0, POISON)
        line.append(MESSAGES_INBOUND, 0, b"")
        line.publish(post("m2"))
        await line.settled()
        check(line)
        assert [ack.seq for ack in line.acks()] == [1, 2]
        assert letters(line) == [(MESSAGES_INBOUND, 1, POISON), (MESSAGES_INBOUND, 2, b"")]


@pytest.mark.bad_input("B2")
@simulated
async def test_poison_of_a_round_that_is_repeated_is_recognisable_by_its_key() -> None:
    """At least once, as everything on the log; the key says which letters are the same one."""
    faults = LogFaults()
    async with pipeline(log_faults=faults) as line:
        line.append(MESSAGES_INBOUND, 0, POISON)
        faults.script_produce(ProduceFault.UNCONFIRMED)
        line.persister()
        await line.settled(PERSISTER)
        assert {record.key for record in line.records(DEAD_LETTERS)} == {b"messages.inbound/0/0/0"}


@pytest.mark.bad_input("B2")
@simulated
async def test_poison_among_receipts_goes_aside_once_and_its_neighbours_count() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        line.publish(post("m1"), post("m2"))
        await line.settled(PERSISTER, RECEIPTS)
        line.say("bob", delivered_seq=1)
        line.append(RECEIPTS_INBOUND, 0, POISON)
        line.say("mallory", delivered_seq=2)
        line.say("bob", delivered_seq=2)
        await line.settled(RECEIPTS)
        assert [(topic, offset) for topic, offset, _ in letters(line)] == [(RECEIPTS_INBOUND, 1), (RECEIPTS_INBOUND, 2)]
        rows = [row for row in line.store.rows("receipts") if isinstance(row, ReceiptRow)]
        assert [row.delivered_seq for row in rows if row.user_id == "bob"] == [2]
        assert {row.user_id for row in rows} == {"alice", "bob"}


@pytest.mark.hazard("H19")
@pytest.mark.parametrize(
    ("topic", "stage"), [(MESSAGES_PERSISTED, "expand"), (MESSAGES_PERSISTED, "receipts"), (DELIVERIES, "deliver")]
)
@simulated
async def test_h19_a_record_behind_the_ack_that_nobody_can_read_stops_its_partition_alone(
    topic: str, stage: str
) -> None:
    async with pipeline(sessions=2, users=2) as line:
        here, elsewhere = _notes(0), _notes(1)
        line.append(topic, 0, POISON)
        line.everybody()
        line.receipts()
        with capture_logs() as logs:
            line.publish(post("m1", "x", here.split(":")[1], here), post("m2", "x", elsewhere.split(":")[1], elsewhere))
            await line.settled(PERSISTER)
            await line.until(lambda: stopped(stage) == 1)
        told = next(entry for entry in logs if entry["event"] == "partition stopped" and topic in entry["partition"])
        assert "OPERATIONS" in told["action"]
        assert "offset 0" in told["reason"]
        if stage != "receipts":
            await line.until(lambda: _delivered(line) == {elsewhere})


@pytest.mark.hazard("H32")
@simulated
async def test_h32_the_next_owner_of_a_stopped_partition_stops_it_too_and_works_on_elsewhere() -> None:
    async with pipeline(sessions=2, users=1) as line:
        line.append(MESSAGES_PERSISTED, 0, POISON)
        line.persister()
        line.deliver()
        first = line.expand()
        await line.until(lambda: stopped("expand") == 1)
        first.kill()
        line.expand()
        elsewhere = _notes(1)
        line.publish(post("m1", "x", elsewhere.split(":")[1], elsewhere))
        await line.until(lambda: _delivered(line) == {elsewhere})
        assert stopped("expand") == 1
        assert line.committed(EXPAND, MESSAGES_PERSISTED, 0) == 0


def _notes(partition: int) -> str:
    """Somebody's notes to oneself: session and user both live in that one of two partitions."""
    sessions = ((f"d:user{number}:user{number}", f"user{number}") for number in range(100))
    return next(s for s, user in sessions if {ids.partition_of(s, 2), ids.partition_of(user, 2)} == {partition})


def _delivered(line: Pipeline) -> set[str]:
    return {row.session_id for row in line.store.rows("inbox") if isinstance(row, InboxRow)}
