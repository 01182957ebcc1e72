"""Builds group commands from the bodies of REST calls. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from services.gateway.protocol.commands import check_id_time, usable_client_msg_id
from services.gateway.protocol.requests import (
    AddMembersRequest,
    ChangeGroupRequest,
    ChangeMemberRequest,
    CreateGroupRequest,
    TransferRequest,
    given,
    or_none,
    read,
)
from tidings import ids
from tidings.codec import canonical_json
from tidings.errors import Refused
from tidings.wire.inbound_pb2 import (
    AddMembers,
    ChangeGroup,
    ChangeMember,
    Command,
    CreateGroup,
    DissolveGroup,
    GroupSettings,
    RemoveMember,
    TransferGroup,
)

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asker:
    """The sender of a command, and its client_msg_id."""

    user_id: str
    client_msg_id: str


def checked_asker(user_id: str, client_msg_id: object, wall_ms: int) -> Asker:
    """Raises Refused for an invalid client_msg_id, or one whose time is out of bounds."""
    usable = usable_client_msg_id(client_msg_id)
    if usable is None:
        raise _invalid("client_msg_id is a string of 1-64 printable ASCII characters")
    check_id_time(usable, wall_ms)
    return Asker(user_id, usable)


def made_client_msg_id(wall_ms: int, random: bytes) -> str:
    """A UUIDv7 of this time and these 10 random bytes, for a call without an id."""
    number = (wall_ms << 80) | int.from_bytes(random[:10])
    number = number & ~(0xF << 76) | (0x7 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def group_id(key: bytes, asker: Asker) -> str:
    """The session id that this command creates. All gateways derive the same id, and it needs the secret key."""
    named = f"{asker.user_id} {asker.client_msg_id}".encode()
    return "g:" + hashlib.blake2b(named, digest_size=16, key=key).hexdigest()


def checked_group(session_id: str) -> str:
    """The group id of a path. Raises Refused for anything but a well-formed group id."""
    if not ids.is_group_session(session_id):
        raise _invalid("the id of a group is g:<id>, from the answer of the call that created it")
    return session_id


def checked_user(user_id: str) -> str:
    """The user id of a path. Raises Refused."""
    if not ids.is_user_id(user_id):
        raise _invalid(f"user_id is a user id of {ids.USER_ID_TEXT}")
    return user_id


# -- the commands ----------------------------------------------------------------------------------


def creating(asker: Asker, key: bytes, body: Body) -> Command:
    """Create a group. The caller is a member without being named. Users that block the caller: as in `adding`."""
    asked = read(CreateGroupRequest, body)
    settings = given(asked.settings)
    member_ids = sorted({*asked.members, asker.user_id})
    content = {"name": asked.name, "members": member_ids, "settings": settings}
    action = CreateGroup(name=asked.name, member_ids=member_ids, settings=_settings(settings))
    return _command(asker, group_id(key, asker), Command(create_group=action), content)


def changing(asker: Asker, session_id: str, body: Body) -> Command:
    """Change the name, settings, or both."""
    asked = read(ChangeGroupRequest, body)
    name, settings = or_none(asked.name), given(asked.settings)
    content = {"name": name, "settings": settings}
    action = ChangeGroup(name=name, settings=_settings(settings))
    return _command(asker, session_id, Command(change_group=action), content)


def adding(asker: Asker, session_id: str, body: Body) -> Command:
    """Add members. The users that block the caller are read when the command is published."""
    user_ids = sorted(set(read(AddMembersRequest, body).user_ids))
    action = AddMembers(user_ids=user_ids)
    return _command(asker, session_id, Command(add_members=action), {"user_ids": user_ids})


def removing(asker: Asker, session_id: str, user_id: str) -> Command:
    """Remove a member, which may be the caller."""
    user_id = checked_user(user_id)
    action = RemoveMember(user_id=user_id)
    return _command(asker, session_id, Command(remove_member=action), {"user_id": user_id})


def changing_member(asker: Asker, session_id: str, user_id: str, body: Body) -> Command:
    """Change a role, or mute until a time; 0 lifts the mute."""
    user_id = checked_user(user_id)
    asked = read(ChangeMemberRequest, body)
    role, muted_until = or_none(asked.role), or_none(asked.muted_until)
    content = {"user_id": user_id, "role": role, "muted_until": muted_until}
    action = ChangeMember(user_id=user_id, role=role, muted_until_ms=muted_until)
    return _command(asker, session_id, Command(change_member=action), content)


def transferring(asker: Asker, session_id: str, body: Body) -> Command:
    """Change the owner."""
    user_id = read(TransferRequest, body).user_id
    action = TransferGroup(user_id=user_id)
    return _command(asker, session_id, Command(transfer_group=action), {"user_id": user_id})


def dissolving(asker: Asker, session_id: str) -> Command:
    """Dissolve the group."""
    return _command(asker, session_id, Command(dissolve_group=DissolveGroup()), {})


def weight(command: Command) -> int:
    """The number of messages that the command counts for the rate limit: the members that it adds (PROTOCOL)."""
    match command.WhichOneof("action"):
        case "create_group":
            return len(command.create_group.member_ids)
        case "add_members":
            return len(command.add_members.user_ids)
        case _:
            return 1


def _command(asker: Asker, session_id: str, action: Command, content: Body) -> Command:
    """Complete an action to a command. A repeat under the same id must have equal `content`."""
    action.session_id = session_id
    action.sender_id = asker.user_id
    action.client_msg_id = asker.client_msg_id
    action.attempt = 1
    name = action.WhichOneof("action") or ""
    action.digest = hashlib.sha256(name.encode() + b"\n" + canonical_json(content)).digest()
    return action


def _settings(given_settings: Mapping[str, object]) -> GroupSettings | None:
    """The settings as a record field; None without any."""
    return GroupSettings(**given_settings) if given_settings else None  # type: ignore[arg-type]  # checked by the model


def _invalid(text: str) -> Refused:
    return Refused("invalid_frame", text)
