"""What is known of groups, and what becomes of a message by it."""

import pytest

from services.fanout.inbox import membership_rows
from services.fanout.members import Audience, Members
from services.fanout.plan import check, deliveries, group_log_pushes, recipients
from tests.unit.fanout.groups import GroupLog
from tests.unit.fanout.test_inbox import persisted
from tidings import ids
from tidings.errors import UnreadableRecord
from tidings.wire.common_pb2 import MODE_READ, MODE_UNSPECIFIED, MODE_WRITE
from tidings.wire.persisted_pb2 import Persisted

USERS = [f"user{number}" for number in range(40)]


def members(count: int, seq: int = 1) -> Members:
    return Members(seq, Audience(USERS[:count]))


def test_the_parts_of_a_group_are_cut_alike_whatever_way_its_members_became_known() -> None:
    group = GroupLog(recipients_per_part=3, write_diffusion_max=100)
    grown = Members(0, Audience(()))
    for start in range(0, 40, 4):
        added = group.add(start, reversed(USERS[start : start + 4]))
        grown = grown.after(added)
    loaded = Members(added.message.seq, Audience(USERS))
    said = group.say(50)
    planned = [
        [one.SerializeToString() for _, one in deliveries(said, known.after(said).recipients(said), 4)]
        for known in (grown, loaded)
    ]
    assert planned[0] == planned[1]


def test_who_is_removed_still_gets_the_message_that_says_so_and_no_later_one() -> None:
    group = GroupLog()
    group.add(0, USERS[:3])
    before = members(3)
    removed, said = group.remove(1, USERS[1]), group.say(2)
    after = before.after(removed)
    assert recipients(removed, after).users == set(USERS[:3])
    assert recipients(said, after.after(said)).users == {USERS[0], USERS[2]}


def test_in_read_diffusion_only_those_whom_the_message_is_about_get_it_in_the_inbox() -> None:
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:6])
    added, said, removed = group.add(1, USERS[6:8]), group.say(2), group.remove(3, USERS[0])
    assert [recipients(one, None).users for one in (added, said, removed)] == [set(USERS[6:8]), set(), {USERS[0]}]
    assert [len(list(group_log_pushes(one, None))) for one in (added, said, removed)] == [1] * 3


def test_in_read_diffusion_whom_a_message_names_has_it_in_the_inbox_too_and_the_list_of_sessions_stays() -> None:
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:6])
    named = group.name(1, USERS[2])
    audience = recipients(named, None)
    assert audience.users == {USERS[2]}
    assert len(list(group_log_pushes(named, None))) == 1
    ((_, delivery),) = deliveries(named, audience, user_partitions=1)
    assert not list(membership_rows(delivery.inbox_item, source_partition=0))


def test_in_write_diffusion_a_message_that_names_somebody_goes_to_all_members_once() -> None:
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:3])
    named = group.name(1, USERS[2])
    audience = recipients(named, members(3).after(named))
    ((_, delivery),) = deliveries(named, audience, user_partitions=1)
    assert sorted(delivery.inbox_item.recipient_ids) == USERS[:3]
    assert not list(membership_rows(delivery.inbox_item, source_partition=0))


def test_the_message_that_crosses_the_line_goes_to_inboxes_and_names_the_way_from_here_on() -> None:
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:4])
    crossing = group.add(1, [USERS[4]])
    after = members(4).after(crossing)
    ((_, delivery),) = deliveries(crossing, recipients(crossing, after), user_partitions=1)
    assert sorted(delivery.inbox_item.recipient_ids) == USERS[:5]
    assert (delivery.inbox_item.mode, delivery.inbox_item.mode_to) == (MODE_WRITE, MODE_READ)


def test_the_message_that_crosses_the_line_tells_gateways_all_members_in_line_in_parts() -> None:
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:4])
    crossing = group.add(1, [USERS[4]])
    crossing.stamps.recipients_per_part = 3
    told = list(group_log_pushes(crossing, members(4).after(crossing)))
    assert [list(one.member_ids) for one in told] == [USERS[:3], USERS[3:5]]
    assert {(one.mode, one.mode_to, tuple(one.user_ids)) for one in told} == {(MODE_WRITE, MODE_READ, ())}


def test_in_write_diffusion_gateways_are_told_nothing_in_line() -> None:
    group = GroupLog(write_diffusion_max=4)
    group.add(0, USERS[:3])
    said = group.say(1)
    assert not list(group_log_pushes(said, members(3).after(said)))


def _with(change: str) -> Persisted:
    record = persisted()
    match change:
        case "direct session with a bad id":
            record.message.session_id = "d:bob:alice"
        case "another kind of session":
            record.message.session_id = "x:1"
        case "no mode":
            record.mode = MODE_UNSPECIFIED
        case "direct session in read diffusion":
            record.mode = MODE_READ
        case "no size of parts":
            record.stamps.recipients_per_part = 0
    return record


@pytest.mark.parametrize(
    "change",
    [
        "direct session with a bad id",
        "another kind of session",
        "no mode",
        "direct session in read diffusion",
        "no size of parts",
    ],
)
def test_h19_what_cannot_be_planned_is_unreadable(change: str) -> None:
    check(persisted())
    with pytest.raises(UnreadableRecord):
        check(_with(change))


def test_h19_a_message_to_a_group_without_any_member_is_unreadable() -> None:
    group = GroupLog()
    group.add(0, USERS[:1])
    with pytest.raises(UnreadableRecord):
        recipients(group.say(1), Members(2, Audience(())))


def test_users_are_reached_where_they_live() -> None:
    for partition, users in Audience(USERS).by_partition(8):
        assert {ids.partition_of(user, 8) for user in users} == {partition}
