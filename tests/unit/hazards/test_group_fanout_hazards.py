"""Hazards at expand and deliver, for groups, whose records are put on messages.persisted as the persister does."""

import asyncio
from collections.abc import Sequence
from unittest.mock import patch

import pytest

from services.fanout import expand_worker
from tests.faults.drawn import LogFaults, ProduceFault, StoreFaults
from tests.simulation.virtual_time import simulated
from tests.unit.fanout.groups import GroupLog
from tests.unit.fanout.test_group_fanout import inbox_of, session_of
from tests.unit.hazards.owners import produces_to, second
from tests.unit.hazards.pipeline import Pipeline, pipeline, post
from tests.unit.hazards.test_persister_hazards import stopped
from tidings import ids
from tidings.store.rows import MemberRow
from tidings.topics import DELIVER, DELIVERIES, EXPAND, MESSAGES_PERSISTED, PERSISTER
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, SeqCount
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.push_pb2 import PushedMessage

USERS = [f"user{number}" for number in range(10)]


async def persist(line: Pipeline, group: GroupLog, *records: Persisted) -> None:
    """As the persister does: the versions stand in the tables before the records are on the log."""
    await line.store.write(group.rows_up_to(group.seq))
    partition = ids.partition_of(group.session_id, line.sizes.session_partitions)
    for record in records:
        line.append(MESSAGES_PERSISTED, partition, record.SerializeToString())


def messages(line: Pipeline, gateway: int = 0) -> list[PushedMessage]:
    return [push.message for push in line.pushes(gateway) if push.HasField("message")]


def check_group(line: Pipeline, group: GroupLog) -> None:
    for user in USERS:
        assert inbox_of(line.store, user, group.session_id) == group.inboxes[user]
        assert session_of(line.store, user, group.session_id) == group.sessions.get(user)


@pytest.mark.hazard("H5")
@simulated
async def test_h5_all_parts_of_a_message_to_a_group_reach_their_members() -> None:
    group = GroupLog(recipients_per_part=3, write_diffusion_max=100)
    async with pipeline(users=2) as line:
        line.fanout()
        await persist(line, group, group.add(0, USERS), group.say(1), group.say(2))
        await line.settled(EXPAND, DELIVER)
        check_group(line, group)


@pytest.mark.hazard("H15")
@simulated
async def test_h15_gateways_hear_of_a_removal_before_the_next_message_and_not_through_inboxes() -> None:
    """Deliver stands still: what a gateway does with r + 1 depends on nothing that comes through it."""
    group = GroupLog()
    async with pipeline() as line:
        line.start_gateway(0)
        line.expand()
        await persist(line, group, group.add(0, USERS))
        await persist(line, group, group.say(1), group.remove(2, "user3"), group.say(3), group.add(4, ["user3"]))
        await line.settled(EXPAND)
        told = [(one.message.seq, list(one.left_ids), list(one.joined_ids)) for one in messages(line)]
        assert told == [(1, [], USERS), (2, [], []), (3, ["user3"], []), (4, [], []), (5, [], ["user3"])]
        assert [list(one.member_ids) for one in messages(line)] == [USERS, [], [], [], []]
        line.deliver()
        await line.settled(EXPAND, DELIVER)
        check_group(line, group)


@pytest.mark.hazard("H16")
@simulated
async def test_h16_at_the_switch_back_to_inboxes_no_message_goes_both_ways() -> None:
    group = GroupLog()
    async with pipeline() as line:
        epoch = line.start_gateway(0)
        line.fanout()
        line.presence("user0", "c1", 0, epoch)
        await asyncio.sleep(1)
        records = [group.add(0, USERS[:5]), group.say(1), group.remove(2, "user4"), group.remove(3, "user3")]
        await persist(line, group, *records, group.say(4), group.say(5))
        await line.settled(EXPAND, DELIVER)
        to_all = [(one.message.seq, one.mode) for one in messages(line) if not one.user_ids]
        to_user = [(one.message.seq, one.inbox_seqs[0]) for one in messages(line) if "user0" in one.user_ids]
        # The first and the last only begin and end it at the gateways: by their mode they are not handed out.
        assert to_all == [(1, 1), (2, 2), (3, 2), (4, 1)]
        assert to_user == [(1, 1), (4, 2), (5, 3), (6, 4)]
        switches = [one for one in messages(line) if one.message.seq == 4]
        assert [(one.mode_from, one.mode_to) for one in switches] == [(2, 1), (2, 1)]
        check_group(line, group)


@pytest.mark.hazard("H34")
@pytest.mark.parametrize("users", [1, 2])
@pytest.mark.parametrize("fault", [ProduceFault.PARTIAL, ProduceFault.UNCONFIRMED, ProduceFault.LOST])
@simulated
async def test_h34_another_owner_cuts_a_half_emitted_message_to_a_group_alike(fault: ProduceFault, users: int) -> None:
    faults = LogFaults()
    group = GroupLog(recipients_per_part=3, write_diffusion_max=100)
    async with pipeline(users=users, log_faults=faults) as line:
        first = line.expand()
        await persist(line, group, group.add(0, reversed(USERS)))
        await line.settled(EXPAND)
        faults.script_produce(fault)
        first.pause_before(second(produces_to(DELIVERIES)))
        await persist(line, group, group.say(1), group.remove(2, "user5"))
        await first.paused()
        first.kill()
        line.fanout()
        group.recipients_per_part = 2
        await persist(line, group, group.say(3))
        await line.settled(EXPAND, DELIVER)
        check_group(line, group)
        emitted = [Delivery.FromString(record.value or b"").inbox_item for record in line.records(DELIVERIES)]
        parts = {(one.source.offset, one.source.part, tuple(one.recipient_ids)) for one in emitted}
        places = {(offset, part, ids.partition_of(some[0], users)) for offset, part, some in parts}
        assert len(parts) == len(places), "one part was cut in two ways"


@simulated
async def test_members_that_cannot_be_read_hold_up_their_own_partition_only_and_are_read_again() -> None:
    faults = StoreFaults()
    group = GroupLog(_elsewhere("d:alice:alice"))
    async with pipeline(sessions=2, store_faults=faults) as line:
        line.persister()
        line.publish(post("m1", session_id="d:alice:alice"))
        await line.settled(PERSISTER)
        await persist(line, group, group.add(0, USERS[:3]), group.say(1))
        faults.script_failed_reads(1)
        line.expand()
        await line.until(lambda: len(line.records(DELIVERIES)) > 0)
        assert line.store.calls["member_page"] == 1
        assert [_session_of(record.value) for record in line.records(DELIVERIES)] == ["d:alice:alice"]
        line.deliver()
        await line.settled(EXPAND, DELIVER)
        check_group(line, group)


def _elsewhere(session_id: str) -> str:
    """A group of the other one of two session partitions."""
    names = (f"g:{number}" for number in range(100))
    return next(name for name in names if ids.partition_of(name, 2) != ids.partition_of(session_id, 2))


def _session_of(value: bytes | None) -> str:
    return Delivery.FromString(value or b"").inbox_item.message.session_id


@simulated
async def test_h19_a_group_without_any_member_row_stops_its_partition_and_nothing_of_it_goes_on() -> None:
    group, other = GroupLog(_elsewhere("g:other")), GroupLog("g:other")
    async with pipeline(sessions=2) as line:
        line.fanout()
        record = group.add(0, USERS[:3])
        line.append(MESSAGES_PERSISTED, ids.partition_of(group.session_id, 2), record.SerializeToString())
        await persist(line, other, other.add(1, USERS[:3]), other.say(2))
        await line.until(lambda: stopped("expand") == 1)
        await line.settled(DELIVER)
        assert not inbox_of(line.store, "user0", group.session_id)
        check_group(line, other)
        assert line.committed(EXPAND, MESSAGES_PERSISTED, ids.partition_of(group.session_id, 2)) == 0


@simulated
async def test_members_of_very_many_pages_are_read_however_long_all_of_them_take_together() -> None:
    """Law 12 is about one await: a group whose members have many versions would else hold up its partition for ever."""
    group = GroupLog(write_diffusion_max=100)
    async with pipeline() as line:
        read = line.store.member_page

        async def slowly(session_id: str, seq: int, after: str, limit: int) -> tuple[Sequence[MemberRow], str | None]:
            await asyncio.sleep(1.5)
            return await read(session_id, seq, after, limit)

        line.store.member_page = slowly  # type: ignore[method-assign]
        with patch.object(expand_worker, "_PAGE_MEMBERS", 1):
            await persist(line, group, group.add(0, USERS), group.say(1))
            line.fanout()
            await line.settled(EXPAND, DELIVER)
        check_group(line, group)


@simulated
async def test_an_assignment_that_goes_while_members_are_read_ends_the_round() -> None:
    group = GroupLog()
    async with pipeline() as line:
        slow = line.expand()
        await persist(line, group, group.add(0, USERS[:3]))
        await line.settled(EXPAND)
        direct = group.say(1)
        other = GroupLog("g:other")
        slow.pause_before(lambda call, what: call == "answer" and what == "member_page")
        await persist(line, group, direct)
        await persist(line, other, other.add(2, USERS[:3]))
        await slow.paused()
        slow.expire()
        line.fanout()
        rejoining = asyncio.create_task(slow.rejoin())
        await asyncio.sleep(8)  # the drain of the old round is given up
        slow.resume()
        await line.until(rejoining.done)
        await line.settled(EXPAND, DELIVER)
        check_group(line, group)


@simulated
async def test_a_repeated_round_tells_no_gateway_twice() -> None:
    faults = LogFaults()
    group = GroupLog()
    async with pipeline(log_faults=faults) as line:
        line.start_gateway(0)
        line.expand()
        await persist(line, group, group.add(0, USERS[:6]))
        await line.settled(EXPAND)
        faults.script_produce(ProduceFault.LOST)  # the delivery to the one removed; the hint goes out after it
        await persist(line, group, group.remove(1, "user5"))
        await line.settled(EXPAND)
        line.deliver()
        await line.settled(DELIVER)
        assert [one.message.seq for one in messages(line)] == [1, 2]
        check_group(line, group)


@simulated
async def test_a_new_owner_finds_the_tails_of_a_whole_group_in_few_reads() -> None:
    users = [f"user{number:03d}" for number in range(300)]
    group = GroupLog(write_diffusion_max=500)
    async with pipeline() as line:
        line.expand()
        first = line.deliver()
        await persist(line, group, group.add(0, users))
        await line.settled(EXPAND, DELIVER)
        first.pause_before(lambda call, _: call == "commit")
        await persist(line, group, group.say(1))
        await first.paused()
        first.kill()
        line.store.calls.clear()
        line.deliver()
        await line.settled(DELIVER)
        assert line.store.calls["newest_inbox_rows"] <= 4
        assert all(inbox_of(line.store, user, group.session_id) == group.inboxes[user] for user in users)


@simulated
async def test_every_gateway_that_runs_is_told_and_none_that_said_goodbye() -> None:
    group = GroupLog()
    async with pipeline() as line:
        first, second_epoch = line.start_gateway(0), line.start_gateway(1)
        goodbye = GatewayEvent(gateway=1, state=GatewayEvent.STATE_GOODBYE, gateway_epoch=second_epoch)
        line.append("gateways", 0, goodbye.SerializeToString(), b"1")
        await persist(line, group, group.add(0, USERS), group.say(1))
        line.expand()
        await line.settled(EXPAND)
        assert [(push.gateway_epoch, push.message.message.seq) for push in line.pushes(0)] == [(first, 1), (first, 2)]
        assert not line.pushes(1)


@simulated
async def test_the_end_of_a_large_group_reaches_every_inbox_and_every_gateway() -> None:
    group = GroupLog()
    async with pipeline(users=2) as line:
        line.start_gateway(0)
        line.fanout()
        await persist(line, group, group.add(0, USERS), group.say(1), group.dissolve(2))
        await line.settled(EXPAND, DELIVER)
        assert [(one.message.seq, one.dissolves) for one in messages(line)] == [(1, False), (2, False), (3, True)]
        check_group(line, group)


@simulated
async def test_counts_of_receipts_are_pushed_to_their_author() -> None:
    async with pipeline() as line:
        epoch = line.start_gateway(0)
        line.deliver()
        line.presence("alice", "c1", 0, epoch)
        await asyncio.sleep(1)
        counts = GroupCounts(session_id="g:team", recipient_id="alice", counts=[SeqCount(seq=3, delivered=2, read=1)])
        nobody = GroupCounts(session_id="g:team", recipient_id="bob")
        for one in (counts, nobody):
            line.append(DELIVERIES, 0, Delivery(group_counts=one).SerializeToString())
        await line.settled(DELIVER)
        assert [push.group_counts for push in line.pushes(0) if push.HasField("group_counts")] == [counts]
