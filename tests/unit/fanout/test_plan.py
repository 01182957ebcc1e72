"""What becomes of a stored message: its recipients, its deliveries, and the pushes of the group log."""

import pytest

from services.fanout.inbox import membership_rows
from services.fanout.members import Audience, Members
from services.fanout.plan import check, deliveries, group_log_pushes, recipients
from tests.unit.fanout.groups import USERS, GroupLog, members
from tests.unit.fanout.items import persisted
from tidings import ids
from tidings.errors import UnreadableRecord
from tidings.wire.common_pb2 import MODE_READ, MODE_UNSPECIFIED, MODE_WRITE


def group_of(count: int) -> GroupLog:
    """A group of the first users; from five members on it is in read diffusion."""
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:count])
    return group


@pytest.mark.hazard("H5", "H34")
def test_parts_of_the_stamped_size_have_own_coordinates() -> None:
    users = [f"user{number}" for number in range(10)]
    planned = [
        (delivery.inbox_item.source.part, len(delivery.inbox_item.recipient_ids))
        for _, delivery in deliveries(persisted(recipients_per_part=4), Audience(users), user_partitions=1)
    ]
    assert planned == [(0, 4), (1, 4), (2, 2)]


def test_direct_message_reaches_both_user_partitions() -> None:
    reached = {
        user: partition
        for partition, delivery in deliveries(persisted(), Audience(["alice", "bob"]), 8)
        for user in delivery.inbox_item.recipient_ids
    }
    assert reached == {user: ids.partition_of(user, 8) for user in ("alice", "bob")}


def test_read_diffusion_inboxes_are_of_joined_and_left_users() -> None:
    group = group_of(6)
    added, said, removed = group.add(1, USERS[6:8]), group.say(2), group.remove(3, USERS[0])
    assert [recipients(one, None).users for one in (added, said, removed)] == [set(USERS[6:8]), set(), {USERS[0]}]
    assert [len(list(group_log_pushes(one, None))) for one in (added, said, removed)] == [1] * 3


def test_read_diffusion_inbox_of_a_named_user_lists_no_session() -> None:
    group = group_of(6)
    named = group.name(1, USERS[2])
    audience = recipients(named, None)
    assert audience.users == {USERS[2]}
    assert len(list(group_log_pushes(named, None))) == 1
    ((_, delivery),) = deliveries(named, audience, user_partitions=1)
    assert not list(membership_rows(delivery.inbox_item, source_partition=0))


def test_write_diffusion_of_a_named_user_goes_to_all_once() -> None:
    group = group_of(3)
    named = group.name(1, USERS[2])
    audience = recipients(named, members(3).after(named))
    ((_, delivery),) = deliveries(named, audience, user_partitions=1)
    assert sorted(delivery.inbox_item.recipient_ids) == USERS[:3]
    assert not list(membership_rows(delivery.inbox_item, source_partition=0))


def test_mode_switch_goes_to_inboxes_and_names_the_new_mode() -> None:
    group = group_of(4)
    crossing = group.add(1, [USERS[4]])
    after = members(4).after(crossing)
    ((_, delivery),) = deliveries(crossing, recipients(crossing, after), user_partitions=1)
    assert sorted(delivery.inbox_item.recipient_ids) == USERS[:5]
    assert (delivery.inbox_item.mode, delivery.inbox_item.mode_to) == (MODE_WRITE, MODE_READ)


def test_mode_switch_sends_gateways_all_members_in_parts() -> None:
    group = group_of(4)
    crossing = group.add(1, [USERS[4]])
    crossing.stamps.recipients_per_part = 3
    emitted = list(group_log_pushes(crossing, members(4).after(crossing)))
    assert [list(one.member_ids) for one in emitted] == [USERS[:3], USERS[3:5]]
    assert {(one.mode, one.mode_to, tuple(one.user_ids)) for one in emitted} == {(MODE_WRITE, MODE_READ, ())}


def test_write_diffusion_makes_no_push_of_the_group_log() -> None:
    group = group_of(3)
    said = group.say(1)
    assert not list(group_log_pushes(said, members(3).after(said)))


BROKEN = {
    "direct session with a bad id": lambda record: setattr(record.message, "session_id", "d:bob:alice"),
    "another kind of session": lambda record: setattr(record.message, "session_id", "x:1"),
    "no mode": lambda record: setattr(record, "mode", MODE_UNSPECIFIED),
    "direct session in read diffusion": lambda record: setattr(record, "mode", MODE_READ),
    "no size of parts": lambda record: setattr(record.stamps, "recipients_per_part", 0),
}


@pytest.mark.parametrize("change", BROKEN)
def test_h19_what_cannot_be_planned_is_unreadable(change: str) -> None:
    record = persisted()
    check(record)
    BROKEN[change](record)
    with pytest.raises(UnreadableRecord):
        check(record)


def test_h19_a_message_to_a_group_without_members_is_unreadable() -> None:
    group = GroupLog()
    group.add(0, USERS[:1])
    with pytest.raises(UnreadableRecord):
        recipients(group.say(1), Members(2, Audience(())))
