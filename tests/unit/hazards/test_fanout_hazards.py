"""Hazards at expand and deliver: what is emitted, what is dropped as a repeat, where a message lands."""

import asyncio

import pytest

from services.fanout.deliver_worker import DeliverStage
from tests.faults.drawn import LogFaults, ProduceFault, StoreFaults, WriteFault
from tests.simulation.virtual_time import simulated
from tests.unit.hazards.checking import check, inboxes_of
from tests.unit.hazards.owners import Owner, produces_to, second, slow, writes_of
from tests.unit.hazards.pipeline import Pipeline, pipeline, post
from tidings import ids
from tidings.broker.base import TopicPartition
from tidings.store.base import TaggedRow
from tidings.store.rows import BucketRow, InboxRow, MessageRow
from tidings.topics import DELIVER, DELIVERIES, EXPAND, MESSAGES_INBOUND, PERSISTER
from tidings.wire.push_pb2 import PushedMessage

DAY_MS = 86_400_000
NOTES = "d:alice:alice"


def inbox_seqs(line: Pipeline, user_id: str) -> list[int]:
    return [row.inbox_seq for row in inboxes_of(line)[user_id]]


def pushed(line: Pipeline, gateway: int) -> list[PushedMessage]:
    return [push.message for push in line.pushes(gateway) if push.HasField("message")]


@pytest.mark.hazard("H5")
@simulated
async def test_h5_both_parts_of_a_message_that_was_cut_reach_their_users() -> None:
    async with pipeline(users=1) as line:
        line.everybody()
        line.publish(*(post(f"m{number}", recipients_per_part=1) for number in range(3)))
        await line.settled()
        assert len(line.records(DELIVERIES)) == 6
        check(line)


@pytest.mark.hazard("H9", "H31")
@pytest.mark.parametrize("is_same_owner", [True, False])
@simulated
async def test_h9_and_h31_numbers_go_on_alike_whether_expired_rows_are_remembered_or_swept(is_same_owner: bool) -> None:
    async with pipeline() as line:
        line.persister()
        line.expand()
        deliver = line.deliver()
        line.publish(*(post(f"m{number}", session_id=NOTES) for number in range(3)))
        await line.settled()
        line.clock.jumped_ms += (91 if is_same_owner else 101) * DAY_MS
        if not is_same_owner:
            deliver.kill()
            line.deliver()
        line.publish(post("late", session_id=NOTES))
        await line.settled()
        assert inbox_seqs(line, "alice") == [1, 2, 3, 5001]
        assert [row.bucket for row in inboxes_of(line)["alice"]] == [0, 0, 0, 1]


@pytest.mark.hazard("H10")
@pytest.mark.parametrize("failing", range(6))
@simulated
async def test_h10_whatever_write_of_a_round_fails_no_inbox_ever_shows_a_hole(failing: int) -> None:
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        line.persister()
        line.expand()
        line.publish(*(post(f"m{number}", session_id=NOTES, bucket_rows=2) for number in range(5)))
        await line.settled(PERSISTER, EXPAND)
        faults.script_write(*[WriteFault.NONE] * failing, WriteFault.LOST)
        first = line.deliver()
        first.pause_before(second(_opens_the_first_bucket))
        await first.paused()
        first.kill()
        rows = inboxes_of(line).get("alice", [])
        assert [row.inbox_seq for row in rows] == list(range(1, len(rows) + 1))
        listed = {row.bucket for row in line.store.rows("inbox_buckets") if isinstance(row, BucketRow)}
        assert {row.bucket for row in rows} <= listed
        line.deliver()
        await line.settled()
        check(line)


def _opens_the_first_bucket(call: str, rows: list[TaggedRow]) -> bool:
    return call == "write" and any(isinstance(tagged.row, BucketRow) and tagged.row.bucket == 0 for tagged in rows)


@pytest.mark.hazard("H11")
@simulated
async def test_h11_a_device_that_moved_is_pushed_to_although_its_old_gateway_says_gone_late() -> None:
    async with pipeline() as line:
        old, new = line.start_gateway(0), line.start_gateway(1)
        line.everybody()
        line.presence("alice", "c1", 0, old)
        line.presence("alice", "c2", 1, new)
        line.presence("alice", "c1", 0, old, gone=True)
        await asyncio.sleep(1)
        line.publish(post("m1"))
        await line.settled()
        assert [list(message.user_ids) for message in pushed(line, 1)] == [["alice"]]
        assert not pushed(line, 0)


@pytest.mark.hazard("H12")
@simulated
async def test_h12_a_log_that_stood_still_makes_nobody_offline() -> None:
    async with pipeline() as line:
        epoch = line.start_gateway(0)
        line.everybody()
        line.presence("alice", "c1", 0, epoch)
        await asyncio.sleep(1)
        line.broker.stall()
        await asyncio.sleep(10)
        line.broker.heal()
        line.publish(post("m1"))
        await line.settled()
        assert [message.message.seq for message in pushed(line, 0)] == [1]


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("before", range(4))
@simulated
async def test_h14_all_up_to_live_is_in_the_inbox_and_all_after_it_is_pushed(before: int) -> None:
    async with pipeline() as line:
        epoch = line.start_gateway(0)
        line.everybody()
        await line.settled()
        for number in range(4):
            if number == before:
                line.presence("alice", "c1", 0, epoch)
            line.publish(post(f"m{number}", session_id=NOTES))
            await asyncio.sleep(0)
        await line.settled()
        _check_nothing_is_between_live_and_the_pushes(line, 4)


@pytest.mark.hazard("H14")
@simulated
async def test_h14_a_connection_that_comes_while_a_round_is_repeated_waits_for_its_live() -> None:
    """The round was pushed before the connection was there, and its inbox rows are not confirmed yet."""
    async with pipeline() as line:
        epoch = line.start_gateway(0)
        line.persister()
        line.expand()
        deliver = line.deliver()
        line.publish(post("m0", session_id=NOTES, bucket_rows=1))
        await line.settled()
        deliver.pause_before(writes_of(BucketRow))
        line.publish(post("m1", session_id=NOTES, bucket_rows=1))
        await deliver.paused()
        line.presence("alice", "c1", 0, epoch)
        await asyncio.sleep(5)  # above half the session time-out: the round is dropped before its next write
        deliver.resume()
        await line.settled()
        _check_nothing_is_between_live_and_the_pushes(line, 2)


def _check_nothing_is_between_live_and_the_pushes(line: Pipeline, messages: int) -> None:
    (live,) = [push.live for push in line.pushes(0) if push.HasField("live")]
    places = {number for message in pushed(line, 0) for number in message.inbox_seqs}
    assert set(range(1, live.inbox_seq + 1)) | places >= set(range(1, messages + 1))
    check(line)


@pytest.mark.hazard("H17")
@simulated
async def test_h17_buckets_roll_at_the_stamped_size_whoever_delivers() -> None:
    async with pipeline() as line:
        line.persister()
        line.expand()
        for number in range(5):
            deliver = line.deliver()
            line.publish(post(f"m{number}", session_id=NOTES, bucket_rows=2))
            await line.settled()
            deliver.kill()
        assert [row.bucket for row in inboxes_of(line)["alice"]] == [0, 0, 1, 1, 2]


@pytest.mark.hazard("H18")
@simulated
async def test_h18_marks_are_read_back_before_the_first_record_although_the_coordinator_is_loading() -> None:
    """Every delivery comes a second time; only the marks of the owner before tell that."""
    faults = LogFaults()
    async with pipeline(sessions=2, users=2, log_faults=faults) as line:
        line.persister()
        owners = [line.expand(), line.deliver()]
        line.publish(*(post(f"m{number}") for number in range(5)))
        await line.settled()
        for owner in owners:
            owner.kill()
        line.rewind(EXPAND)
        faults.script_loading(6)
        line.fanout()
        await line.settled()
        assert len(line.records(DELIVERIES)) == 2 * 5 * len({ids.partition_of(user, 2) for user in ("alice", "bob")})
        check(line)


@pytest.mark.hazard("H21")
@simulated
async def test_h21_a_mark_never_passes_a_record_that_one_target_did_not_take() -> None:
    faults = LogFaults()
    async with pipeline(users=2, log_faults=faults) as line:
        session_id = ids.direct_session("alice", _user_elsewhere("alice"))
        line.persister()
        line.publish(post("m1", session_id=session_id), post("m2", session_id=session_id))
        await line.settled(PERSISTER)
        faults.script_produce(ProduceFault.NONE, ProduceFault.LOST)
        first = line.expand()
        await line.until(lambda: len(line.records(DELIVERIES)) > 0)
        line.publish(post("m3", session_id=session_id))
        await line.settled(PERSISTER, EXPAND)
        first.kill()
        line.fanout()
        await line.settled()
        check(line)


def _user_elsewhere(user_id: str) -> str:
    """Of another one of two user partitions."""
    names = (f"user{number}" for number in range(100))
    return next(name for name in names if ids.partition_of(name, 2) != ids.partition_of(user_id, 2))


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("stage", ["persister", "expand", "deliver"])
@simulated
async def test_h22_a_zombie_that_lags_behind_its_successor_changes_nothing(stage: str) -> None:
    before = {
        "persister": writes_of(MessageRow),
        "expand": produces_to(DELIVERIES),
        "deliver": writes_of(InboxRow),
    }
    async with pipeline() as line:
        zombie = _one_of_each(line)[stage]
        zombie.pause_before(before[stage])
        line.publish(*(post(f"m{number}", segment_messages=2, bucket_rows=2) for number in range(3)))
        await zombie.paused()
        zombie.expire()
        getattr(line, stage)()
        line.publish(*(post(f"n{number}", segment_messages=2, bucket_rows=2) for number in range(3)))
        await line.settled()
        zombie.resume()
        line.publish(*(post(f"o{number}", segment_messages=2, bucket_rows=2) for number in range(3)))
        await line.settled()
        check(line)


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("stage", ["persister", "expand", "deliver"])
@simulated
async def test_h22_a_zombie_that_runs_ahead_of_its_successor_changes_nothing(stage: str) -> None:
    async with pipeline() as line:
        zombie = _one_of_each(line)[stage]
        line.publish(post("m0"))
        await line.settled()
        zombie.expire()
        line.publish(*(post(f"m{number}", segment_messages=2, bucket_rows=2) for number in range(1, 6)))
        await asyncio.sleep(3)
        getattr(line, stage)()
        for number in range(6):
            line.publish(post(f"n{number}", segment_messages=3, bucket_rows=3))
            await line.settled()
        check(line)


def _one_of_each(line: Pipeline) -> dict[str, Owner]:
    return {"persister": line.persister(), "expand": line.expand(), "deliver": line.deliver()}


@pytest.mark.hazard("H22")
@simulated
async def test_h22_a_round_that_outlived_its_assignment_leaves_no_tail_in_memory() -> None:
    """Its tails are loaded as of an offset that others have passed when the partition comes back."""
    async with pipeline() as line:
        line.persister()
        line.expand()
        slow = line.deliver()
        slow.pause_before(lambda call, what: call == "answer" and what == "inbox_buckets")
        line.publish(post("m1", session_id=NOTES))
        await slow.paused()
        slow.expire()
        line.deliver()
        line.publish(post("m2", session_id=NOTES))
        await line.settled()
        rejoining = asyncio.create_task(slow.rejoin())
        await asyncio.sleep(8)  # the drain of the old round is given up
        slow.resume()
        await rejoining
        line.publish(post("m3", session_id=NOTES))
        await line.settled()
        check(line)


@pytest.mark.hazard("H34")
@pytest.mark.parametrize("size", [1, 2])
@simulated
async def test_h34_a_half_emitted_message_is_emitted_again_in_the_same_parts(size: int) -> None:
    faults = LogFaults()
    async with pipeline(users=1, log_faults=faults) as line:
        line.persister()
        line.publish(*(post(f"m{number}", recipients_per_part=size) for number in range(3)))
        await line.settled(PERSISTER)
        faults.script_produce(ProduceFault.PARTIAL)
        first = line.expand()
        first.pause_before(second(produces_to(DELIVERIES)))
        await first.paused()
        first.kill()
        assert len(line.records(DELIVERIES)) > 0
        line.fanout()
        line.publish(post("m3", recipients_per_part=3 - size))
        await line.settled()
        check(line)


@pytest.mark.hazard("H36")
@simulated
async def test_h36_all_records_of_a_round_for_one_target_go_in_one_call() -> None:
    async with pipeline(sessions=2, users=1) as line:
        line.persister()
        line.publish(*(post("m1", session_id=f"d:alice:user{number}") for number in range(10)))
        await line.settled(PERSISTER)
        assert {record.partition for record in line.records(MESSAGES_INBOUND)} == {0, 1}
        line.fanout()
        await line.settled()
        assert line.witness.produces[TopicPartition(DELIVERIES, 0)] == 1
        check(line)


@simulated
async def test_a_repeated_round_pushes_nothing_twice() -> None:
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        epoch = line.start_gateway(0)
        line.persister()
        line.expand()
        deliver = line.deliver()
        line.presence("bob", "c1", 0, epoch)
        await asyncio.sleep(1)
        deliver.pause_before(writes_of(InboxRow))
        line.publish(post("m1"))
        await deliver.paused()
        faults.script_write(WriteFault.LOST)
        deliver.resume()
        await line.settled()
        assert line.store.calls["write"] > 3
        assert [message.message.seq for message in pushed(line, 0)] == [1]
        check(line)


@pytest.mark.hazard("H24")
@simulated
@pytest.mark.parametrize(("read_s", "messages"), [(1.5, 3), (0.2, 2_500)])
async def test_an_inbox_whose_place_takes_many_slow_reads_to_find_is_taken_over(read_s: float, messages: int) -> None:
    """Each of them is an await of its own (law 12): together they take longer than one may."""
    async with pipeline() as line:
        line.persister()
        line.expand()
        first = line.deliver()
        line.publish(post("first"))
        await line.settled()
        committed = dict(line.broker.group(DELIVER).commits)
        line.publish(*(post(f"m{number}") for number in range(messages)))
        await line.settled()
        first.kill()
        line.broker.group(DELIVER).commits.update(committed)
        for name in ("inbox_buckets", "newest_inbox_rows", "inbox_rows"):
            setattr(line.store, name, slow(getattr(line.store, name), read_s))
        line.deliver()
        await asyncio.sleep(120)
        await line.settled()
        assert len(inbox_seqs(line, "alice")) == len(inbox_seqs(line, "bob")) == messages + 1


@simulated
async def test_a_gateway_that_starts_again_leaves_none_of_its_connections_of_before_behind() -> None:
    async with pipeline() as line:
        epoch = line.start_gateway(0)
        deliver = line.deliver()
        line.presence("alice", "c1", 0, epoch)
        await asyncio.sleep(10)
        assert isinstance(deliver.stage, DeliverStage)
        presences = deliver.stage._presence.presences
        assert presences.gateways_of("alice") == {(0, epoch)}
        line.start_gateway(0)
        await asyncio.sleep(10)
        assert not presences._by_user
