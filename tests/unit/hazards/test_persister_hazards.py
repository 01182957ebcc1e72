"""Hazards at the persister: in which order it reads, writes, acks and hands on."""

import asyncio

import pytest

from tests.faults.drawn import CommitFault, LogFaults, ProduceFault, StoreFaults, StoreRates, WriteFault
from tests.faults.log import lose_from
from tests.simulation.virtual_time import NOON_MS, simulated
from tests.unit.hazards.checking import check
from tests.unit.hazards.owners import produces_to, second, slow, writes_of
from tests.unit.hazards.pipeline import SESSION, Pipeline, pipeline, post
from tests.unit.persister.builders import uuid7
from tidings.broker.base import Committed, TopicPartition
from tidings.ids import partition_of
from tidings.metrics import PARTITIONS
from tidings.runtime.marks import Marks
from tidings.runtime.ordered_writes import MUTATION_BYTES
from tidings.store.base import KeyBucket, SessionSegment, TaggedRow
from tidings.store.rows import MessageRow, SegmentRow
from tidings.topics import DEAD_LETTERS, DELIVERIES, EXPAND, MESSAGES_INBOUND, MESSAGES_PERSISTED, PERSISTER, PUSH
from tidings.wire.inbound_pb2 import Command

MINUTE_MS = 60_000


def stopped(stage: str) -> float:
    """The alert metric."""
    gauge = PARTITIONS.labels(stage, "stopped")
    return float(next(sample.value for metric in gauge.collect() for sample in metric.samples))


def seqs(line: Pipeline) -> list[int]:
    return sorted(row.seq for row in line.store.rows("messages") if isinstance(row, MessageRow))


@pytest.mark.hazard("H1")
@simulated
async def test_h1_rows_on_one_replica_are_written_again_before_they_are_acked() -> None:
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        first = line.persister()
        line.publish(post("m0"))
        await line.settled(PERSISTER)
        faults.script_write(WriteFault.FLICKERING, WriteFault.FLICKERING)
        first.pause_before(second(writes_of(MessageRow)))
        line.publish(post("m1"), post("m2"))
        await first.paused()
        first.kill()
        assert len(line.acks()) == 1
        line.everybody()
        await line.settled()
        check(line)
        assert {ack.seq for ack in line.acks()} == {1, 2, 3}
        for _ in range(30):
            assert len(await line.store.messages(SessionSegment(SESSION, 1), 1, 3)) == 3
            wanted = {KeyBucket(SESSION, 0, 0): [("alice", "m1"), ("alice", "m2")]}
            assert len(await line.store.keys(wanted)) == 2


@pytest.mark.hazard("H2")
@simulated
async def test_h2_a_message_that_was_stored_but_not_handed_on_is_handed_on_by_the_next_owner() -> None:
    async with pipeline() as line:
        first = line.persister()
        first.pause_before(produces_to(MESSAGES_PERSISTED))
        line.publish(post("m1"), post("m2"))
        await first.paused()
        first.kill()
        assert seqs(line) == [1, 2]
        line.everybody()
        await line.settled()
        check(line)


@pytest.mark.hazard("H3")
@simulated
async def test_h3_a_key_of_the_future_decides_nothing() -> None:
    """The key of m1 is stored, its message is not: the next owner must not take the key for the message."""
    async with pipeline() as line:
        first = line.persister()
        line.publish(post("m0", segment_messages=1))
        await line.settled(PERSISTER)
        first.pause_before(writes_of(MessageRow))
        line.publish(post("m1", segment_messages=1))
        await first.paused()
        first.expire()
        line.everybody()
        await line.settled()
        check(line)
        first.resume()
        line.publish(post("m2", segment_messages=1))
        await line.settled()
        check(line)


@pytest.mark.hazard("H6")
@pytest.mark.parametrize("client_msg_id", ["no uuid", uuid7(NOON_MS), uuid7(NOON_MS + 290_000)])
@simulated
async def test_h6_a_second_copy_has_the_first_seq_although_the_owner_and_the_segment_changed(
    client_msg_id: str,
) -> None:
    async with pipeline() as line:
        first = line.persister()
        line.publish(*(post(name, segment_messages=2) for name in (client_msg_id, "m1", "m2", "m3", "m4")))
        await line.settled(PERSISTER)
        first.kill()
        line.everybody()
        line.publish(post(client_msg_id, segment_messages=2), post("m5", segment_messages=2))
        await line.settled()
        check(line)
        assert [ack.seq for ack in line.acks() if ack.client_msg_id == client_msg_id] == [1, 1]


@pytest.mark.hazard("H7")
@simulated
async def test_h7_a_copy_that_lands_long_after_memory_forgot_its_key_has_the_first_seq() -> None:
    async with pipeline() as line:
        line.everybody()
        sent = post(uuid7(NOON_MS))
        line.publish(sent)
        for number in range(40):
            line.clock.jumped_ms += MINUTE_MS
            line.publish(post(uuid7(line.clock.wall_ms(), number + 1)))
            await line.settled(PERSISTER)
        line.publish(sent)
        await line.settled()
        check(line)
        assert line.acks()[-1].seq == 1


@pytest.mark.hazard("H8")
@simulated
async def test_h8_a_segment_that_was_listed_but_not_filled_is_filled_by_the_next_owner() -> None:
    async with pipeline() as line:
        first = line.persister()
        line.publish(post("m1", segment_messages=2), post("m2", segment_messages=2))
        await line.settled(PERSISTER)
        first.pause_before(writes_of(MessageRow))
        line.publish(post("m3", segment_messages=2))
        await first.paused()
        first.kill()
        assert len(line.store.rows("segments")) == 2
        line.everybody()
        line.publish(post("m4", segment_messages=2))
        await line.settled()
        check(line)
        assert seqs(line) == [1, 2, 3, 4]


@pytest.mark.hazard("H8")
@simulated
async def test_h8_a_session_whose_tail_cannot_be_read_stops_its_partition_and_never_starts_again() -> None:
    async with pipeline(sessions=1) as line:
        await line.store.write([TaggedRow(0, SegmentRow(SESSION, 1, 1, 202611, 0, 0))])
        line.persister()
        line.publish(post("x1", session_id="d:alice:carol"))
        await line.settled(PERSISTER)
        line.publish(post("m1"))
        await line.until(lambda: stopped("persister") == 1)
        assert [ack.session_id for ack in line.acks()] == ["d:alice:carol"]
        assert [row.session_id for row in line.store.rows("messages")] == ["d:alice:carol"]  # type: ignore[union-attr]
        assert line.committed(PERSISTER, MESSAGES_INBOUND) == 1


@pytest.mark.promise("G3")
@pytest.mark.hazard("H10")
@pytest.mark.parametrize("failing", range(10))
@simulated
async def test_h10_whatever_write_of_a_round_fails_nobody_ever_sees_a_hole(failing: int) -> None:
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        line.publish(*(post(f"m{number}", segment_messages=2) for number in range(5)))
        faults.script_write(*[WriteFault.NONE] * failing, WriteFault.LOST)
        first = line.persister()
        first.pause_before(second(_opens_the_first_segment))
        await first.paused()
        first.kill()
        assert seqs(line) == list(range(1, len(seqs(line)) + 1))
        listed = {row.segment for row in line.store.rows("segments") if isinstance(row, SegmentRow)}
        assert {row.segment for row in line.store.rows("messages") if isinstance(row, MessageRow)} <= listed
        assert not line.acks()
        line.everybody()
        await line.settled()
        check(line)


def _opens_the_first_segment(call: str, rows: list[TaggedRow]) -> bool:
    return call == "write" and any(isinstance(tagged.row, SegmentRow) and tagged.row.segment == 1 for tagged in rows)


@pytest.mark.hazard("H17")
@simulated
async def test_h17_segments_roll_at_the_stamped_size_whoever_decides() -> None:
    async with pipeline() as line:
        for number in range(5):
            owner = line.persister()
            line.publish(post(f"m{number}", segment_messages=2))
            await line.settled(PERSISTER)
            owner.kill()
        rows = [row for row in line.store.rows("messages") if isinstance(row, MessageRow)]
        assert [(row.seq, row.segment) for row in rows] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)]


@pytest.mark.hazard("H17")
@simulated
async def test_h17_a_command_of_rules_that_this_version_does_not_know_stops_its_partition() -> None:
    async with pipeline() as line:
        line.everybody()
        unknown = post("m2")
        unknown.stamps.rules = 99
        line.publish(post("m1"), unknown, post("m3"))
        await line.until(lambda: stopped("persister") == 1 and line.committed(PERSISTER, MESSAGES_INBOUND) == 1)
        assert [ack.client_msg_id for ack in line.acks()] == ["m1"]


@pytest.mark.hazard("H20")
@simulated
async def test_h20_a_push_partition_without_leader_holds_up_no_message() -> None:
    async with pipeline() as line:
        line.everybody()
        line.broker.stall([TopicPartition(PUSH, 0)])
        elsewhere = post("m2")
        elsewhere.origin.gateway = 1
        line.publish(post("m1"), elsewhere, post("m3"))
        await line.settled()
        check(line)
        assert [push.send_ack.client_msg_id for push in line.pushes(1)] == ["m2"]
        line.broker.heal()
        line.publish(post("m4"))
        await line.settled()
        assert [push.WhichOneof("content") for push in line.pushes(0)][-2:] == ["resync", "send_ack"]


@pytest.mark.hazard("H23")
@pytest.mark.parametrize("fault", [CommitFault.LOST, CommitFault.FAILED, CommitFault.UNCONFIRMED])
@simulated
async def test_h23_whatever_becomes_of_a_commit_the_replay_changes_nothing(fault: CommitFault) -> None:
    faults = LogFaults()
    async with pipeline(log_faults=faults) as line:
        owners = [line.persister(), line.expand(), line.deliver()]
        line.publish(post("m1"), post("m2"))
        faults.script_commit(*[fault] * 3)
        await line.until(lambda: len(line.store.rows("inbox")) == 4)
        await asyncio.sleep(2)  # every stage has committed, or believes so
        for owner in owners:
            owner.kill()
        line.everybody()
        line.publish(post("m3"))
        await line.settled()
        check(line)


@pytest.mark.hazard("H24")
@simulated
async def test_h24_a_round_of_large_messages_is_cut_into_mutations_that_fit() -> None:
    async with pipeline() as line:
        line.publish(*(post(f"m{number}", "x" * 20_000) for number in range(80)))
        line.persister()
        await line.settled(PERSISTER)
        assert seqs(line) == list(range(1, 81))
        assert 20_000 < max(line.witness.mutation_bytes) <= MUTATION_BYTES


@pytest.mark.hazard("H27")
@pytest.mark.parametrize("fault", [WriteFault.UNCONFIRMED, WriteFault.LATE, WriteFault.LOST])
@simulated
async def test_h27_a_write_that_timed_out_is_written_again_and_nobody_is_told_of_a_failure(fault: WriteFault) -> None:
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        line.everybody()
        for number in range(6):
            faults.script_write(fault, fault)
            line.publish(post(f"m{number}", segment_messages=2, bucket_rows=2))
            await line.settled()
        line.store.land_late()
        check(line)
        assert not line.errors()
        assert [ack.seq for ack in line.acks()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.hazard("H28")
@pytest.mark.parametrize("stage", ["persister", "expand"])
@pytest.mark.parametrize("fault", [ProduceFault.UNCONFIRMED, ProduceFault.PARTIAL, ProduceFault.LATE])
@simulated
async def test_h28_records_that_were_appended_although_it_timed_out_are_dropped_as_repeats(
    fault: ProduceFault, stage: str
) -> None:
    faults = LogFaults()
    async with pipeline(log_faults=faults) as line:
        for number in range(4):
            line.publish(*(_without_answer(f"{name}{number}") for name in "mno"))
            if stage == "expand":
                owner = line.persister()
                await line.settled(PERSISTER)
                owner.kill()
            faults.script_produce(fault)
            owner = getattr(line, stage)()
            await line.settled(PERSISTER if stage == "persister" else EXPAND)
            owner.kill()
        line.broker.land_late()
        line.fanout()
        await line.settled()
        check(line)
        emitted = line.records(MESSAGES_PERSISTED if stage == "persister" else DELIVERIES)
        assert len(emitted) > 12


def _without_answer(client_msg_id: str) -> Command:
    """Nobody waits for its ack, so that the next record that is produced is the one for the next stage."""
    sent = post(client_msg_id)
    sent.ClearField("origin")
    return sent


@pytest.mark.hazard("H29")
@simulated
async def test_h29_a_retry_keeps_its_seq_although_clocks_jumped_and_the_owner_changed() -> None:
    async with pipeline() as line:
        first = line.persister()
        ahead = post(uuid7(NOON_MS + 4 * MINUTE_MS))
        line.publish(ahead)
        line.clock.jumped_ms += 6 * MINUTE_MS
        line.publish(post("m2"))
        await line.settled(PERSISTER)
        first.kill()
        line.everybody()
        line.clock.jumped_ms -= 7 * MINUTE_MS
        line.publish(ahead, post("m3"))
        await line.settled()
        check(line)
        assert [ack.seq for ack in line.acks()] == [1, 2, 1, 3]


@pytest.mark.hazard("H30")
@simulated
async def test_h30_the_first_round_after_an_outage_knows_its_own_keys() -> None:
    async with pipeline() as line:
        line.publish(post("m1"))
        line.clock.jumped_ms += 30 * MINUTE_MS
        line.publish(post("m2"), post("m1"), post("m3"))
        line.everybody()
        await line.settled()
        check(line)
        assert [ack.seq for ack in line.acks()] == [1, 2, 1, 3]


@pytest.mark.promise("G1")
@simulated
async def test_an_ack_is_never_sent_before_its_message_is_stored() -> None:
    async with pipeline() as line:
        owner = line.persister()
        owner.pause_before(writes_of(MessageRow))
        line.publish(post("m1"))
        await owner.paused()
        line.store.stall()
        owner.resume()
        await asyncio.sleep(20)
        assert not line.acks()
        line.store.heal()
        await line.until(lambda: len(line.acks()) == 1)


@simulated
async def test_acks_wait_for_the_own_session_alone() -> None:
    """In one session two users write, so that its messages need a second wave; the other is acked after the first."""
    async with pipeline() as line:
        for sender in ("alice", "bob"):
            line.publish(post(f"mixed-{sender}", sender=sender, session_id="d:alice:bob"))
        line.publish(post("alone", session_id="d:alice:zoe"))
        owner = line.persister()
        owner.pause_before(
            lambda call, rows: (
                call == "write"
                and any(isinstance(one.row, MessageRow) and one.row.session_id == "d:alice:bob" for one in rows)
            )
        )
        await owner.paused()
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
@simulated
async def test_nothing_is_committed_while_a_write_of_its_round_is_unconfirmed() -> None:
    faults = StoreFaults(rates=StoreRates(write_lost=1.0))
    async with pipeline(store_faults=faults) as line:
        line.persister()
        line.publish(post("m1"))
        await asyncio.sleep(20)
        assert line.committed(PERSISTER, MESSAGES_INBOUND) == 0
        assert not line.acks()
        faults.rates = StoreRates()
        await line.settled(PERSISTER)
        assert [ack.seq for ack in line.acks()] == [1]


@simulated
async def test_a_batch_that_begins_too_high_is_read_again_and_nothing_is_left_out() -> None:
    """As after a seek that crossed a fetch: the log has everything, only this batch has not."""
    async with pipeline() as line:
        owner = line.persister()
        await line.settled(PERSISTER)
        owner.consumer.seek(TopicPartition(MESSAGES_INBOUND, 0), 2)
        line.publish(*(post(f"m{number}") for number in range(5)))
        await line.settled(PERSISTER)
        assert seqs(line) == [1, 2, 3, 4, 5]


@pytest.mark.promise("G3")
@simulated
async def test_state_of_a_round_that_failed_never_enters_the_cache() -> None:
    """The round fails after its decisions; the same owner decides the same records again."""
    log_faults = LogFaults()
    async with pipeline(log_faults=log_faults) as line:
        line.persister()
        line.publish(post("m0"))
        await line.settled(PERSISTER)
        log_faults.script_produce(*[ProduceFault.LOST] * 3)
        line.publish(post("m1"), post("m2"))
        line.fanout()
        await line.settled()
        check(line)


@simulated
async def test_an_own_row_at_an_offset_where_the_log_says_something_else_stops_the_partition() -> None:
    """The log lost its tail and grew again over rows that are acked: docs/ARCHITECTURE.md, epoch."""
    async with pipeline() as line:
        first = line.persister()
        line.publish(post("m1"), post("m2"), post("m3"))
        await line.settled(PERSISTER)
        first.kill()
        before = line.dump()
        inbound = TopicPartition(MESSAGES_INBOUND, 0)
        lose_from(line.broker.partition(inbound), 1)
        line.broker.group(PERSISTER).commits[inbound] = Committed(1, Marks().encoded())
        line.publish(post("other"))
        line.persister()
        await line.until(lambda: stopped("persister") == 1)
        assert line.dump() == before


@simulated
async def test_a_command_that_stands_on_another_sessions_partition_is_put_aside() -> None:
    async with pipeline(sessions=2) as line:
        line.everybody()
        right = partition_of(SESSION, 2)
        line.append(MESSAGES_INBOUND, 1 - right, post("stray").SerializeToString())
        line.publish(post("m1"))
        await line.settled()
        assert len(line.records(DEAD_LETTERS)) == 1
        assert [ack.client_msg_id for ack in line.acks()] == ["m1"]


@pytest.mark.hazard("H24")
@simulated
async def test_a_session_whose_tail_takes_many_slow_reads_to_find_is_taken_over() -> None:
    """Each of them is an await of its own (law 12): together they take longer than one may."""
    async with pipeline() as line:
        first = line.persister()
        line.publish(post("first"))
        await line.settled(PERSISTER)
        committed = dict(line.broker.group(PERSISTER).commits)
        line.publish(*(post(f"m{number}") for number in range(600)))
        await line.settled(PERSISTER)
        first.kill()
        line.broker.group(PERSISTER).commits.update(committed)
        for name in ("segments", "segments_below", "newest_messages", "messages"):
            setattr(line.store, name, slow(getattr(line.store, name), 0.7))
        line.persister()
        await asyncio.sleep(60)
        await line.settled(PERSISTER)
        line.publish(post("last"))
        await line.settled(PERSISTER)
        assert seqs(line) == list(range(1, 603))
