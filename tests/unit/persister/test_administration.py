"""Commands that change a group but not its members: roles, mutes, owner, name, settings."""

import orjson
import pytest

from services.persister.decisions import Accepted
from tests.unit.persister.builders import DAY_MS, NOON_MS, GroupAction, code
from tests.unit.persister.group_builders import ADMINS_SEND, body, group, group_row, role
from tidings.store.rows import ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER
from tidings.wire.inbound_pb2 import (
    ChangeGroup,
    ChangeMember,
    DissolveGroup,
    GroupSettings,
    RemoveMember,
    TransferGroup,
)


@pytest.mark.parametrize(
    "action", [RemoveMember, TransferGroup, lambda user_id: ChangeMember(user_id=user_id, role="admin")]
)
def test_command_about_an_absent_user_gets_not_member(action: type[RemoveMember]) -> None:
    log = group("bob")
    log.stored(RemoveMember(user_id="bob"))
    for user_id in ("bob", "zoe"):
        assert code(log.act(action(user_id=user_id))) == "not_member"


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
def test_rights_to_give_roles_by_role(sender: str, user_id: str, is_allowed: bool, new_role: str) -> None:
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
def test_rights_to_mute_by_role(sender: str, user_id: str, is_allowed: bool) -> None:
    log = group("ann", "adam", "bob", "carl")
    decision = log.act(ChangeMember(user_id=user_id, muted_until_ms=NOON_MS + DAY_MS), sender)
    assert isinstance(decision, Accepted) if is_allowed else code(decision) == "forbidden"


def test_role_and_mute_change_in_one_message() -> None:
    log = group("bob")
    changed = log.stored(ChangeMember(user_id="bob", role="admin", muted_until_ms=NOON_MS + 5))
    assert body(changed) == {"event": "member_changed", "user_id": "bob", "role": "admin", "muted_until": NOON_MS + 5}
    (row,) = changed.entry.change.members
    assert (row.role, row.muted_until, row.joined_seq, row.as_of_seq) == (ROLE_ADMIN, NOON_MS + 5, 1, 2)
    assert changed.entry.change.named_ids == ("bob",)
    muted_only = log.stored(ChangeMember(user_id="bob", muted_until_ms=0))
    assert muted_only.entry.change.members[0].role == ROLE_ADMIN


def test_transferred_group_has_one_owner_and_one_more_admin() -> None:
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
    assert orjson.loads(group_row(changed).settings) == settings
    assert group_row(changed).name == "crew"
    renamed = log.stored(ChangeGroup(name="band", settings=GroupSettings()))
    assert body(renamed) == {"event": "group_changed", "name": "band"}
    assert orjson.loads(group_row(renamed).settings) == settings


def test_admins_alone_change_name_and_settings() -> None:
    log = group("bob", "ann")
    assert code(log.act(ChangeGroup(name="mine"), "bob")) == "forbidden"
    log.stored(ChangeGroup(name="ours"), "ann")
