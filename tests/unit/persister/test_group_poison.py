"""Group commands that no gateway publishes: they are put aside and take no seq. Those that it does are read."""

import pytest

from tests.unit.persister.builders import GROUP, SESSION, GroupAction, group_command
from tidings.codec import decode_command
from tidings.errors import PoisonRecord
from tidings.groups import COMMAND_USERS, GROUP_NAME_POINTS
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

MANY = [f"u{number}" for number in range(COMMAND_USERS)]

GOOD: tuple[GroupAction, ...] = (
    CreateGroup(name="n"),
    CreateGroup(name="ü" * GROUP_NAME_POINTS, member_ids=[*MANY, "alice"], settings=GroupSettings(share_history=True)),
    CreateGroup(name="n", member_ids=MANY, blocking_ids=["u1"]),
    AddMembers(user_ids=MANY, blocking_ids=["u1"]),
    RemoveMember(user_id="alice"),
    # Ids of dots only, which the first gateways took.
    AddMembers(user_ids=[".", "..", "..."]),
    RemoveMember(user_id=".."),
    ChangeMember(user_id="bob", role="member"),
    ChangeMember(user_id="bob", muted_until_ms=0),
    TransferGroup(user_id="bob"),
    ChangeGroup(name="n"),
    ChangeGroup(settings=GroupSettings(share_history=False)),
    ChangeGroup(settings=GroupSettings(who_can_send="admins", who_can_add="all")),
    DissolveGroup(),
)

BAD: tuple[GroupAction, ...] = (
    CreateGroup(),
    CreateGroup(name="n" * (GROUP_NAME_POINTS + 1)),
    CreateGroup(name="n", member_ids=[""]),
    CreateGroup(name="n", member_ids=[*MANY, "one-too-many"]),
    CreateGroup(name="n", settings=GroupSettings(who_can_add="nobody")),
    AddMembers(),
    AddMembers(user_ids=[*MANY, "one-too-many"]),
    AddMembers(user_ids=["bob", "a b"]),
    RemoveMember(),
    ChangeMember(user_id="bob"),
    ChangeMember(role="admin"),
    ChangeMember(user_id="bob", role="owner"),
    ChangeMember(user_id="bob", role=""),
    ChangeMember(user_id="bob", muted_until_ms=-1),
    TransferGroup(user_id="no:colon"),
    ChangeGroup(),
    ChangeGroup(name=""),
    ChangeGroup(settings=GroupSettings()),
    ChangeGroup(settings=GroupSettings(who_can_send="")),
)


def _name(action: GroupAction) -> str:
    return f"{type(action).__name__} {action}"[:60]


@pytest.mark.parametrize("action", GOOD, ids=_name)
def test_what_a_gateway_publishes_is_read_as_it_was_written(action: GroupAction) -> None:
    sent = group_command("c", action)
    assert decode_command(sent.SerializeToString()) == sent


@pytest.mark.parametrize("action", BAD, ids=_name)
def test_nonsense_is_poison(action: GroupAction) -> None:
    with pytest.raises(PoisonRecord):
        decode_command(group_command("c", action).SerializeToString())


@pytest.mark.parametrize("action", GOOD, ids=_name)
def test_a_group_command_for_a_direct_session_is_poison(action: GroupAction) -> None:
    with pytest.raises(PoisonRecord, match="direct"):
        decode_command(group_command("c", action, session_id=SESSION).SerializeToString())


@pytest.mark.parametrize("limit", ["write_diffusion_max", "group_members_max"])
def test_a_group_command_without_its_limits_is_poison(limit: str) -> None:
    sent = group_command("c", DissolveGroup(), session_id=GROUP)
    sent.stamps.ClearField(limit)
    with pytest.raises(PoisonRecord, match="limit"):
        decode_command(sent.SerializeToString())
