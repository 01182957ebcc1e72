"""Commands that change the members of a group: create, add, remove or leave, dissolve. Pure."""

from services.persister.decisions import Change, Entry, LeftOutIds, Rejected, Unchanged
from services.persister.groups import (
    Acting,
    Place,
    forbidden,
    forbidden_by,
    joining_version,
    member_version,
    merged_settings,
    next_mode,
    not_member,
    settings_text,
    system_message,
    version,
)
from services.persister.state import Draft
from tidings.groups import DEFAULT_SETTINGS, MODE_NAMES, WHO_CAN_ADD
from tidings.store.rows import MODE_WRITE, ROLE_MEMBER, ROLE_OWNER, GroupRow
from tidings.wire.common_pb2 import Stamps
from tidings.wire.inbound_pb2 import Command


def create_group(draft: Draft, command: Command, place: Place) -> Entry | Rejected:
    """Create the group without the users that block the creator.

    The group's id is made of creator and client_msg_id, so a second creation is a conflict and not a repeat.
    """
    if draft.group is not None:
        return Rejected("conflict", "client_msg_id has made a group before; give the new group an id of its own")
    asked, owner, session_id, limits = command.create_group, command.sender_id, command.session_id, command.stamps
    named, blocking = {owner, *asked.member_ids}, {*asked.blocking_ids} - {owner}
    users = tuple(sorted(named - blocking))
    if len(users) > limits.group_members_max:
        return _group_full(limits)
    settings = merged_settings(DEFAULT_SETTINGS, asked.settings)
    event = {"event": "group_created", "name": asked.name, "owner": owner, "members": users, "settings": settings}
    group = GroupRow(
        session_id=session_id,
        as_of_seq=place.seq,
        name=asked.name,
        owner=owner,
        mode=next_mode(MODE_WRITE, len(users), limits.write_diffusion_max),
        member_count=len(users),
        settings=settings_text(settings),
        log_epoch=place.log_epoch,
        log_offset=place.log_offset,
    )
    members = tuple(
        joining_version(session_id, user, place, ROLE_OWNER if user == owner else ROLE_MEMBER) for user in users
    )
    left_out = tuple((user_id, "user_blocked") for user_id in sorted(named & blocking))
    change = Change(group=group, members=members, joined_ids=users, left_out=left_out)
    return system_message(MODE_WRITE, event, change)


def add_members(draft: Draft, actor: Acting, command: Command, place: Place) -> Entry | Unchanged | Rejected:
    """Add the named users. Current members and users that block the caller are left out."""
    if not actor.may(WHO_CAN_ADD):
        return forbidden_by(WHO_CAN_ADD)
    users, left_out = _sorted_out(draft, command)
    if not users:
        return Unchanged(left_out)
    group, limits = actor.group, command.stamps
    member_count = group.member_count + len(users)
    if member_count > limits.group_members_max:
        return _group_full(limits)
    mode = next_mode(group.mode, member_count, limits.write_diffusion_max)
    change = Change(
        group=version(group, place, member_count=member_count, mode=mode),
        members=tuple(joining_version(group.session_id, user, place, before=draft.newest(user)) for user in users),
        joined_ids=users,
        left_out=left_out,
    )
    # PROTOCOL: `mode` is the mode after this message.
    event = {"event": "members_added", "user_ids": users, "mode": MODE_NAMES[mode]}
    return system_message(group.mode, event, change)


def remove_member(draft: Draft, actor: Acting, command: Command, place: Place) -> Entry | Rejected:
    """End the membership of the caller or of another member. The removed user receives no later message."""
    user_id = command.remove_member.user_id
    leaves = user_id == command.sender_id
    if leaves and actor.is_owner:
        return forbidden("the owner cannot leave; transfer the group first, or dissolve it")
    if not leaves and not actor.governs:
        return forbidden("only the owner and admins may remove other members")
    member = draft.member(user_id)
    if member is None:
        return not_member(user_id)
    if not leaves and not actor.may_act_on(member):
        return forbidden("only the owner may remove an admin, and the owner cannot be removed")
    group = actor.group
    member_count = group.member_count - 1
    mode = next_mode(group.mode, member_count, command.stamps.write_diffusion_max)
    change = Change(
        group=version(group, place, member_count=member_count, mode=mode),
        members=(member_version(member, place, left_seq=place.seq),),
        left_ids=(user_id,),
    )
    return system_message(group.mode, {"event": "member_removed", "user_id": user_id}, change)


def dissolve_group(_draft: Draft, actor: Acting, _command: Command, place: Place) -> Entry | Rejected:
    """End the group. One group version with member_count 0 ends every membership."""
    if not actor.is_owner:
        return forbidden("only the owner may dissolve the group")
    change = Change(group=version(actor.group, place, member_count=0), dissolves=True)
    return system_message(actor.group.mode, {"event": "group_dissolved"}, change)


def _sorted_out(draft: Draft, command: Command) -> tuple[tuple[str, ...], LeftOutIds]:
    """The users to add, and the others with the reason, in the order of the command and without duplicates."""
    asked, blocking = command.add_members, frozenset(command.add_members.blocking_ids)
    users, left_out = [], []
    for user_id in dict.fromkeys(asked.user_ids):
        if draft.member(user_id) is not None:
            left_out.append((user_id, "already_member"))
        elif user_id in blocking:
            left_out.append((user_id, "user_blocked"))
        else:
            users.append(user_id)
    return tuple(users), tuple(left_out)


def _group_full(limits: Stamps) -> Rejected:
    return Rejected("group_full", f"a group has at most {limits.group_members_max} members (group_members_max)")
