"""Commands about what holds in a group: roles, mutes, owner, name, settings. Pure."""

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


def change_member(draft: Draft, who: Acting, command: Command, place: Place) -> Entry | Rejected:
    """Another role, or a mute until a time of the log; 0 lifts it."""
    asked = command.change_member
    if not who.governs:
        return forbidden("only the owner and admins change members")
    member = draft.member(asked.user_id)
    if member is None:
        return not_member(asked.user_id)
    if not who.may_act_on(member):
        return forbidden("only the owner changes an admin, and nobody else the owner")
    if member.role == ROLE_OWNER and asked.HasField("role"):
        return forbidden("the owner stays owner until the group is transferred")
    if asked.HasField("muted_until_ms") and asked.user_id == command.sender_id and not who.is_owner:
        return forbidden("an own mute is lifted by the owner, or ends at its time")
    event: dict[str, object] = {"event": "member_changed", "user_id": asked.user_id}
    columns = {}
    if asked.HasField("role"):
        event["role"], columns["role"] = asked.role, ROLES[asked.role]
    if asked.HasField("muted_until_ms"):
        event["muted_until"] = columns["muted_until"] = asked.muted_until_ms
    change = Change(members=(member_version(member, place, **columns),), named_ids=(asked.user_id,))
    return system_message(who.group.mode, event, change)


def transfer_group(draft: Draft, who: Acting, command: Command, place: Place) -> Entry | Rejected:
    """Another member becomes the owner, the old one an admin."""
    user_id = command.transfer_group.user_id
    if not who.is_owner:
        return forbidden("only the owner transfers the group")
    if user_id == command.sender_id:
        return forbidden("the group is yours already; name another member")
    heir = draft.member(user_id)
    if heir is None:
        return not_member(user_id)
    members = (
        member_version(heir, place, role=ROLE_OWNER),
        member_version(who.member, place, role=ROLE_ADMIN),
    )
    change = Change(group=version(who.group, place, owner=user_id), members=members, named_ids=(user_id,))
    return system_message(who.group.mode, {"event": "owner_changed", "user_id": user_id}, change)


def change_group(_draft: Draft, who: Acting, command: Command, place: Place) -> Entry | Rejected:
    """Another name, or settings laid over the old ones; the message says all settings that hold after it."""
    asked = command.change_group
    if not who.governs:
        return forbidden("only the owner and admins change the group")
    event: dict[str, object] = {"event": "group_changed"}
    columns: dict[str, object] = {}
    if asked.HasField("name"):
        event["name"] = columns["name"] = asked.name
    if asked.settings.ListFields():
        settings = merged_settings(orjson.loads(who.group.settings), asked.settings)
        event["settings"], columns["settings"] = settings, settings_text(settings)
    return system_message(who.group.mode, event, Change(group=version(who.group, place, **columns)))
