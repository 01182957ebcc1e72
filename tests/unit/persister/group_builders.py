"""A group of alice's, and what a decision about it says."""

import orjson

from services.persister.decisions import Accepted, Decision
from tests.unit.persister.builders import GroupAction, Log, accepted
from tidings.store.rows import GroupRow
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
    entry = accepted(decision).entry
    assert entry.kind == KIND_SYSTEM
    assert entry.body == orjson.dumps(orjson.loads(entry.body), option=orjson.OPT_SORT_KEYS)
    return dict(orjson.loads(entry.body))


def group_row(decision: Accepted) -> GroupRow:
    """The version of the group that the decision makes."""
    assert decision.entry.change.group is not None
    return decision.entry.change.group


def role(log: Log, user_id: str) -> int:
    member = log.draft.member(user_id)
    assert member is not None
    return member.role
