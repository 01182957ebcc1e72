"""Commands that change a group but not its members: roles, mutes, owner, name, settings. Pure."""

import orjson

from services.persister.decisions import Change, Entry, Rejected
from services.persister.groups import (
    Acting,
    Place,
    forbidden,
    member_version,
    merged_settings,
    not_member,
    settings_text,
    system_message,
    version,
)
from services.persister.state import Draft
from tidings.groups import ROLES
from tidings.store.rows import ROLE_ADMIN, ROLE_OWNER
from tidings.wire.inbound_pb2 import Command


def change_member(draft: Draft, actor: Acting, command: Command, place: Place) -> Entry | Rejected:
    """Change a member's role, or mute the member until a log time (0 lifts the mute)."""
    asked = command.change_member
    if not actor.governs:
        return forbidden("only the owner and admins may change members")
    member = draft.member(asked.user_id)
    if member is None:
        return not_member(asked.user_id)
    if not actor.may_act_on(member):
        return forbidden("only the owner may change another admin or the owner")
    if member.role == ROLE_OWNER and asked.HasField("role"):
        return forbidden("the owner stays owner until the group is transferred")
    if asked.HasField("muted_until_ms") and asked.user_id == command.sender_id and not actor.is_owner:
        return forbidden("you cannot change your own mute; ask the owner, or wait until it ends")
    event: dict[str, object] = {"event": "member_changed", "user_id": asked.user_id}
    columns = {}
    if asked.HasField("role"):
        event["role"], columns["role"] = asked.role, ROLES[asked.role]
    if asked.HasField("muted_until_ms"):
        event["muted_until"] = columns["muted_until"] = asked.muted_until_ms
    change = Change(members=(member_version(member, place, **columns),), named_ids=(asked.user_id,))
    return system_message(actor.group.mode, event, change)


def transfer_group(draft: Draft, actor: Acting, command: Command, place: Place) -> Entry | Rejected:
    """Make another member the owner. The previous owner becomes an admin."""
    user_id = command.transfer_group.user_id
    if not actor.is_owner:
        return forbidden("only the owner may transfer the group")
    if user_id == command.sender_id:
        return forbidden("the group is yours already; name another member")
    heir = draft.member(user_id)
    if heir is None:
        return not_member(user_id)
    members = (
        member_version(heir, place, role=ROLE_OWNER),
        member_version(actor.member, place, role=ROLE_ADMIN),
    )
    change = Change(group=version(actor.group, place, owner=user_id), members=members, named_ids=(user_id,))
    return system_message(actor.group.mode, {"event": "owner_changed", "user_id": user_id}, change)


def change_group(_draft: Draft, actor: Acting, command: Command, place: Place) -> Entry | Rejected:
    """Change the name or some settings. The message states all settings that hold after it."""
    asked = command.change_group
    if not actor.governs:
        return forbidden("only the owner and admins may change the group")
    event: dict[str, object] = {"event": "group_changed"}
    columns: dict[str, object] = {}
    if asked.HasField("name"):
        event["name"] = columns["name"] = asked.name
    if asked.settings.ListFields():
        settings = merged_settings(orjson.loads(actor.group.settings), asked.settings)
        event["settings"], columns["settings"] = settings, settings_text(settings)
    return system_message(actor.group.mode, event, Change(group=version(actor.group, place, **columns)))
