"""From what a REST call says about a group to the command that the log carries. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.gateway.protocol.commands import check_id_time, usable_client_msg_id
from services.gateway.protocol.frames import is_given, whole
from tidings import ids
from tidings.codec import canonical_json
from tidings.errors import Refused
from tidings.groups import COMMAND_USERS, GIVEN_ROLES, GROUP_NAME_POINTS, WHO
from tidings.names import name_fault
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

# A time of today in seconds is one of January 1970 in milliseconds, in microseconds one of the year 57,000. The bounds
# do not move with the clock, so that a repeat is judged as the first try was.
LEAST_TIME_MS = 100_000_000_000  # March 1973
MOST_TIME_MS = 253_402_300_799_999  # the end of 9999

Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asker:
    """Who gives a command, under which client_msg_id."""

    user_id: str
    client_msg_id: str


def checked_asker(user_id: str, client_msg_id: object, wall_ms: int) -> Asker:
    """Raises Refused for an id that no answer can carry, or whose time is out of bounds."""
    usable = usable_client_msg_id(client_msg_id)
    if usable is None:
        raise _invalid("client_msg_id is a string of 1-64 printable ASCII characters")
    check_id_time(usable, wall_ms)
    return Asker(user_id, usable)


def made_client_msg_id(wall_ms: int, random: bytes) -> str:
    """A UUIDv7 of this time and these 10 random bytes, for a call that came without an id."""
    number = (wall_ms << 80) | int.from_bytes(random[:10])
    number = number & ~(0xF << 76) | (0x7 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def group_id(key: bytes, asker: Asker) -> str:
    """The session that this command creates: the same at all gateways, and nobody guesses it without the key."""
    named = f"{asker.user_id} {asker.client_msg_id}".encode()
    return "g:" + hashlib.blake2b(named, digest_size=16, key=key).hexdigest()


def checked_group(session_id: str) -> str:
    """The id of a path; raises Refused for anything but a well-formed group id."""
    if not ids.is_group_session(session_id):
        raise _invalid("the id of a group is g:<id>, as the call that created it answered")
    return session_id


def checked_user(value: object, name: str = "user_id") -> str:
    """One user id; raises Refused."""
    if not isinstance(value, str) or not ids.is_user_id(value):
        raise _invalid(f"{name} is a user id of {ids.USER_ID_TEXT}")
    return value


# -- the commands ----------------------------------------------------------------------------------


def creating(asker: Asker, key: bytes, body: Body) -> Command:
    """A new group; the caller is a member without being named. Who blocks the caller is read as when adding."""
    name = _checked_name(body.get("name"))
    members = body.get("members")
    named = _checked_users(members if is_given(members) else [], "members", least=0)
    settings = _checked_settings(body.get("settings"))
    member_ids = sorted({*named, asker.user_id})
    content = {"name": name, "members": member_ids, "settings": _given(settings)}
    action = CreateGroup(name=name, member_ids=member_ids, settings=settings)
    return _command(asker, group_id(key, asker), Command(create_group=action), content)


def changing(asker: Asker, session_id: str, body: Body) -> Command:
    """Another name, other settings, or both."""
    name = _checked_name(body.get("name")) if is_given(body.get("name")) else None
    settings = _checked_settings(body.get("settings"))
    given = _given(settings)
    if name is None and not given:
        raise _invalid("nothing to change: give name, or settings with at least one of them")
    content = {"name": name, "settings": given}
    action = ChangeGroup(name=name, settings=settings)
    return _command(asker, session_id, Command(change_group=action), content)


def adding(asker: Asker, session_id: str, body: Body) -> Command:
    """More members. Which of them block the caller is read when the command is published."""
    user_ids = sorted(_checked_users(body.get("user_ids"), "user_ids", least=1))
    action = AddMembers(user_ids=user_ids)
    return _command(asker, session_id, Command(add_members=action), {"user_ids": user_ids})


def removing(asker: Asker, session_id: str, user_id: str) -> Command:
    """One member less, who may be the caller."""
    user_id = checked_user(user_id)
    action = RemoveMember(user_id=user_id)
    return _command(asker, session_id, Command(remove_member=action), {"user_id": user_id})


def changing_member(asker: Asker, session_id: str, user_id: str, body: Body) -> Command:
    """Another role, or mute until a time; 0 lifts the mute."""
    user_id = checked_user(user_id)
    role = _checked_role(body.get("role"))
    muted_until = _checked_time(body.get("muted_until"))
    if role is None and muted_until is None:
        raise _invalid("nothing to change: give role, muted_until, or both")
    content = {"user_id": user_id, "role": role, "muted_until": muted_until}
    action = ChangeMember(user_id=user_id, role=role, muted_until_ms=muted_until)
    return _command(asker, session_id, Command(change_member=action), content)


def transferring(asker: Asker, session_id: str, body: Body) -> Command:
    """Another owner."""
    user_id = checked_user(body.get("user_id"))
    action = TransferGroup(user_id=user_id)
    return _command(asker, session_id, Command(transfer_group=action), {"user_id": user_id})


def dissolving(asker: Asker, session_id: str) -> Command:
    """The end of the group."""
    return _command(asker, session_id, Command(dissolve_group=DissolveGroup()), {})


def weight(command: Command) -> int:
    """How many messages the command counts as for the rate limit: PROTOCOL counts the members it adds."""
    match command.WhichOneof("action"):
        case "create_group":
            return len(command.create_group.member_ids)
        case "add_members":
            return len(command.add_members.user_ids)
        case _:
            return 1


def _command(asker: Asker, session_id: str, action: Command, content: Body) -> Command:
    """The action with who gives it. `content` is what a repeat under the same id must not differ in."""
    action.session_id = session_id
    action.sender_id = asker.user_id
    action.client_msg_id = asker.client_msg_id
    action.attempt = 1
    name = action.WhichOneof("action") or ""
    action.digest = hashlib.sha256(name.encode() + b"\n" + canonical_json(content)).digest()
    return action


# -- their fields ----------------------------------------------------------------------------------


def _invalid(text: str) -> Refused:
    return Refused("invalid_frame", text)


def _checked_name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= GROUP_NAME_POINTS:
        raise _invalid(f"name is a string of 1-{GROUP_NAME_POINTS} characters")
    if (fault := name_fault(value)) is not None:
        raise _invalid(f"name: {fault}")
    return value


def _checked_users(value: object, name: str, least: int) -> set[str]:
    """User ids, each once."""
    if not isinstance(value, list):
        raise _invalid(f"{name} is a list of user ids")
    user_ids = {checked_user(user_id, f"each of {name}") for user_id in value}
    if not least <= len(user_ids) <= COMMAND_USERS:
        raise _invalid(f"{name} is a list of {least}-{COMMAND_USERS} user ids; add more in another call")
    return user_ids


def _checked_settings(value: object) -> GroupSettings | None:
    """Those that are given; unknown ones are ignored. None when there is nothing."""
    if not is_given(value):
        return None
    if not isinstance(value, dict):
        raise _invalid("settings is an object with share_history, who_can_send, who_can_add, or some of them")
    shares = value.get("share_history")
    if is_given(shares) and not isinstance(shares, bool):
        raise _invalid("settings.share_history is true or false")
    settings = GroupSettings(
        share_history=shares if isinstance(shares, bool) else None,
        who_can_send=_checked_choice(value.get("who_can_send"), "settings.who_can_send", WHO),
        who_can_add=_checked_choice(value.get("who_can_add"), "settings.who_can_add", WHO),
    )
    return settings if _given(settings) else None


def _checked_choice(value: object, name: str, choices: Sequence[str]) -> str | None:
    if not is_given(value):
        return None
    if not isinstance(value, str) or value not in choices:
        raise _invalid(f"{name} is {' or '.join(choices)}")
    return value


def _checked_role(value: object) -> str | None:
    if value == "owner":
        raise _invalid("the role owner is given by POST …/transfer")
    return _checked_choice(value, "role", GIVEN_ROLES)


def _checked_time(value: object) -> int | None:
    if not is_given(value):
        return None
    number = whole(value)
    if number == 0 or (number is not None and LEAST_TIME_MS <= number <= MOST_TIME_MS):
        return number
    raise _invalid(
        "muted_until is a time in milliseconds since 1970, not in seconds or parts of a millisecond, "
        "from the year 1973 to 9999; 0 lifts a mute"
    )


def _given(settings: GroupSettings | None) -> dict[str, object]:
    return {} if settings is None else {field.name: value for field, value in settings.ListFields()}
