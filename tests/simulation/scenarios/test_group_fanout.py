"""Expand and deliver for groups, whose records are put on messages.persisted as the persister does."""

import asyncio
from unittest.mock import patch

import pytest

from services.fanout import expand_worker
from tests.faults.drawn import ProduceFault
from tests.simulation.scenario import (
    Scenario,
    held_up,
    partitions_stopped,
    post,
    produces_to,
    running,
    scenario,
    second,
    slow,
)
from tests.simulation.virtual_time import simulated
from tests.unit.fanout.groups import GroupLog
from tests.unit.fanout.test_group_fanout import inbox_of, session_of
from tidings import ids
from tidings.topics import DELIVER, DELIVERIES, EXPAND, MESSAGES_PERSISTED
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, SeqCount
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.persisted_pb2 import Persisted

USERS = [f"user{number}" for number in range(10)]


async def persist(line: Scenario, group: GroupLog, *records: Persisted) -> None:
    """As the persister does: the versions stand in the tables before the records are on the log."""
    await line.store.write(group.rows_up_to(group.seq))
    partition = ids.partition_of(group.session_id, line.sizes.session_partitions)
    for record in records:
        line.append(MESSAGES_PERSISTED, partition, record.SerializeToString())


def check_group(line: Scenario, group: GroupLog) -> None:
    for user in USERS:
        assert inbox_of(line.store, user, group.session_id) == group.inboxes[user]
        assert session_of(line.store, user, group.session_id) == group.sessions.get(user)


async def reach(line: Scenario, group: GroupLog, *records: Persisted) -> None:
    """Persist these; when they are delivered, all inboxes are right."""
    await persist(line, group, *records)
    await line.settled(EXPAND, DELIVER)
    check_group(line, group)


@pytest.mark.hazard("H5")
@scenario("fanout", users=2)
async def test_all_parts_of_a_group_message_reach_their_members(line: Scenario) -> None:
    group = GroupLog(recipients_per_part=3, write_diffusion_max=100)
    await reach(line, group, group.add(0, USERS), group.say(1), group.say(2))


@pytest.mark.hazard("H15")
@scenario()
async def test_gateways_get_a_removal_before_the_next_message(line: Scenario) -> None:
    """Deliver stands still: what a gateway does with r + 1 depends on nothing that comes through it."""
    group = GroupLog()
    line.start_gateway(0)
    line.start("expand")
    await persist(line, group, group.add(0, USERS))
    await persist(line, group, group.say(1), group.remove(2, "user3"), group.say(3), group.add(4, ["user3"]))
    await line.settled(EXPAND)
    messages = [(one.message.seq, list(one.left_ids), list(one.joined_ids)) for one in line.pushed("message", 0)]
    assert messages == [(1, [], USERS), (2, [], []), (3, ["user3"], []), (4, [], []), (5, [], ["user3"])]
    assert [list(one.member_ids) for one in line.pushed("message", 0)] == [USERS, [], [], [], []]
    line.start("deliver")
    await reach(line, group)


@pytest.mark.hazard("H16")
@scenario()
async def test_switch_back_to_inboxes_sends_no_message_both_ways(line: Scenario) -> None:
    group = GroupLog()
    line.start("fanout")
    await line.online("user0")
    records = [group.add(0, USERS[:5]), group.say(1), group.remove(2, "user4"), group.remove(3, "user3")]
    await persist(line, group, *records, group.say(4), group.say(5))
    await line.settled(EXPAND, DELIVER)
    to_all = [(one.message.seq, one.mode) for one in line.pushed("message", 0) if not one.user_ids]
    to_user = [(one.message.seq, one.inbox_seqs[0]) for one in line.pushed("message", 0) if "user0" in one.user_ids]
    # The first and the last only begin and end it at the gateways: by their mode they are not handed out.
    assert to_all == [(1, 1), (2, 2), (3, 2), (4, 1)]
    assert to_user == [(1, 1), (4, 2), (5, 3), (6, 4)]
    switches = [one for one in line.pushed("message", 0) if one.message.seq == 4]
    assert [(one.mode_from, one.mode_to) for one in switches] == [(2, 1), (2, 1)]
    check_group(line, group)


@pytest.mark.hazard("H34")
@pytest.mark.parametrize("users", [1, 2])
@pytest.mark.parametrize("fault", [ProduceFault.PARTIAL, ProduceFault.UNCONFIRMED, ProduceFault.LOST])
@simulated
async def test_next_owner_cuts_a_half_emitted_group_message_alike(fault: ProduceFault, users: int) -> None:
    group = GroupLog(recipients_per_part=3, write_diffusion_max=100)
    async with running(users=users) as line:
        first = line.start("expand")
        await persist(line, group, group.add(0, reversed(USERS)))
        await line.settled(EXPAND)
        line.log_faults.script_produce(fault)
        first.stop_before(second(produces_to(DELIVERIES)))
        await persist(line, group, group.say(1), group.remove(2, "user5"))
        await first.dies()
        line.start("fanout")
        group.recipients_per_part = 2
        await reach(line, group, group.say(3))
        emitted = [Delivery.FromString(record.value or b"").inbox_item for record in line.records(DELIVERIES)]
        parts = {(one.source.offset, one.source.part, tuple(one.recipient_ids)) for one in emitted}
        places = {(offset, part, ids.partition_of(some[0], users)) for offset, part, some in parts}
        assert len(parts) == len(places), "one part was cut in two ways"


@scenario("persister", sessions=2)
async def test_unreadable_members_hold_up_their_own_partition_alone(line: Scenario) -> None:
    group = GroupLog(_elsewhere("d:alice:alice"))
    await line.stored(post("m1", session_id="d:alice:alice"))
    await persist(line, group, group.add(0, USERS[:3]), group.say(1))
    line.store_faults.script_failed_reads(1)
    line.start("expand")
    await line.until(lambda: len(line.records(DELIVERIES)) > 0)
    assert line.store.calls["member_page"] == 1
    assert [_session_of(record.value) for record in line.records(DELIVERIES)] == ["d:alice:alice"]
    line.start("deliver")
    await reach(line, group)


def _elsewhere(session_id: str) -> str:
    """A group of the other one of two session partitions."""
    names = (f"g:{number}" for number in range(100))
    return next(name for name in names if ids.partition_of(name, 2) != ids.partition_of(session_id, 2))


def _session_of(value: bytes | None) -> str:
    return Delivery.FromString(value or b"").inbox_item.message.session_id


@scenario("fanout", sessions=2)
async def test_group_without_member_rows_stops_its_partition(line: Scenario) -> None:
    group, other = GroupLog(_elsewhere("g:other")), GroupLog("g:other")
    record = group.add(0, USERS[:3])
    line.append(MESSAGES_PERSISTED, ids.partition_of(group.session_id, 2), record.SerializeToString())
    await persist(line, other, other.add(1, USERS[:3]), other.say(2))
    await line.until(lambda: partitions_stopped("expand") == 1)
    await line.settled(DELIVER)
    assert not inbox_of(line.store, "user0", group.session_id)
    check_group(line, other)
    assert line.committed(EXPAND, MESSAGES_PERSISTED, ids.partition_of(group.session_id, 2)) == 0


@scenario()
async def test_members_of_many_slow_pages_are_read(line: Scenario) -> None:
    """Law 12 is about one await: a group with many versions of members would else block its partition permanently."""
    group = GroupLog(write_diffusion_max=100)
    slow(line.store, "member_page", 1.5)
    with patch.object(expand_worker, "_PAGE_MEMBERS", 1):
        await persist(line, group, group.add(0, USERS), group.say(1))
        line.start("fanout")
        await line.settled(EXPAND, DELIVER)
    check_group(line, group)


@scenario()
async def test_assignment_lost_while_members_are_read_ends_the_round(line: Scenario) -> None:
    group = GroupLog()
    first = line.start("expand")
    await persist(line, group, group.add(0, USERS[:3]))
    await line.settled(EXPAND)
    direct, other = group.say(1), GroupLog("g:other")
    to_load = other.add(2, USERS[:3])
    await persist(line, other)
    reads, answers = line.store.calls["member_page"], held_up(line.store, "member_page")
    await persist(line, group, direct, to_load)  # of one round, in which only the second has members to read
    await line.until(lambda: line.store.calls["member_page"] > reads)
    del line.store.member_page  # other owners get answers
    first.expire()
    line.start("deliver")
    successor = line.start("expand")
    await line.settled(EXPAND)
    successor.stopping.set()
    first.rejoin()
    await asyncio.sleep(8)  # the drain of the old round is given up, and the partition has come back
    answers.set()
    await reach(line, group)


@scenario()
async def test_repeated_round_pushes_to_no_gateway_twice(line: Scenario) -> None:
    group = GroupLog()
    line.start_gateway(0)
    line.start("expand")
    await persist(line, group, group.add(0, USERS[:6]))
    await line.settled(EXPAND)
    line.log_faults.script_produce(ProduceFault.LOST)  # the delivery to the one removed; the hint goes out after it
    await persist(line, group, group.remove(1, "user5"))
    await line.settled(EXPAND)
    line.start("deliver")
    await line.settled(DELIVER)
    assert [one.message.seq for one in line.pushed("message", 0)] == [1, 2]
    check_group(line, group)


@scenario("expand")
async def test_new_owner_finds_all_tails_of_a_group_in_few_reads(line: Scenario) -> None:
    users = [f"user{number:03d}" for number in range(300)]
    group = GroupLog(write_diffusion_max=500)
    first = line.start("deliver")
    await persist(line, group, group.add(0, users))
    await line.settled(EXPAND, DELIVER)
    first.stop_before(lambda call, _: call == "commit")
    await persist(line, group, group.say(1))
    await first.dies()
    line.store.calls.clear()
    line.start("deliver")
    await line.settled(DELIVER)
    assert line.store.calls["newest_inbox_rows"] <= 4
    assert all(inbox_of(line.store, user, group.session_id) == group.inboxes[user] for user in users)


@scenario()
async def test_group_pushes_go_to_running_gateways_alone(line: Scenario) -> None:
    group = GroupLog()
    first, second_epoch = line.start_gateway(0), line.start_gateway(1)
    goodbye = GatewayEvent(gateway=1, state=GatewayEvent.STATE_GOODBYE, gateway_epoch=second_epoch)
    line.append("gateways", 0, goodbye.SerializeToString(), b"1")
    await persist(line, group, group.add(0, USERS), group.say(1))
    line.start("expand")
    await line.settled(EXPAND)
    assert [(push.gateway_epoch, push.message.message.seq) for push in line.pushes(0)] == [(first, 1), (first, 2)]
    assert not line.pushes(1)


@scenario(users=2)
async def test_end_of_a_large_group_reaches_inboxes_and_gateways(line: Scenario) -> None:
    group = GroupLog()
    line.start_gateway(0)
    line.start("fanout")
    await persist(line, group, group.add(0, USERS), group.say(1), group.dissolve(2))
    await line.settled(EXPAND, DELIVER)
    assert [(one.message.seq, one.dissolves) for one in line.pushed("message", 0)] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    check_group(line, group)


@scenario()
async def test_counts_of_receipts_are_pushed_to_their_author(line: Scenario) -> None:
    line.start("deliver")
    await line.online("alice")
    counts = GroupCounts(session_id="g:team", recipient_id="alice", counts=[SeqCount(seq=3, delivered=2, read=1)])
    offline = GroupCounts(session_id="g:team", recipient_id="bob")
    for one in (counts, offline):
        line.append(DELIVERIES, 0, Delivery(group_counts=one).SerializeToString())
    await line.settled(DELIVER)
    assert line.pushed("group_counts", 0) == [counts]
