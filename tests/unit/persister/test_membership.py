"""Commands that change the members of a group: create, add, remove or leave, dissolve."""

import pytest

from services.persister.decisions import Accepted, Repeated, Unchanged
from services.persister.state import Draft
from tests.unit.persister.builders import DAY_MS, NOON_MS, Log, accepted, code, decided, group_command
from tests.unit.persister.group_builders import body, group, group_row
from tidings.store.rows import MODE_WRITE, ROLE_MEMBER, ROLE_OWNER
from tidings.wire.inbound_pb2 import (
    AddMembers,
    ChangeGroup,
    ChangeMember,
    CreateGroup,
    DissolveGroup,
    GroupSettings,
    RemoveMember,
    TransferGroup,
)

ADMINS_ADD = ChangeGroup(settings=GroupSettings(who_can_add="admins"))


def test_first_message_names_owner_members_and_settings() -> None:
    log = Log()
    made = log.stored(CreateGroup(name="crew", member_ids=["bob", "carol", "bob", "alice"]))
    assert made.stored.seq == 1
    assert body(made) == {
        "event": "group_created",
        "name": "crew",
        "owner": "alice",
        "members": ["alice", "bob", "carol"],
        "settings": {"share_history": False, "who_can_send": "all", "who_can_add": "all"},
    }
    change = made.entry.change
    assert (change.mode, change.mode_from, change.mode_to) == (MODE_WRITE, 0, 0)
    assert change.joined_ids == ("alice", "bob", "carol")
    row = group_row(made)
    assert (row.member_count, row.owner, row.as_of_seq) == (3, "alice", 1)
    assert [row.role for row in change.members] == [ROLE_OWNER, ROLE_MEMBER, ROLE_MEMBER]
    assert {(row.joined_seq, row.joined_count, row.left_seq, row.log_offset) for row in change.members} == {
        (1, 0, 0, 1)
    }


def test_second_creation_is_a_repeat_or_a_conflict() -> None:
    log = Log()
    first = accepted(log.take(group_command("c", CreateGroup(name="crew"))))
    assert log.take(group_command("c", CreateGroup(name="crew"))) == Repeated(first.stored)
    assert code(log.take(group_command("c", CreateGroup(name="other")))) == "conflict"
    assert code(log.take(group_command("d", CreateGroup(name="crew")))) == "conflict"
    assert log.draft.seq == 1


def test_users_that_block_the_creator_are_left_out() -> None:
    log = Log()
    log.group_members_max = 3
    asked = CreateGroup(name="crew", member_ids=["dora", "bob", "carl", "alice"], blocking_ids=["carl", "alice", "zoe"])
    made = log.stored(asked)
    assert body(made)["members"] == ["alice", "bob", "dora"]
    assert made.entry.change.joined_ids == ("alice", "bob", "dora")
    assert made.entry.change.left_out == (("carl", "user_blocked"),)
    assert group_row(made).member_count == 3
    assert code(log.post("carl")) == "session_not_found"


def test_a_group_that_would_be_too_large_is_not_created() -> None:
    log = Log()
    log.group_members_max = 3
    assert code(log.act(CreateGroup(name="crew", member_ids=["b", "c", "d"]))) == "group_full"
    assert log.draft.seq == 0
    log.stored(CreateGroup(name="crew", member_ids=["b", "c"]))


def test_leaving_twice_with_the_same_id_is_one_leave() -> None:
    log = group("bob")
    leave = group_command("leave", RemoveMember(user_id="bob"), "bob")
    first = accepted(log.take(leave))
    assert log.take(leave) == Repeated(first.stored)


def test_members_and_users_that_block_the_caller_are_left_out() -> None:
    log = group("bob")
    asked = AddMembers(user_ids=["zoe", "bob", "carl", "dora", "zoe"], blocking_ids=["carl", "bob"])
    added = log.stored(asked)
    assert body(added) == {"event": "members_added", "user_ids": ["zoe", "dora"], "mode": "write"}
    assert added.entry.change.joined_ids == ("zoe", "dora")
    assert added.entry.change.left_out == (("bob", "already_member"), ("carl", "user_blocked"))
    assert log.draft.group is not None
    assert log.draft.group.member_count == 4


def test_command_that_adds_no_user_stores_nothing() -> None:
    log = group("bob")
    sent = group_command("add", AddMembers(user_ids=["bob", "carl"], blocking_ids=["carl"]))
    assert log.take(sent) == Unchanged((("bob", "already_member"), ("carl", "user_blocked")))
    assert log.draft.seq == 1
    accepted(log.take(group_command("add", AddMembers(user_ids=["carl"]))))


def test_a_group_takes_no_more_members_than_the_stamp_allows() -> None:
    log = group("b")
    log.group_members_max = 4
    assert code(log.act(AddMembers(user_ids=["c", "d", "e"]))) == "group_full"
    log.stored(AddMembers(user_ids=["c", "d", "b"]))
    assert code(log.act(AddMembers(user_ids=["e"]))) == "group_full"
    assert isinstance(log.act(AddMembers(user_ids=["b"])), Unchanged)


def test_where_only_admins_add_a_member_is_refused() -> None:
    log = group("bob", "ann")
    log.stored(AddMembers(user_ids=["carl"]), "bob")
    log.stored(ADMINS_ADD)
    assert code(log.act(AddMembers(user_ids=["dora"]), "bob")) == "forbidden"
    log.stored(AddMembers(user_ids=["dora"]), "ann")


def test_member_added_again_has_no_old_role() -> None:
    log = group("ann")
    log.stored(RemoveMember(user_id="ann"))
    back = log.stored(AddMembers(user_ids=["ann"]))
    (row,) = back.entry.change.members
    assert (row.role, row.muted_until, row.left_seq, row.joined_seq) == (ROLE_MEMBER, 0, 0, back.stored.seq)


@pytest.mark.parametrize("remover", ["alice", "bob"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_mute_outlives_leaving_and_coming_again_until_its_time(remover: str, times: int) -> None:
    log = group("bob", "carl")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    for _ in range(times):
        log.stored(RemoveMember(user_id="bob"), remover)
        back = log.stored(AddMembers(user_ids=["bob", "dora"]), "carl")
        log.stored(RemoveMember(user_id="dora"))
    assert [row.muted_until for row in back.entry.change.members] == [NOON_MS + DAY_MS, 0]
    assert code(log.post("bob")) == "muted"
    log.at_ms = NOON_MS + DAY_MS
    accepted(log.post("bob"))


def test_mute_of_a_former_member_is_found_in_the_tables() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    left = log.stored(RemoveMember(user_id="bob")).entry.change.members[0]
    later = Draft.of(log.draft.confirmed(), 0)
    assert later.needs_member("bob")
    later.loaded["bob"] = left
    back = accepted(decided(later, group_command("add", AddMembers(user_ids=["bob"])), 9))
    assert back.entry.change.members[0].muted_until == NOON_MS + DAY_MS


def test_removed_member_keeps_a_version_and_is_named_as_gone() -> None:
    log = group("bob")
    gone = log.stored(RemoveMember(user_id="bob"))
    assert body(gone) == {"event": "member_removed", "user_id": "bob"}
    (row,) = gone.entry.change.members
    assert (row.as_of_seq, row.joined_seq, row.left_seq) == (2, 1, 2)
    assert gone.entry.change.left_ids == ("bob",)
    assert log.draft.group is not None
    assert log.draft.group.member_count == 1
    assert log.draft.member("bob") is None


def test_the_owner_transfers_before_leaving() -> None:
    log = group("bob")
    assert code(log.act(RemoveMember(user_id="alice"))) == "forbidden"
    log.stored(TransferGroup(user_id="bob"))
    log.stored(RemoveMember(user_id="alice"))


@pytest.mark.parametrize(
    ("sender", "user_id", "is_allowed"),
    [
        ("alice", "ann", True),
        ("alice", "bob", True),
        ("ann", "bob", True),
        ("ann", "adam", False),
        ("ann", "alice", False),
        ("ann", "ann", True),
        ("bob", "carl", False),
        ("bob", "alice", False),
        ("bob", "bob", True),
    ],
)
def test_rights_to_remove_by_role(sender: str, user_id: str, is_allowed: bool) -> None:
    log = group("ann", "adam", "bob", "carl")
    decision = log.act(RemoveMember(user_id=user_id), sender)
    assert isinstance(decision, Accepted) if is_allowed else code(decision) == "forbidden"


def test_a_dissolved_group_has_no_members_left() -> None:
    log = group("bob")
    ended = log.stored(DissolveGroup())
    assert body(ended) == {"event": "group_dissolved"}
    change = ended.entry.change
    assert change.dissolves
    assert (group_row(ended).member_count, change.members, change.left_ids) == (0, (), ())
    assert (change.mode, change.mode_to) == (MODE_WRITE, 0)
    assert log.draft.member("bob") is None
