"""The words of groups: roles, settings, modes, and how many users and characters a command holds. Pure.

The gateway takes and shows them, the codec checks them in commands, the persister decides by them. Rows hold roles
and modes as numbers (`tidings.store.rows`).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from tidings.store.rows import MODE_READ, MODE_WRITE, ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER

Mode = Literal["write", "read"]
Role = Literal["owner", "admin", "member"]
# The role owner is given by a transfer of the group alone.
GivenRole = Literal["admin", "member"]
# The members that have a right by a setting.
Who = Literal["all", "admins"]

ALL: Who = "all"
ADMINS: Who = "admins"
WHO: tuple[Who, ...] = get_args(Who)
GIVEN_ROLES: tuple[GivenRole, ...] = get_args(GivenRole)

MODE_NAMES: Mapping[int, Mode] = MappingProxyType({MODE_WRITE: "write", MODE_READ: "read"})
ROLE_NAMES: Mapping[int, Role] = MappingProxyType({ROLE_OWNER: "owner", ROLE_ADMIN: "admin", ROLE_MEMBER: "member"})
ROLES: Mapping[str, int] = MappingProxyType({name: role for role, name in ROLE_NAMES.items()})

SHARE_HISTORY = "share_history"
WHO_CAN_SEND = "who_can_send"
WHO_CAN_ADD = "who_can_add"
# The settings of a group that was made without any. These are all names of settings.
DEFAULT_SETTINGS: Mapping[str, bool | Who] = MappingProxyType(
    {SHARE_HISTORY: False, WHO_CAN_SEND: ALL, WHO_CAN_ADD: ALL}
)

# PROTOCOL: the most users that one group command may name, without its sender.
COMMAND_USERS = 500
GROUP_NAME_POINTS = 128


def mode_name(mode: int) -> Mode:
    """PROTOCOL's name for the mode of a row. Rows from before modes existed count as write diffusion."""
    return MODE_NAMES.get(mode, "write")


def role_name(role: int) -> Role:
    """PROTOCOL's word for the role of a row."""
    return ROLE_NAMES.get(role, "member")
