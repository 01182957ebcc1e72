"""What becomes of each group command: rights, refusals, and the one message that it makes."""

import orjson
import pytest

from services.persister.decisions import Accepted, Decision, Rejected, Repeated, Unchanged
from services.persister.state import Draft
from tests.unit.persister.builders import DAY_MS, GROUP, NOON_MS, GroupAction, Log, command, decided, group_command
from tidings.store.rows import MODE_READ, MODE_WRITE, ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER
from tidings.wire.common_pb2 import KIND_SYSTEM
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

ADMINS_SEND = ChangeGroup(settings=GroupSettings(who_can_send="admins"))
ADMINS_ADD = ChangeGroup(settings=GroupSettings(who_can_add="admins"))
# One of each, as a member might send it to another's group.
EVERY_ACTION: tuple[GroupAction, ...] = (
    AddMembers(user_ids=["zoe"]),
    RemoveMember(user_id="bob"),
    ChangeMember(user_id="bob", role="admin"),
    TransferGroup(user_id="bob"),
    ChangeGroup(name="mine"),
    DissolveGroup(),
)


def group(*members: str) -> Log:
    """A group of alice and these others; ann and adam, where named, are admins."""
    log = Log()
    log.stored(CreateGroup(name="crew", member_ids=members))
    for admin in {"ann", "adam"} & {*members}:
        log.stored(ChangeMember(user_id=admin, role="admin"))
    return log


def body(decision: Decision) -> dict[str, object]:
    assert isinstance(decision, Accepted), decision
    assert decision.entry.kind == KIND_SYSTEM
    assert decision.entry.body == orjson.dumps(orjson.loads(decision.entry.body), option=orjson.OPT_SORT_KEYS)
    return dict(orjson.loads(decision.entry.body))


def code(decision: Decision) -> str:
    assert isinstance(decision, Rejected), decision
    return decision.code


def role(log: Log, user_id: str) -> int:
    member = log.draft.member(user_id)
    assert member is not None
    return member.role


# -- creating --------------------------------------------------------------------------------------


def test_a_group_begins_with_a_message_that_names_its_owner_members_and_settings() -> None:
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
    assert change.group is not None
    assert (change.group.member_count, change.group.owner, change.group.as_of_seq) == (3, "alice", 1)
    assert [row.role for row in change.members] == [ROLE_OWNER, ROLE_MEMBER, ROLE_MEMBER]
    assert {(row.joined_seq, row.joined_count, row.left_seq, row.log_offset) for row in change.members} == {
        (1, 0, 0, 1)
    }


def test_system_messages_are_not_countable() -> None:
    log = group("bob")
    first = log.post("bob")
    assert isinstance(first, Accepted)
    assert (first.stored.seq, first.count) == (2, 1)
    added = log.stored(AddMembers(user_ids=["carol"]))
    assert added.count == 1
    assert [row.joined_count for row in added.entry.change.members] == [1]


def test_creating_again_with_the_same_id_is_a_repeat_and_with_another_content_a_conflict() -> None:
    log = Log()
    first = log.take(group_command("c", CreateGroup(name="crew")))
    assert isinstance(first, Accepted)
    assert log.take(group_command("c", CreateGroup(name="crew"))) == Repeated(first.stored)
    assert code(log.take(group_command("c", CreateGroup(name="other")))) == "conflict"
    assert code(log.take(group_command("d", CreateGroup(name="crew")))) == "conflict"
    assert log.draft.seq == 1


def test_who_blocks_the_creator_is_left_out_of_the_new_group_and_the_creator_never_is() -> None:
    log = Log()
    log.group_members_max = 3
    asked = CreateGroup(name="crew", member_ids=["dora", "bob", "carl", "alice"], blocking_ids=["carl", "alice", "zoe"])
    made = log.stored(asked)
    assert body(made)["members"] == ["alice", "bob", "dora"]
    assert made.entry.change.joined_ids == ("alice", "bob", "dora")
    assert made.entry.change.left_out == (("carl", "user_blocked"),)
    assert made.entry.change.group is not None
    assert made.entry.change.group.member_count == 3
    assert code(log.post("carl")) == "session_not_found"


def test_a_group_that_would_be_too_large_is_not_created() -> None:
    log = Log()
    log.group_members_max = 3
    assert code(log.act(CreateGroup(name="crew", member_ids=["b", "c", "d"]))) == "group_full"
    assert log.draft.seq == 0
    log.stored(CreateGroup(name="crew", member_ids=["b", "c"]))


# -- strangers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_a_stranger_cannot_tell_a_group_from_none_nor_from_one_that_has_ended(action: GroupAction) -> None:
    gone, left, removed, none = group("mallory"), group("mallory"), group("mallory"), Log()
    gone.stored(DissolveGroup())
    left.stored(RemoveMember(user_id="mallory"), "mallory")
    removed.stored(RemoveMember(user_id="mallory"))
    for log in (group("bob"), gone, left, removed, none):
        before = log.draft.seq
        refused, posted = log.act(action, "mallory"), log.post("mallory")
        assert refused == posted == none.post("mallory")
        assert code(refused) == "session_not_found"
        assert log.draft.seq == before


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_nobody_does_anything_to_a_dissolved_group(action: GroupAction) -> None:
    log = group("bob", "ann")
    log.stored(DissolveGroup())
    for user in ("alice", "bob", "ann"):
        assert code(log.act(action, user)) == "session_not_found"
        assert code(log.post(user)) == "session_not_found"
    assert code(log.act(CreateGroup(name="again"))) == "conflict"


def test_a_repeat_of_a_stored_command_is_acked_whatever_rights_have_changed() -> None:
    log = group("bob")
    said = command("said", sender="bob", session_id=GROUP)
    first = log.take(said)
    assert isinstance(first, Accepted)
    log.stored(RemoveMember(user_id="bob"))
    assert log.take(said) == Repeated(first.stored)
    other = command("said", "another text", sender="bob", session_id=GROUP)
    assert code(log.take(other)) == "conflict"
    log.stored(DissolveGroup())
    assert log.take(said) == Repeated(first.stored)


def test_leaving_twice_with_the_same_id_is_one_leave() -> None:
    log = group("bob")
    leave = group_command("leave", RemoveMember(user_id="bob"), "bob")
    first = log.take(leave)
    assert isinstance(first, Accepted)
    assert log.take(leave) == Repeated(first.stored)


# -- posting ---------------------------------------------------------------------------------------


def test_a_muted_member_posts_again_when_log_time_says_so() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + 1_000))
    log.at_ms = NOON_MS + 999
    assert code(log.post("bob")) == "muted"
    log.at_ms = NOON_MS + 1_000
    assert isinstance(log.post("bob"), Accepted)


def test_a_mute_of_zero_lifts_it() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    lifted = log.stored(ChangeMember(user_id="bob", muted_until_ms=0))
    assert body(lifted) == {"event": "member_changed", "user_id": "bob", "muted_until": 0}
    assert isinstance(log.post("bob"), Accepted)


def test_a_muted_member_may_still_leave() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    log.stored(RemoveMember(user_id="bob"), "bob")


def test_where_only_admins_send_a_member_is_refused_and_governors_are_not() -> None:
    log = group("bob", "ann")
    log.stored(ADMINS_SEND)
    assert code(log.post("bob")) == "forbidden"
    assert isinstance(log.post("ann"), Accepted)
    assert isinstance(log.post("alice"), Accepted)


def test_a_reply_to_what_does_not_exist_is_refused_in_a_group_too() -> None:
    log = group("bob")
    assert code(log.post("bob", reply_to=2)) == "invalid_body"
    assert isinstance(log.post("bob", reply_to=1), Accepted)


def test_a_stranger_who_replies_to_nothing_is_told_only_that_there_is_no_session() -> None:
    assert code(group("bob").post("mallory", reply_to=99)) == "session_not_found"


# -- adding ----------------------------------------------------------------------------------------


def test_members_and_those_who_block_the_caller_are_left_out() -> None:
    log = group("bob")
    asked = AddMembers(user_ids=["zoe", "bob", "carl", "dora", "zoe"], blocking_ids=["carl", "bob"])
    added = log.stored(asked)
    assert body(added) == {"event": "members_added", "user_ids": ["zoe", "dora"], "mode": "write"}
    assert added.entry.change.joined_ids == ("zoe", "dora")
    assert added.entry.change.left_out == (("bob", "already_member"), ("carl", "user_blocked"))
    assert log.draft.group is not None
    assert log.draft.group.member_count == 4


def test_when_nobody_is_added_nothing_is_stored_and_the_id_stays_free() -> None:
    log = group("bob")
    sent = group_command("add", AddMembers(user_ids=["bob", "carl"], blocking_ids=["carl"]))
    assert log.take(sent) == Unchanged((("bob", "already_member"), ("carl", "user_blocked")))
    assert log.draft.seq == 1
    later = log.take(group_command("add", AddMembers(user_ids=["carl"])))
    assert isinstance(later, Accepted)


def test_a_group_takes_as_many_as_the_stamp_allows_and_not_one_more() -> None:
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


def test_who_comes_again_starts_anew_without_the_old_role() -> None:
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
    assert isinstance(log.post("bob"), Accepted)


def test_a_mute_is_found_in_the_tables_when_memory_has_forgotten_who_left() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    left = log.stored(RemoveMember(user_id="bob")).entry.change.members[0]
    later = Draft.of(log.draft.confirmed(), 0)
    assert later.needs_member("bob")
    later.loaded["bob"] = left
    back = decided(later, group_command("add", AddMembers(user_ids=["bob"])), 9)
    assert isinstance(back, Accepted)
    assert back.entry.change.members[0].muted_until == NOON_MS + DAY_MS


# -- removing and leaving --------------------------------------------------------------------------


def test_who_is_removed_keeps_a_version_that_says_when_and_is_named_as_gone() -> None:
    log = group("bob")
    gone = log.stored(RemoveMember(user_id="bob"))
    assert body(gone) == {"event": "member_removed", "user_id": "bob"}
    (row,) = gone.entry.change.members
    assert (row.as_of_seq, row.joined_seq, row.left_seq) == (2, 1, 2)
    assert gone.entry.change.left_ids == ("bob",)
    assert log.draft.group is not None
    assert log.draft.group.member_count == 1
    assert log.draft.member("bob") is None


@pytest.mark.parametrize(
    "action", [RemoveMember, TransferGroup, lambda user_id: ChangeMember(user_id=user_id, role="admin")]
)
def test_a_command_about_somebody_who_is_not_there_says_so(action: type[RemoveMember]) -> None:
    log = group("bob")
    log.stored(RemoveMember(user_id="bob"))
    for user_id in ("bob", "zoe"):
        assert code(log.act(action(user_id=user_id))) == "not_member"


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
def test_who_may_remove_whom(sender: str, user_id: str, is_allowed: bool) -> None:
    log = group("ann", "adam", "bob", "carl")
    decision = log.act(RemoveMember(user_id=user_id), sender)
    assert isinstance(decision, Accepted) if is_allowed else code(decision) == "forbidden"


# -- roles, owner, name, settings, end -------------------------------------------------------------


@pytest.mark.parametrize(
    ("sender", "user_id", "is_allowed"),
    [
        ("alice", "ann", True),
        ("alice", "bob", True),
        ("alice", "alice", False),
        ("ann", "bob", True),
        ("ann", "adam", False),
        ("ann", "alice", False),
        ("bob", "carl", False),
        ("bob", "bob", False),
    ],
)
@pytest.mark.parametrize("new_role", ["admin", "member"])
def test_who_may_give_roles_to_whom(sender: str, user_id: str, is_allowed: bool, new_role: str) -> None:
    log = group("ann", "adam", "bob", "carl")
    decision = log.act(ChangeMember(user_id=user_id, role=new_role), sender)
    if not is_allowed:
        assert code(decision) == "forbidden"
        return
    assert body(decision) == {"event": "member_changed", "user_id": user_id, "role": new_role}
    assert role(log, user_id) == (ROLE_ADMIN if new_role == "admin" else ROLE_MEMBER)


@pytest.mark.parametrize(
    ("sender", "user_id", "is_allowed"),
    [
        ("alice", "ann", True),
        ("ann", "bob", True),
        ("ann", "adam", False),
        ("ann", "alice", False),
        ("ann", "ann", False),
        ("alice", "alice", True),
        ("bob", "carl", False),
    ],
)
def test_who_may_mute_whom(sender: str, user_id: str, is_allowed: bool) -> None:
    log = group("ann", "adam", "bob", "carl")
    decision = log.act(ChangeMember(user_id=user_id, muted_until_ms=NOON_MS + DAY_MS), sender)
    assert isinstance(decision, Accepted) if is_allowed else code(decision) == "forbidden"


def test_role_and_mute_change_in_one_message_and_the_rest_of_the_version_stays() -> None:
    log = group("bob")
    changed = log.stored(ChangeMember(user_id="bob", role="admin", muted_until_ms=NOON_MS + 5))
    assert body(changed) == {
        "event": "member_changed",
        "user_id": "bob",
        "role": "admin",
        "muted_until": NOON_MS + 5,
    }
    (row,) = changed.entry.change.members
    assert (row.role, row.muted_until, row.joined_seq, row.as_of_seq) == (ROLE_ADMIN, NOON_MS + 5, 1, 2)
    assert changed.entry.change.named_ids == ("bob",)
    muted_only = log.stored(ChangeMember(user_id="bob", muted_until_ms=0))
    assert muted_only.entry.change.members[0].role == ROLE_ADMIN


def test_a_transferred_group_has_one_owner_and_the_old_one_is_an_admin() -> None:
    log = group("bob")
    moved = log.stored(TransferGroup(user_id="bob"))
    assert body(moved) == {"event": "owner_changed", "user_id": "bob"}
    assert log.draft.group is not None
    assert log.draft.group.owner == "bob"
    assert moved.entry.change.named_ids == ("bob",)
    assert (role(log, "bob"), role(log, "alice")) == (ROLE_OWNER, ROLE_ADMIN)
    assert code(log.act(TransferGroup(user_id="bob"), "alice")) == "forbidden"


def test_the_owner_cannot_transfer_to_the_owner() -> None:
    log = group("bob")
    assert code(log.act(TransferGroup(user_id="alice"))) == "forbidden"
    assert role(log, "alice") == ROLE_OWNER


@pytest.mark.parametrize("sender", ["ann", "bob"])
@pytest.mark.parametrize("action", [TransferGroup(user_id="bob"), DissolveGroup()])
def test_transfer_and_dissolve_are_the_owners(sender: str, action: GroupAction) -> None:
    assert code(group("ann", "bob").act(action, sender)) == "forbidden"


def test_settings_are_laid_over_the_old_ones_and_the_name_stays() -> None:
    log = group("bob")
    log.stored(ChangeGroup(settings=GroupSettings(share_history=True)))
    changed = log.stored(ADMINS_SEND)
    settings = {"share_history": True, "who_can_send": "admins", "who_can_add": "all"}
    assert body(changed) == {"event": "group_changed", "settings": settings}
    assert changed.entry.change.group is not None
    assert orjson.loads(changed.entry.change.group.settings) == settings
    assert changed.entry.change.group.name == "crew"
    renamed = log.stored(ChangeGroup(name="band", settings=GroupSettings()))
    assert body(renamed) == {"event": "group_changed", "name": "band"}
    assert renamed.entry.change.group is not None
    assert orjson.loads(renamed.entry.change.group.settings) == settings


def test_a_member_changes_neither_name_nor_settings_and_an_admin_does() -> None:
    log = group("bob", "ann")
    assert code(log.act(ChangeGroup(name="mine"), "bob")) == "forbidden"
    log.stored(ChangeGroup(name="ours"), "ann")


def test_a_dissolved_group_has_no_members_left() -> None:
    log = group("bob")
    ended = log.stored(DissolveGroup())
    assert body(ended) == {"event": "group_dissolved"}
    change = ended.entry.change
    assert change.dissolves
    assert change.group is not None
    assert (change.group.member_count, change.members, change.left_ids) == (0, (), ())
    assert (change.mode, change.mode_to) == (MODE_WRITE, 0)
    assert log.draft.member("bob") is None


# -- the way of delivery ---------------------------------------------------------------------------


def modes(decision: Decision) -> tuple[int, int, int]:
    assert isinstance(decision, Accepted), decision
    return decision.entry.change.mode, decision.entry.change.mode_from, decision.entry.change.mode_to


def test_the_message_that_crosses_the_line_says_so_itself_and_goes_to_inboxes() -> None:
    log = Log()
    log.write_diffusion_max = 5
    log.stored(CreateGroup(name="crew", member_ids=["b", "c", "d", "e"]))
    assert modes(log.post()) == (MODE_WRITE, 0, 0)
    crossed = log.stored(AddMembers(user_ids=["f"]))
    assert modes(crossed) == (MODE_WRITE, MODE_WRITE, MODE_READ)
    assert body(crossed) == {
        "event": "members_added",
        "user_ids": ["f"],
        "mode": "read",
        "mode_from": "write",
        "mode_to": "read",
    }
    assert modes(log.post()) == (MODE_READ, 0, 0)
    assert modes(log.stored(RemoveMember(user_id="b"))) == (MODE_READ, 0, 0)
    back = log.stored(RemoveMember(user_id="c"))
    assert modes(back) == (MODE_WRITE, MODE_READ, MODE_WRITE)
    assert body(back) == {"event": "member_removed", "user_id": "c", "mode_from": "read", "mode_to": "write"}
    assert modes(log.post()) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(AddMembers(user_ids=["b"]))) == (MODE_WRITE, 0, 0)


def test_a_group_created_above_the_line_says_so_and_its_first_message_goes_to_inboxes() -> None:
    log = Log()
    log.write_diffusion_max = 2
    made = log.stored(CreateGroup(name="crew", member_ids=["b", "c"]))
    assert modes(made) == (MODE_WRITE, MODE_WRITE, MODE_READ)
    assert {"mode_from": "write", "mode_to": "read"}.items() <= body(made).items()
    assert modes(log.stored(ChangeGroup(name="band"))) == (MODE_READ, 0, 0)
    assert modes(log.stored(DissolveGroup())) == (MODE_READ, 0, 0)


def test_the_line_is_the_stamped_one_and_only_membership_messages_look_at_it() -> None:
    log = Log()
    log.stored(CreateGroup(name="crew", member_ids=["b", "c"]))
    log.write_diffusion_max = 2
    assert modes(log.post()) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(ChangeGroup(name="band"))) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(RemoveMember(user_id="b"))) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(AddMembers(user_ids=["b"]))) == (MODE_WRITE, MODE_WRITE, MODE_READ)


# -- what a round must have loaded -----------------------------------------------------------------


def test_a_user_whom_the_round_did_not_load_is_no_stranger_but_a_fault_of_ours() -> None:
    log = group("bob")
    state = log.draft.confirmed()
    state.members.clear()
    with pytest.raises(KeyError):
        decided(Draft.of(state, 0), command("m", sender="bob", session_id=GROUP), 9)


def test_memory_keeps_current_members_only() -> None:
    log = group("bob", "carl")
    log.stored(RemoveMember(user_id="bob"))
    log.draft.loaded["zoe"] = None
    state = log.draft.confirmed()
    assert state.members.keys() == {"alice", "carl"}
    ending = Draft.of(state, 0)
    decided(ending, group_command("end", DissolveGroup()), 9)
    assert not ending.confirmed().members


def test_a_draft_that_is_dropped_leaves_the_state_as_it_was() -> None:
    log = group("bob")
    state = log.draft.confirmed()
    before = (state.group, dict(state.members), state.seq)
    lost = Draft.of(state, 0)
    decided(lost, group_command("r", RemoveMember(user_id="bob")), 8)
    decided(lost, group_command("s", TransferGroup(user_id="bob")), 9)
    assert (state.group, dict(state.members), state.seq) == before
