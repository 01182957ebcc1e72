"""The users that get a push of a read-diffusion group, case by case; test_tracker_any_order.py has the rest."""

from typing import Any

import pytest

from services.gateway.large_groups.tracker import MAX_TRACKED_GROUPS, GroupTracker
from tests.unit.gateway.large_groups.pushes import (
    GROUP,
    HEADS,
    READ,
    WRITE,
    connected,
    crossing,
    ending,
    group_row,
    learn,
    learned,
    member_row,
    push,
)
from tidings.store.rows import MODE_WRITE
from tidings.wire.common_pb2 import Message
from tidings.wire.push_pb2 import PushedMessage


def test_connected_members_get_a_push_without_user_ids() -> None:
    groups = learned("ann", "bob")
    groups.add_user("eve")
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.apply_push(push(10, "ann")) == []
    groups.remove_user("ann")
    assert groups.apply_push(push(11)) == ["bob"]


def test_inbox_push_of_a_group_log_message_changes_nothing() -> None:
    groups = learned("ann", "bob")
    assert groups.apply_push(push(11, "bob")) == []
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.apply_push(push(11)) == ["ann", "bob"]
    assert groups.take_unverified() == ()


def test_removed_member_gets_the_removal_and_no_later_message() -> None:
    groups = learned("ann", "bob")
    assert groups.apply_push(push(10, left=("bob",))) == ["ann", "bob"]
    assert groups.apply_push(push(11)) == ["ann"]


def test_joining_member_gets_the_joining_and_no_earlier_message() -> None:
    groups = learned("ann")
    groups.add_user("bob")
    assert groups.apply_push(push(10, joined=("bob", "stranger"))) == ["ann", "bob"]
    assert groups.apply_push(push(9)) == ["ann"]


@pytest.mark.hazard("H35")
def test_removal_pushed_during_a_read_outlasts_the_read() -> None:
    groups = connected("bob")
    visit = groups.generation("bob")
    groups.apply_push(push(10, left=("bob",)))
    groups.apply_versions(visit, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    assert groups.apply_push(push(11)) == []
    assert groups.read_sessions_of("bob") == []


def test_late_pushes_are_handed_out_up_to_the_leaving() -> None:
    groups = connected("bob")
    learn(groups, member_row("bob", 8, 5, left_seq=8))
    assert groups.apply_push(push(4)) == []
    assert groups.apply_push(push(5, joined=("bob",))) == ["bob"]
    assert groups.apply_push(push(8, left=("bob",))) == ["bob"]
    assert groups.apply_push(push(9)) == []


@pytest.mark.hazard("H15")
def test_removal_by_inbox_first_keeps_earlier_messages() -> None:
    groups = learned("ann", "bob")
    for _ in range(2):
        groups.apply_push(push(12, "bob", left=("bob",)))
    assert groups.read_sessions_of("bob") == []
    assert groups.apply_push(push(10)) == groups.apply_push(push(11)) == ["ann", "bob"]
    assert groups.apply_push(push(12, left=("bob",))) == ["ann", "bob"]
    assert groups.apply_push(push(13)) == ["ann"]


def test_group_end_by_inbox_first_keeps_earlier_messages() -> None:
    groups = learned("ann")
    last = ending(11, "ann")
    groups.apply_push(last)
    assert groups.apply_push(push(10)) == ["ann"]
    assert groups.apply_push(push(12)) == []


def test_leaving_before_a_known_later_end_means_two_memberships() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(14, "bob", left=("bob",)))
    assert groups.apply_push(push(10, left=("bob",))) == ["ann", "bob"]
    assert groups.apply_push(push(11)) == ["ann"]
    assert groups.apply_push(push(12, joined=("bob",))) == ["ann"]
    assert groups.apply_push(push(14, left=("bob",))) == []
    learn(groups, member_row("bob", 14, 12, left_seq=14), 14)
    assert groups.apply_push(push(13)) == ["bob"]


def test_later_joining_from_tables_without_the_end_counts() -> None:
    groups = learned("bob")
    groups.apply_push(push(14, "bob", left=("bob",)))
    learn(groups, member_row("bob", 12, 12), 12)
    assert groups.apply_push(push(11)) == []
    assert groups.apply_push(push(13)) == ["bob"]


def test_end_of_the_group_does_not_verify_a_membership() -> None:
    groups = learned("bob")
    last = ending(12)
    assert groups.apply_push(last) == []
    learn(groups, member_row("bob", 10, 5, 10), 12, of=group_row(12, member_count=0))
    assert groups.apply_push(last) == []


def test_mode_switch_does_not_set_joined_seq_of_its_members() -> None:
    groups = learned("bob")
    groups.apply_push(crossing(10, WRITE))
    assert groups.apply_push(push(13)) == []
    groups.apply_push(crossing(17, READ, "bob"))
    assert groups.apply_push(push(13)) == []
    assert groups.apply_push(push(18)) == ["bob"]


def test_former_member_does_not_get_the_end_of_the_group() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(10, left=("bob",)))
    last = ending(11)
    assert groups.apply_push(last) == groups.apply_push(last) == ["ann"]


def test_switch_to_write_by_inbox_first_keeps_earlier_messages() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(crossing(11, WRITE, "ann"))
    assert groups.read_sessions_of("ann") == []
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.apply_push(crossing(11, WRITE)) == []
    assert groups.apply_push(push(12)) == []


def test_membership_known_by_its_end_only_gets_no_messages() -> None:
    """It may have begun anywhere after the first."""
    groups = learned("bob")
    assert groups.apply_push(push(10, left=("bob",))) == ["bob"]
    groups.apply_push(push(14, "bob", left=("bob",)))
    assert groups.apply_push(push(11)) == groups.apply_push(push(12)) == []
    assert groups.apply_push(push(13, joined=("bob",))) == []
    assert groups.apply_push(push(14, left=("bob",))) == ["bob"]


def test_read_of_an_older_connection_generation_is_ignored() -> None:
    groups = connected("bob")
    visit = groups.generation("bob")
    groups.remove_user("bob")
    groups.apply_push(push(10, left=("bob",)))
    groups.add_user("bob")
    groups.apply_versions(visit, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    groups.apply_versions(0, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    assert groups.apply_push(push(11)) == []


def test_group_tracker_memory_is_bounded_per_user() -> None:
    groups = learned("ann", "bob")
    visit = groups.generation("bob")
    for number in range(MAX_TRACKED_GROUPS):
        for pushed in (push(1, "bob", mode=WRITE, joined=("bob",)), push(2, "bob", mode=WRITE, left=("bob",))):
            pushed.message.session_id = f"g:made-{number}"
            groups.apply_push(pushed)
        assert len(groups.tracked_sessions("bob")) <= MAX_TRACKED_GROUPS
    assert groups.generation("bob") != visit
    assert groups.take_unverified() == ("bob",)
    assert groups.apply_push(push(10)) == ["ann"]
    learn(groups, member_row("bob", 5, 5), 10)
    assert groups.apply_push(push(11)) == ["ann", "bob"]


def test_second_connection_keeps_the_connection_generation() -> None:
    groups = learned("ann")
    visit = groups.generation("ann")
    groups.add_user("ann")
    assert groups.generation("ann") == visit
    assert groups.apply_push(push(10)) == ["ann"]


def test_mode_switch_names_the_readers_of_the_group_log() -> None:
    groups = connected("ann", "bob")
    assert groups.apply_push(crossing(7, READ, "ann")) == []
    assert groups.apply_push(push(8)) == ["ann"]
    assert groups.read_sessions_of("ann") == [GROUP]


@pytest.mark.promise("G6")
@pytest.mark.hazard("H15")
def test_mode_switch_in_the_group_log_names_all_members() -> None:
    groups = connected("ann", "eve")
    switch = crossing(7, READ)
    switch.member_ids.extend(["ann", "bob"])
    assert groups.apply_push(switch) == []
    assert groups.apply_push(push(8)) == ["ann"]
    groups.apply_push(crossing(7, READ, "ann"))
    assert groups.apply_push(push(9)) == ["ann"]
    assert groups.take_unverified() == ()


def test_member_missing_from_the_mode_switch_gets_no_messages() -> None:
    """A removal in write diffusion was lost on its way."""
    groups = learned("ann", "bob")
    groups.apply_push(crossing(10, WRITE))
    switch = crossing(13, READ)
    switch.member_ids.append("ann")
    groups.apply_push(switch)
    assert groups.apply_push(push(14)) == ["ann"]


def test_mode_switch_after_group_pushes_means_missed_messages() -> None:
    groups = connected("ann")
    assert groups.apply_push(push(8)) == groups.apply_push(push(9)) == []
    assert groups.take_unverified() == ()
    groups.apply_push(crossing(7, READ, "ann"))
    assert groups.take_unverified() == ("ann",)
    learn(groups, member_row("ann", 5, 5), of=group_row(7))
    assert groups.apply_push(push(10)) == ["ann"]
    assert groups.take_unverified() == ()


def test_joining_by_inbox_only_means_missed_messages() -> None:
    groups = learned("bob")
    groups.add_user("ann")
    groups.apply_push(push(11))
    groups.take_unverified()
    groups.apply_push(push(10, "ann", joined=("ann",)))
    assert groups.take_unverified() == ("ann",)


def test_mode_switch_in_time_means_no_missed_message() -> None:
    groups = connected("ann")
    groups.apply_push(crossing(7, READ, "ann"))
    assert groups.apply_push(push(8)) == ["ann"]
    assert groups.take_unverified() == ()


def test_write_diffusion_leaves_no_reader_of_the_group_log() -> None:
    groups = learned("ann", "bob")
    assert groups.apply_push(crossing(10, WRITE)) == []
    assert groups.read_sessions_of("ann") == groups.read_sessions_of("bob") == []
    learn(groups, member_row("ann", 5, 5))
    assert groups.read_sessions_of("ann") == []
    groups.apply_push(crossing(12, READ, "ann"))
    assert groups.apply_push(push(13)) == ["ann"]


def test_a_dissolved_group_has_no_members() -> None:
    groups = learned("ann", "bob")
    last = ending(10)
    assert groups.apply_push(last) == ["ann", "bob"]
    learn(groups, member_row("ann", 5, 5))
    assert groups.apply_push(push(11)) == []
    groups = connected("ann")
    learn(groups, member_row("ann", 5, 5), of=group_row(10, member_count=0))
    assert groups.apply_push(push(11)) == []


def test_lost_pushes_hold_back_messages_until_the_next_read() -> None:
    groups = learned("ann", "bob")
    visit = groups.generation("bob")
    groups.invalidate()
    assert groups.apply_push(push(10)) == []
    groups.apply_versions(visit, [(group_row(9), member_row("bob", 5, 5))], HEADS)
    learn(groups, member_row("ann", 5, 5), 10)
    assert groups.apply_push(push(11)) == ["ann"]


def test_gap_in_pushes_holds_back_messages_until_the_next_read() -> None:
    """It may have been a removal (G10)."""
    groups = learned("ann", "bob")
    assert groups.apply_push(push(10)) == ["ann", "bob"]
    assert groups.take_unverified() == ()
    assert groups.apply_push(push(12)) == []
    assert sorted(groups.take_unverified()) == ["ann", "bob"]
    assert groups.take_unverified() == ()
    learn(groups, member_row("ann", 5, 5), 12)
    learn(groups, member_row("bob", 11, 5, left_seq=11), 12)
    assert groups.apply_push(push(13)) == ["ann"]
    assert groups.take_unverified() == ()


def test_views_of_disconnected_users_are_dropped() -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(10, left=("bob",)))
    for user_id in ("ann", "bob", "bob"):
        groups.remove_user(user_id)
    assert not groups._groups
    assert not groups._sessions_of
    assert not groups._generations


def test_group_named_by_the_inbox_is_expected_once() -> None:
    groups = GroupTracker()
    assert not groups.expect("ann", GROUP)
    groups.add_user("ann")
    assert [groups.expect("ann", GROUP) for _ in range(2)] == [True, False]
    assert groups.tracked_sessions("ann") == (GROUP,)


def kept_for_no_user(groups: GroupTracker, *seqs: int) -> list[bool]:
    return [groups.is_delivered_ignored("ann", GROUP, seq) for seq in seqs]


def test_delivered_is_ignored_only_for_a_member_without_a_gap() -> None:
    groups = learned("ann", "bob")
    assert kept_for_no_user(groups, 9, 10) == [False, False]
    groups.apply_push(push(10))
    assert kept_for_no_user(groups, 9, 10, 11) == [False, True, False]
    groups.apply_push(push(12))
    assert kept_for_no_user(groups, 10, 12) == [False, False]


@pytest.mark.parametrize("ends", [push(11, left=("ann",)), push(11, "ann", left=("ann",))])
def test_delivered_of_a_former_member_is_not_ignored(ends: Any) -> None:
    groups = learned("ann", "bob")
    groups.apply_push(push(10))
    groups.apply_push(ends)
    assert kept_for_no_user(groups, 10) == [False]


def test_delivered_of_an_unconnected_user_is_not_ignored() -> None:
    groups = learned("bob")
    groups.apply_push(push(10))
    assert kept_for_no_user(groups, 10) == [False]


def test_delivered_is_ignored_from_the_mode_switch_on() -> None:
    groups = connected("ann")
    learn(groups, member_row("ann", 5, 5), 9, of=group_row(9, mode=MODE_WRITE))
    begins = crossing(10, READ)
    begins.member_ids.append("ann")
    groups.apply_push(begins)
    groups.apply_push(push(11))
    assert kept_for_no_user(groups, 9, 10, 11) == [False, True, True]


def test_range_that_was_first_known_is_evicted_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.large_groups.tracker._MAX_RANGES", 2)
    groups = GroupTracker()
    for session_id, seq in (("g:1", 1), ("g:2", 1), ("g:1", 9), ("g:3", 1)):
        groups.apply_push(PushedMessage(message=Message(session_id=session_id, seq=seq), mode=READ))
    assert groups._ranges.keys() == {"g:2", "g:3"}
