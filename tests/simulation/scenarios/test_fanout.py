"""Expand and deliver: what is emitted, what is dropped as a repeat, where a message lands."""

import asyncio

import pytest

from services.fanout.deliver_worker import DeliverStage
from tests.faults.drawn import ProduceFault, WriteFault
from tests.simulation.scenario import Scenario, held_up, post, produces_to, scenario, second, slow, writes_of
from tidings import ids
from tidings.broker.base import TopicPartition
from tidings.runtime.worker import Worker
from tidings.store.base import TaggedRow
from tidings.store.rows import BucketRow, InboxRow, MessageRow
from tidings.topics import DELIVER, DELIVERIES, EXPAND, MESSAGES_INBOUND, PERSISTER

DAY_MS = 86_400_000
NOTES = "d:alice:alice"
STAGES = ("persister", "expand", "deliver")


def inbox_seqs(line: Scenario, user_id: str) -> list[int]:
    return [row.inbox_seq for row in line.inboxes()[user_id]]


@pytest.mark.hazard("H5")
@scenario("persister", "fanout")
async def test_both_parts_of_a_cut_message_reach_their_users(line: Scenario) -> None:
    await line.delivered(*(post(f"m{number}", recipients_per_part=1) for number in range(3)))
    assert len(line.records(DELIVERIES)) == 6
    line.check()


@pytest.mark.hazard("H9", "H31")
@pytest.mark.parametrize("is_same_owner", [True, False])
@scenario("persister", "expand")
async def test_inbox_numbers_continue_after_all_rows_expired(line: Scenario, is_same_owner: bool) -> None:
    deliver = line.start("deliver")
    await line.delivered(*(post(f"m{number}", session_id=NOTES) for number in range(3)))
    # Of the brokers, which judge the tail, and of the tables, which remove the rows after 100 days.
    for clock in (line.clock, line.servers.tables_clock):
        clock.jumped_ms += (91 if is_same_owner else 101) * DAY_MS
    if not is_same_owner:
        deliver.kill()
        line.start("deliver")
    await line.delivered(post("late", session_id=NOTES))
    assert inbox_seqs(line, "alice") == [1, 2, 3, 5001]
    assert [row.bucket for row in line.inboxes()["alice"]] == [0, 0, 0, 1]


@pytest.mark.hazard("H10")
@pytest.mark.parametrize("failing", range(6))
@scenario("persister", "expand")
async def test_inbox_has_no_hole_whichever_write_fails(line: Scenario, failing: int) -> None:
    line.publish(*(post(f"m{number}", session_id=NOTES, bucket_rows=2) for number in range(5)))
    await line.settled(PERSISTER, EXPAND)
    line.store_faults.script_write(*[WriteFault.NONE] * failing, WriteFault.LOST)
    first = line.start("deliver", stop_before=second(_opens_the_first_bucket))
    await first.dies()
    rows = line.inboxes().get("alice", [])
    assert [row.inbox_seq for row in rows] == list(range(1, len(rows) + 1))
    listed = {row.bucket for row in line.rows(BucketRow)}
    assert {row.bucket for row in rows} <= listed
    line.start("deliver")
    await line.checked()


def _opens_the_first_bucket(call: str, rows: list[TaggedRow]) -> bool:
    return call == "write" and any(isinstance(tagged.row, BucketRow) and tagged.row.bucket == 0 for tagged in rows)


@pytest.mark.hazard("H11")
@scenario()
async def test_moved_device_is_pushed_to_despite_a_late_goodbye(line: Scenario) -> None:
    old, new = line.start_gateway(0), line.start_gateway(1)
    line.start("persister", "fanout")
    line.presence("alice", "c1", 0, old)
    line.presence("alice", "c2", 1, new)
    line.presence("alice", "c1", 0, old, gone=True)
    await asyncio.sleep(1)
    await line.delivered(post("m1"))
    assert [list(message.user_ids) for message in line.pushed("message", 1)] == [["alice"]]
    assert not line.pushed("message", 0)


@pytest.mark.hazard("H12")
@scenario()
async def test_log_that_stood_still_makes_no_user_offline(line: Scenario) -> None:
    line.start("persister", "fanout")
    await line.online("alice")
    line.broker.stall()
    await asyncio.sleep(10)
    line.broker.heal()
    await line.delivered(post("m1"))
    assert [message.message.seq for message in line.pushed("message", 0)] == [1]


@pytest.mark.hazard("H14")
@pytest.mark.parametrize("before", range(4))
@scenario()
async def test_message_is_in_the_inbox_at_live_or_pushed_after_it(line: Scenario, before: int) -> None:
    epoch = line.start_gateway(0)
    line.start("persister", "fanout")
    await line.settled()
    for number in range(4):
        if number == before:
            line.presence("alice", "c1", 0, epoch)
        line.publish(post(f"m{number}", session_id=NOTES))
        await asyncio.sleep(0)
    await line.settled()
    _check_nothing_is_between_live_and_the_pushes(line, 4)


@pytest.mark.hazard("H14")
@scenario()
async def test_connection_during_a_repeated_round_waits_for_live(line: Scenario) -> None:
    """The round was pushed before the connection was there, and its inbox rows are not confirmed yet."""
    epoch = line.start_gateway(0)
    deliver = line.start("persister", "expand", "deliver")
    await line.delivered(post("m0", session_id=NOTES, bucket_rows=1))
    deliver.stop_before(writes_of(BucketRow))
    line.publish(post("m1", session_id=NOTES, bucket_rows=1))
    await deliver.stopped()
    line.presence("alice", "c1", 0, epoch)
    await asyncio.sleep(5)  # above half the session time-out: the round is dropped before its next write
    deliver.resume()
    await line.settled()
    _check_nothing_is_between_live_and_the_pushes(line, 2)


def _check_nothing_is_between_live_and_the_pushes(line: Scenario, messages: int) -> None:
    (live,) = line.pushed("live", 0)
    places = {number for message in line.pushed("message", 0) for number in message.inbox_seqs}
    assert set(range(1, live.inbox_seq + 1)) | places >= set(range(1, messages + 1))
    line.check()


@pytest.mark.hazard("H17")
@scenario("persister", "expand")
async def test_buckets_roll_at_the_stamped_size_at_every_owner(line: Scenario) -> None:
    for number in range(5):
        deliver = line.start("deliver")
        await line.delivered(post(f"m{number}", session_id=NOTES, bucket_rows=2))
        deliver.kill()
    assert [row.bucket for row in line.inboxes()["alice"]] == [0, 0, 1, 1, 2]


@pytest.mark.hazard("H18")
@scenario("persister", sessions=2, users=2)
async def test_marks_are_read_back_while_the_coordinator_is_loading(line: Scenario) -> None:
    """Every delivery comes a second time; only the marks of the earlier owner show that."""
    owners = [line.start("expand"), line.start("deliver")]
    await line.delivered(*(post(f"m{number}") for number in range(5)))
    for owner in owners:
        owner.kill()
    line.rewind(EXPAND)
    line.log_faults.script_loading(6)
    line.start("fanout")
    await line.settled()
    assert len(line.records(DELIVERIES)) == 2 * 5 * len({ids.partition_of(user, 2) for user in ("alice", "bob")})
    line.check()


@pytest.mark.hazard("H21")
@scenario(users=2)
async def test_mark_never_passes_a_record_that_one_target_lacks(line: Scenario) -> None:
    session_id = ids.direct_session("alice", _user_elsewhere("alice"))
    line.start("persister")
    await line.stored(post("m1", session_id=session_id), post("m2", session_id=session_id))
    line.log_faults.script_produce(ProduceFault.NONE, ProduceFault.LOST)
    first = line.start("expand")
    await line.until(lambda: len(line.records(DELIVERIES)) > 0)
    line.publish(post("m3", session_id=session_id))
    await line.settled(PERSISTER, EXPAND)
    first.kill()
    line.start("fanout")
    await line.checked()


def _user_elsewhere(user_id: str) -> str:
    """Of another one of two user partitions."""
    names = (f"user{number}" for number in range(100))
    return next(name for name in names if ids.partition_of(name, 2) != ids.partition_of(user_id, 2))


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("stage", STAGES)
@scenario(*STAGES)
async def test_zombie_behind_its_successor_changes_nothing(line: Scenario, stage: str) -> None:
    before = {
        "persister": writes_of(MessageRow),
        "expand": produces_to(DELIVERIES),
        "deliver": writes_of(InboxRow),
    }
    zombie = line.owners[STAGES.index(stage)]
    zombie.stop_before(before[stage])
    line.publish(*(post(f"m{number}", segment_messages=2, bucket_rows=2) for number in range(3)))
    await zombie.stopped()
    zombie.expire()
    line.start(stage)
    await line.delivered(*(post(f"n{number}", segment_messages=2, bucket_rows=2) for number in range(3)))
    zombie.resume()
    await line.checked(*(post(f"o{number}", segment_messages=2, bucket_rows=2) for number in range(3)))


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("stage", STAGES)
@scenario(*STAGES)
async def test_zombie_ahead_of_its_successor_changes_nothing(line: Scenario, stage: str) -> None:
    zombie = line.owners[STAGES.index(stage)]
    await line.delivered(post("m0"))
    zombie.expire()
    line.publish(*(post(f"m{number}", segment_messages=2, bucket_rows=2) for number in range(1, 6)))
    await asyncio.sleep(3)
    line.start(stage)
    for number in range(6):
        await line.delivered(post(f"n{number}", segment_messages=3, bucket_rows=3))
    line.check()


@pytest.mark.hazard("H22")
@scenario("persister", "expand")
async def test_round_that_outlived_its_assignment_leaves_no_tail(line: Scenario) -> None:
    """Its tails are loaded as of an offset that others have passed when the partition comes back."""
    first = line.start("deliver")
    answers = held_up(line.store, "inbox_buckets")
    line.publish(post("m1", session_id=NOTES))
    await line.until(lambda: line.store.calls["inbox_buckets"] > 0)
    del line.store.inbox_buckets  # other owners get answers
    first.expire()
    other = line.start("deliver")
    await line.delivered(post("m2", session_id=NOTES))
    other.stopping.set()
    first.rejoin()
    await asyncio.sleep(8)  # the drain of the old round is given up, and the partition has come back
    answers.set()
    await line.checked(post("m3", session_id=NOTES))


@pytest.mark.hazard("H34")
@pytest.mark.parametrize("size", [1, 2])
@scenario("persister")
async def test_half_emitted_message_is_cut_into_the_same_parts(line: Scenario, size: int) -> None:
    await line.stored(*(post(f"m{number}", recipients_per_part=size) for number in range(3)))
    line.log_faults.script_produce(ProduceFault.PARTIAL)
    first = line.start("expand", stop_before=second(produces_to(DELIVERIES)))
    await first.dies()
    assert len(line.records(DELIVERIES)) > 0
    line.start("fanout")
    await line.checked(post("m3", recipients_per_part=3 - size))


@pytest.mark.hazard("H36")
@scenario("persister", sessions=2)
async def test_expand_sends_a_round_to_a_target_in_one_call(line: Scenario) -> None:
    await line.stored(*(post("m1", session_id=f"d:alice:user{number}") for number in range(10)))
    assert {record.partition for record in line.records(MESSAGES_INBOUND)} == {0, 1}
    line.start("fanout")
    await line.settled()
    assert line.witness.produces[TopicPartition(DELIVERIES, 0)] == 1
    line.check()


@scenario()
async def test_repeated_round_pushes_nothing_twice(line: Scenario) -> None:
    deliver = line.start("persister", "expand", "deliver")
    await line.online("bob")
    deliver.stop_before(writes_of(InboxRow))
    line.publish(post("m1"))
    await deliver.stopped()
    line.store_faults.script_write(WriteFault.LOST)
    deliver.resume()
    await line.settled()
    assert line.store.calls["write"] > 3
    assert [message.message.seq for message in line.pushed("message", 0)] == [1]
    line.check()


@pytest.mark.hazard("H24")
@scenario("persister", "expand")
@pytest.mark.parametrize(("read_s", "messages"), [(1.5, 3), (0.2, 2_500)])
async def test_inbox_found_by_many_slow_reads_is_taken_over(line: Scenario, read_s: float, messages: int) -> None:
    """Each of them is an await of its own (law 12): together they take longer than one may."""
    first = line.start("deliver")
    await line.delivered(post("first"))
    committed = dict(line.broker.group(DELIVER).commits)
    await line.delivered(*(post(f"m{number}") for number in range(messages)))
    first.kill()
    line.broker.group(DELIVER).commits.update(committed)
    for name in ("inbox_buckets", "newest_inbox_rows", "inbox_rows"):
        slow(line.store, name, read_s)
    line.start("deliver")
    await asyncio.sleep(120)
    await line.settled()
    assert len(inbox_seqs(line, "alice")) == len(inbox_seqs(line, "bob")) == messages + 1


@scenario()
async def test_restarted_gateway_loses_its_earlier_connections(line: Scenario) -> None:
    deliver = line.start("deliver")
    epoch = await line.online("alice")
    (worker,) = [one._listener for one in deliver.reach.consumers if one.group_name == DELIVER.name]
    assert isinstance(worker, Worker)
    assert isinstance(worker._stage, DeliverStage)
    presences = worker._stage._presence.presences
    assert presences.gateways_of("alice") == {(0, epoch)}
    line.start_gateway(0)
    await asyncio.sleep(10)
    assert not presences._by_user
