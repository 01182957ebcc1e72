"""Records that no process can read: before the ack they go aside, after it they stop their partition (law 9)."""

import pytest
from structlog.testing import capture_logs

from tests.faults.drawn import ProduceFault
from tests.simulation.scenario import Scenario, partitions_stopped, post, scenario
from tidings import ids
from tidings.store.rows import InboxRow, ReceiptRow
from tidings.topics import (
    DEAD_LETTERS,
    DELIVERIES,
    EXPAND,
    MESSAGES_INBOUND,
    MESSAGES_PERSISTED,
    PERSISTER,
    RECEIPTS_INBOUND,
)
from tidings.wire.dead_letters_pb2 import DeadLetter

POISON = b"\xff\xff poison"


def letters(line: Scenario) -> list[tuple[str, int, bytes]]:
    found = [DeadLetter.FromString(record.value or b"") for record in line.records(DEAD_LETTERS)]
    assert all(letter.reason for letter in found)
    return [(letter.topic, letter.offset, letter.value) for letter in found]


@pytest.mark.bad_input("B2")
@scenario("persister", "fanout")
async def test_poison_among_commands_goes_aside_once_and_costs_no_seq(line: Scenario) -> None:
    line.publish(post("m1"))
    line.append(MESSAGES_INBOUND, 0, POISON)
    line.append(MESSAGES_INBOUND, 0, b"")
    await line.checked(post("m2"))
    assert [ack.seq for ack in line.acks()] == [1, 2]
    assert letters(line) == [(MESSAGES_INBOUND, 1, POISON), (MESSAGES_INBOUND, 2, b"")]


@pytest.mark.bad_input("B2")
@scenario()
async def test_poison_of_a_repeated_round_has_the_same_key(line: Scenario) -> None:
    """At least once, as everything on the log; the key says which letters are the same one."""
    line.append(MESSAGES_INBOUND, 0, POISON)
    line.log_faults.script_produce(ProduceFault.UNCONFIRMED)
    line.start("persister")
    await line.settled(PERSISTER)
    assert {record.key for record in line.records(DEAD_LETTERS)} == {b"messages.inbound/0/0/0"}


@pytest.mark.bad_input("B2")
@scenario("persister", "receipts")
async def test_poison_among_receipts_goes_aside_once(line: Scenario) -> None:
    await line.seen(post("m1"), post("m2"))
    line.say("bob", delivered_seq=1)
    line.append(RECEIPTS_INBOUND, 0, POISON)
    line.say("mallory", delivered_seq=2)
    await line.claimed("bob", delivered_seq=2)
    assert [(topic, offset) for topic, offset, _ in letters(line)] == [(RECEIPTS_INBOUND, 1), (RECEIPTS_INBOUND, 2)]
    rows = {row.user_id: row for row in line.store.rows("receipts") if isinstance(row, ReceiptRow)}
    assert rows.keys() == {"alice", "bob"}
    assert rows["bob"].delivered_seq == 2


@pytest.mark.hazard("H19")
@pytest.mark.parametrize(
    ("topic", "stage"), [(MESSAGES_PERSISTED, "expand"), (MESSAGES_PERSISTED, "receipts"), (DELIVERIES, "deliver")]
)
@scenario(sessions=2, users=2)
async def test_poison_after_the_ack_stops_its_partition_alone(line: Scenario, topic: str, stage: str) -> None:
    here, elsewhere = _notes(0), _notes(1)
    line.append(topic, 0, POISON)
    line.start("persister", "fanout", "receipts")
    with capture_logs() as logs:
        await line.stored(
            post("m1", "x", here.split(":")[1], here), post("m2", "x", elsewhere.split(":")[1], elsewhere)
        )
        await line.until(lambda: partitions_stopped(stage) == 1)
    entry_of_stop = next(
        entry for entry in logs if entry["event"] == "partition stopped" and topic in entry["partition"]
    )
    assert "OPERATIONS" in entry_of_stop["action"]
    assert "offset 0" in entry_of_stop["reason"]
    if stage != "receipts":
        await line.until(lambda: _delivered(line) == {elsewhere})


@pytest.mark.hazard("H32")
@scenario(sessions=2)
async def test_next_owner_stops_a_stopped_partition_alone(line: Scenario) -> None:
    line.append(MESSAGES_PERSISTED, 0, POISON)
    line.start("persister", "deliver")
    first = line.start("expand")
    await line.until(lambda: partitions_stopped("expand") == 1)
    first.kill()
    line.start("expand")
    elsewhere = _notes(1)
    line.publish(post("m1", "x", elsewhere.split(":")[1], elsewhere))
    await line.until(lambda: _delivered(line) == {elsewhere})
    assert partitions_stopped("expand") == 1
    assert line.committed(EXPAND, MESSAGES_PERSISTED, 0) == 0


def _notes(partition: int) -> str:
    """Notes of a user to itself: session and user both live in that one of two partitions."""
    sessions = ((f"d:user{number}:user{number}", f"user{number}") for number in range(100))
    return next(s for s, user in sessions if {ids.partition_of(s, 2), ids.partition_of(user, 2)} == {partition})


def _delivered(line: Scenario) -> set[str]:
    return {row.session_id for row in line.rows(InboxRow)}
