"""The persister: in which order it reads, writes, acks and hands on."""

import asyncio

import pytest

from tests.faults.drawn import CommitFault, ProduceFault, StoreRates, WriteFault
from tests.faults.log import lose_from
from tests.simulation.scenario import Scenario, partitions_stopped, post, produces_to, scenario, second, slow, writes_of
from tests.simulation.virtual_time import NOON_MS
from tests.unit.persister.builders import SESSION, uuid7
from tidings.broker.base import Committed, TopicPartition
from tidings.ids import partition_of
from tidings.runtime.marks import Marks
from tidings.runtime.ordered_writes import MUTATION_BYTES
from tidings.store.base import KeyBucket, SessionSegment, TaggedRow
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentRow
from tidings.topics import DEAD_LETTERS, DELIVERIES, EXPAND, MESSAGES_INBOUND, MESSAGES_PERSISTED, PERSISTER, PUSH
from tidings.wire.inbound_pb2 import Command

MINUTE_MS = 60_000


def seqs(line: Scenario) -> list[int]:
    return sorted(row.seq for row in line.rows(MessageRow))


@pytest.mark.hazard("H1")
@scenario()
async def test_rows_on_one_replica_are_rewritten_before_the_ack(line: Scenario) -> None:
    first = line.start("persister")
    await line.stored(post("m0"))
    line.store_faults.script_write(WriteFault.FLICKERING, WriteFault.FLICKERING)
    first.stop_before(second(writes_of(MessageRow)))
    line.publish(post("m1"), post("m2"))
    await first.dies()
    assert len(line.acks()) == 1
    line.start("persister", "fanout")
    await line.checked()
    assert {ack.seq for ack in line.acks()} == {1, 2, 3}
    for _ in range(30):
        assert len(await line.store.messages(SessionSegment(SESSION, 1), 1, 3)) == 3
        wanted = {KeyBucket(SESSION, 0, 0): [("alice", "m1"), ("alice", "m2")]}
        assert len(await line.store.keys(wanted)) == 2


@pytest.mark.hazard("H2")
@scenario()
async def test_next_owner_hands_on_a_stored_message(line: Scenario) -> None:
    first = line.start("persister", stop_before=produces_to(MESSAGES_PERSISTED))
    line.publish(post("m1"), post("m2"))
    await first.dies()
    assert seqs(line) == [1, 2]
    line.start("persister", "fanout")
    await line.checked()


@pytest.mark.hazard("H3")
@scenario()
async def test_key_of_the_future_decides_nothing(line: Scenario) -> None:
    """The key of m1 is stored, its message is not: the next owner must not take the key for the message."""
    first = line.start("persister")
    await line.stored(post("m0", segment_messages=1))
    first.stop_before(writes_of(MessageRow))
    line.publish(post("m1", segment_messages=1))
    await first.stopped()
    first.expire()
    line.start("persister", "fanout")
    await line.checked()
    first.resume()
    await line.checked(post("m2", segment_messages=1))


@pytest.mark.hazard("H6")
@pytest.mark.parametrize("client_msg_id", ["no uuid", uuid7(NOON_MS), uuid7(NOON_MS + 290_000)])
@scenario()
async def test_second_copy_at_another_owner_has_the_first_seq(line: Scenario, client_msg_id: str) -> None:
    first = line.start("persister")
    await line.stored(*(post(name, segment_messages=2) for name in (client_msg_id, "m1", "m2", "m3", "m4")))
    first.kill()
    line.start("persister", "fanout")
    await line.checked(post(client_msg_id, segment_messages=2), post("m5", segment_messages=2))
    assert [ack.seq for ack in line.acks() if ack.client_msg_id == client_msg_id] == [1, 1]


@pytest.mark.hazard("H7")
@scenario("persister", "fanout")
async def test_copy_of_an_evicted_key_has_the_first_seq(line: Scenario) -> None:
    sent = post(uuid7(NOON_MS))
    line.publish(sent)
    for number in range(40):
        line.clock.jumped_ms += MINUTE_MS
        await line.stored(post(uuid7(line.clock.wall_ms(), number + 1)))
    await line.checked(sent)
    assert line.acks()[-1].seq == 1


@pytest.mark.hazard("H8")
@scenario()
async def test_next_owner_fills_a_segment_that_was_only_listed(line: Scenario) -> None:
    first = line.start("persister")
    await line.stored(post("m1", segment_messages=2), post("m2", segment_messages=2))
    first.stop_before(writes_of(MessageRow))
    line.publish(post("m3", segment_messages=2))
    await first.dies()
    assert len(line.store.rows("segments")) == 2
    line.start("persister", "fanout")
    await line.checked(post("m4", segment_messages=2))
    assert seqs(line) == [1, 2, 3, 4]


@pytest.mark.hazard("H8")
@scenario()
async def test_session_without_a_tail_stops_its_partition(line: Scenario) -> None:
    await line.store.write([TaggedRow(0, SegmentRow(SESSION, 1, 1, 202611, 0, 0))])
    line.start("persister")
    await line.stored(post("x1", session_id="d:alice:carol"))
    line.publish(post("m1"))
    await line.until(lambda: partitions_stopped("persister") == 1)
    assert [ack.session_id for ack in line.acks()] == ["d:alice:carol"]
    assert [row.session_id for row in line.rows(MessageRow)] == ["d:alice:carol"]
    assert line.committed(PERSISTER, MESSAGES_INBOUND) == 1


@pytest.mark.promise("G3")
@pytest.mark.hazard("H10")
@pytest.mark.parametrize("failing", range(10))
@scenario()
async def test_session_has_no_hole_whichever_write_fails(line: Scenario, failing: int) -> None:
    line.publish(*(post(f"m{number}", segment_messages=2) for number in range(5)))
    line.store_faults.script_write(*[WriteFault.NONE] * failing, WriteFault.LOST)
    first = line.start("persister", stop_before=second(_opens_the_first_segment))
    await first.dies()
    assert seqs(line) == list(range(1, len(seqs(line)) + 1))
    listed = {row.segment for row in line.rows(SegmentRow)}
    assert {row.segment for row in line.rows(MessageRow)} <= listed
    assert not line.acks()
    line.start("persister", "fanout")
    await line.checked()


def _opens_the_first_segment(call: str, rows: list[TaggedRow]) -> bool:
    return call == "write" and any(isinstance(tagged.row, SegmentRow) and tagged.row.segment == 1 for tagged in rows)


@pytest.mark.hazard("H17")
@scenario()
async def test_segments_roll_at_the_stamped_size_at_every_owner(line: Scenario) -> None:
    for number in range(5):
        owner = line.start("persister")
        await line.stored(post(f"m{number}", segment_messages=2))
        owner.kill()
    assert [(row.seq, row.segment) for row in line.rows(MessageRow)] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)]


@pytest.mark.hazard("H17")
@scenario("persister", "fanout")
async def test_command_of_unknown_rules_stops_its_partition(line: Scenario) -> None:
    unknown = post("m2")
    unknown.stamps.rules = 99
    line.publish(post("m1"), unknown, post("m3"))
    await line.until(lambda: partitions_stopped("persister") == 1 and line.committed(PERSISTER, MESSAGES_INBOUND) == 1)
    assert [ack.client_msg_id for ack in line.acks()] == ["m1"]


@pytest.mark.hazard("H20")
@scenario("persister", "fanout")
async def test_push_partition_without_leader_holds_up_no_message(line: Scenario) -> None:
    line.broker.stall([TopicPartition(PUSH, 0)])
    elsewhere = post("m2")
    elsewhere.origin.gateway = 1
    await line.checked(post("m1"), elsewhere, post("m3"))
    assert [push.send_ack.client_msg_id for push in line.pushes(1)] == ["m2"]
    line.broker.heal()
    await line.delivered(post("m4"))
    assert [push.WhichOneof("content") for push in line.pushes(0)][-2:] == ["resync", "send_ack"]


@pytest.mark.hazard("H23")
@pytest.mark.parametrize("fault", [CommitFault.LOST, CommitFault.FAILED, CommitFault.UNCONFIRMED])
@scenario()
async def test_replay_after_any_commit_fault_changes_nothing(line: Scenario, fault: CommitFault) -> None:
    line.start("persister", "expand", "deliver")
    line.publish(post("m1"), post("m2"))
    line.log_faults.script_commit(*[fault] * 3)
    await line.until(lambda: len(line.store.rows("inbox")) == 4)
    await asyncio.sleep(2)  # every stage has committed, or has lost the answer
    for owner in line.owners[:]:
        owner.kill()
    line.start("persister", "fanout")
    await line.checked(post("m3"))


@pytest.mark.hazard("H24")
@scenario()
async def test_round_of_large_messages_is_cut_into_mutations_that_fit(line: Scenario) -> None:
    line.publish(*(post(f"m{number}", "x" * 20_000) for number in range(80)))
    line.start("persister")
    await line.settled(PERSISTER)
    assert seqs(line) == list(range(1, 81))
    assert 20_000 < max(line.witness.mutation_bytes) <= MUTATION_BYTES


@pytest.mark.hazard("H27")
@pytest.mark.parametrize("fault", [WriteFault.UNCONFIRMED, WriteFault.LATE, WriteFault.LOST])
@scenario("persister", "fanout")
async def test_write_that_timed_out_is_repeated_without_an_error(line: Scenario, fault: WriteFault) -> None:
    for number in range(6):
        line.store_faults.script_write(fault, fault)
        await line.delivered(post(f"m{number}", segment_messages=2, bucket_rows=2))
    line.store.land_late()
    line.check()
    assert not line.errors()
    assert [ack.seq for ack in line.acks()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.hazard("H28")
@pytest.mark.parametrize("stage", ["persister", "expand"])
@pytest.mark.parametrize("fault", [ProduceFault.UNCONFIRMED, ProduceFault.PARTIAL, ProduceFault.LATE])
@scenario()
async def test_records_of_a_timed_out_produce_are_dropped_as_repeats(
    line: Scenario, fault: ProduceFault, stage: str
) -> None:
    for number in range(4):
        line.publish(*(_without_answer(f"{name}{number}") for name in "mno"))
        if stage == "expand":
            owner = line.start("persister")
            await line.settled(PERSISTER)
            owner.kill()
        line.log_faults.script_produce(fault)
        owner = line.start(stage)
        await line.settled(PERSISTER if stage == "persister" else EXPAND)
        owner.kill()
    line.broker.land_late()
    line.start("fanout")
    await line.checked()
    emitted = line.records(MESSAGES_PERSISTED if stage == "persister" else DELIVERIES)
    assert len(emitted) > 12


def _without_answer(client_msg_id: str) -> Command:
    """No client waits for its ack, so that the next record that is produced is the one for the next stage."""
    sent = post(client_msg_id)
    sent.ClearField("origin")
    return sent


@pytest.mark.hazard("H29")
@scenario()
async def test_retry_keeps_its_seq_after_a_clock_jump(line: Scenario) -> None:
    first = line.start("persister")
    ahead = post(uuid7(NOON_MS + 4 * MINUTE_MS))
    line.publish(ahead)
    line.clock.jumped_ms += 6 * MINUTE_MS
    await line.stored(post("m2"))
    first.kill()
    line.start("persister", "fanout")
    line.clock.jumped_ms -= 7 * MINUTE_MS
    await line.checked(ahead, post("m3"))
    assert [ack.seq for ack in line.acks()] == [1, 2, 1, 3]


@pytest.mark.hazard("H30")
@scenario()
async def test_first_round_after_an_outage_finds_its_own_keys(line: Scenario) -> None:
    line.publish(post("m1"))
    line.clock.jumped_ms += 30 * MINUTE_MS
    line.publish(post("m2"), post("m1"), post("m3"))
    line.start("persister", "fanout")
    await line.checked()
    assert [ack.seq for ack in line.acks()] == [1, 2, 1, 3]


@pytest.mark.promise("G1")
@scenario()
async def test_ack_is_never_sent_before_its_message_is_stored(line: Scenario) -> None:
    owner = line.start("persister", stop_before=writes_of(MessageRow))
    line.publish(post("m1"))
    await owner.stopped()
    line.store.stall()
    owner.resume()
    await asyncio.sleep(20)
    assert not line.acks()
    line.store.heal()
    await line.until(lambda: len(line.acks()) == 1)


@scenario()
async def test_acks_wait_for_their_own_session_alone(line: Scenario) -> None:
    """In one session two users write, so that its messages need a second wave; the other is acked after the first."""
    for sender in ("alice", "bob"):
        line.publish(post(f"mixed-{sender}", sender=sender, session_id="d:alice:bob"))
    line.publish(post("alone", session_id="d:alice:zoe"))
    owner = line.start("persister")
    owner.stop_before(
        lambda call, rows: (
            call == "write"
            and any(isinstance(one.row, MessageRow) and one.row.session_id == "d:alice:bob" for one in rows)
        )
    )
    await owner.stopped()
    line.store.stall()
    owner.resume()
    await line.until(lambda: [ack.client_msg_id for ack in line.acks()] == ["alone"])
    await asyncio.sleep(1)
    assert len(line.acks()) == 1
    line.store.heal()
    # The round is repeated as a whole, its acks too: a repeat is harmless.
    await line.until(lambda: len(line.acks()) == 4)
    assert [ack.client_msg_id for ack in line.acks()][1:] == ["alone", "mixed-alice", "mixed-bob"]


@pytest.mark.promise("G1")
@scenario()
async def test_round_with_an_unconfirmed_write_is_not_committed(line: Scenario) -> None:
    line.store_faults.rates = StoreRates(write_lost=1.0)
    line.start("persister")
    line.publish(post("m1"))
    await asyncio.sleep(20)
    assert line.committed(PERSISTER, MESSAGES_INBOUND) == 0
    assert not line.acks()
    line.store_faults.rates = StoreRates()
    await line.settled(PERSISTER)
    assert [ack.seq for ack in line.acks()] == [1]


@scenario()
async def test_batch_that_begins_too_high_is_read_again(line: Scenario) -> None:
    """As after a seek that crossed a fetch: the log has everything, only this batch has not."""
    owner = line.start("persister")
    await line.settled(PERSISTER)
    owner.reach.consumers[0].seek(TopicPartition(MESSAGES_INBOUND, 0), 2)
    await line.stored(*(post(f"m{number}") for number in range(5)))
    assert seqs(line) == [1, 2, 3, 4, 5]


@pytest.mark.promise("G3")
@scenario("persister")
async def test_state_of_a_failed_round_never_enters_the_cache(line: Scenario) -> None:
    """The round fails after its decisions; the same owner decides the same records again."""
    await line.stored(post("m0"))
    line.log_faults.script_produce(*[ProduceFault.LOST] * 3)
    line.publish(post("m1"), post("m2"))
    line.start("fanout")
    await line.checked()


@scenario()
async def test_row_that_contradicts_the_log_stops_the_partition(line: Scenario) -> None:
    """The log lost its tail and grew again over rows that are acked: docs/ARCHITECTURE.md, epoch."""
    first = line.start("persister")
    await line.stored(post("m1"), post("m2"), post("m3"))
    first.kill()
    before = line.dump()
    inbound = TopicPartition(MESSAGES_INBOUND, 0)
    lose_from(line.broker.partition(inbound), 1)
    line.broker.group(PERSISTER).commits[inbound] = Committed(1, Marks().encoded())
    line.publish(post("other"))
    line.start("persister")
    await line.until(lambda: partitions_stopped("persister") == 1)
    assert line.dump() == before


@scenario("persister", "fanout", sessions=2)
async def test_command_on_a_foreign_partition_is_put_aside(line: Scenario) -> None:
    right = partition_of(SESSION, 2)
    line.append(MESSAGES_INBOUND, 1 - right, post("stray").SerializeToString())
    await line.delivered(post("m1"))
    assert len(line.records(DEAD_LETTERS)) == 1
    assert [ack.client_msg_id for ack in line.acks()] == ["m1"]


@pytest.mark.hazard("H24")
@scenario()
async def test_session_found_by_many_slow_reads_is_taken_over(line: Scenario) -> None:
    """Each of them is an await of its own (law 12): together they take longer than one may."""
    first = line.start("persister")
    await line.stored(post("first"))
    committed = dict(line.broker.group(PERSISTER).commits)
    await line.stored(*(post(f"m{number}") for number in range(600)))
    first.kill()
    line.broker.group(PERSISTER).commits.update(committed)
    for name in ("segments", "segments_below", "newest_messages", "messages"):
        slow(line.store, name, 0.7)
    line.start("persister")
    await asyncio.sleep(60)
    await line.settled(PERSISTER)
    await line.stored(post("last"))
    assert seqs(line) == list(range(1, 603))
