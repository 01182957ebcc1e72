"""The REST calls for groups. `Rest.command` repeats a command under one id until its outcome is known, so that it is
executed once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Literal, TypedDict

import msgspec

from tidings_client.errors import ApiError
from tidings_client.ids import checked_group, checked_user
from tidings_client.rest import Answer, Rest, path_of

MEMBERS_A_PAGE = 200
LEAST_TIME_MS, MOST_TIME_MS = 100_000_000_000, 253_402_300_799_999  # PROTOCOL: the range of valid times
WRONG_CLOCK = ("clock_skew", "too_old")  # the id was made with a wrong clock, and nothing was stored
NEW_IDS = 2  # for one call; the first refusal carries the server's time
Role = Literal["admin", "member"]


class GroupSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`share_history`: members may read messages from before their joining. The other two are `all` or `admins`."""

    share_history: bool = False
    who_can_send: str = "all"
    who_can_add: str = "all"


class SettingsChange(TypedDict, total=False):
    """The settings to change. Absent settings stay as they are."""

    share_history: bool
    who_can_send: Literal["all", "admins"]
    who_can_add: Literal["all", "admins"]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """`mode`: in `write` mode messages come through the inbox, in `read` mode from the group's log."""

    session_id: str
    name: str
    owner: str
    mode: str
    member_count: int
    settings: GroupSettings = GroupSettings()


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """`role` is owner, admin or member. `muted_until` is in milliseconds since 1970."""

    user_id: str
    role: str = "member"
    joined_seq: int = 0
    muted_until: int | None = None


class MemberPage(msgspec.Struct, frozen=True, kw_only=True):
    members: tuple[Member, ...] = ()
    next: str | None = None


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The command is message `seq` of the group."""

    session_id: str
    seq: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """`code` is already_member or user_blocked."""

    user_id: str
    code: str


class Created(Placed, frozen=True, kw_only=True):
    """The new group. `left_out` has the users that block the caller; it is empty in the answer to a repeat."""

    left_out: tuple[LeftOut, ...] = ()


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """`seq` is None if no user was added, because then nothing was stored."""

    session_id: str
    seq: int | None = None
    added: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


class GroupCalls:
    """Every call raises ApiError for a refusal and Unreachable if no try was answered. It raises InvalidId for an
    invalid id, before anything is sent. The client makes a `client_msg_id` unless the application gives one. A given
    id makes a command idempotent across restarts of the application."""

    def __init__(self, rest: Rest, make_id: Callable[[], str], own_id: Callable[[], Awaitable[str]]) -> None:
        self._rest = rest
        self._make_id = make_id
        self._own_id = own_id

    async def create(
        self,
        name: str,
        members: Iterable[str] = (),
        *,
        settings: SettingsChange | None = None,
        client_msg_id: str | None = None,
    ) -> Created:
        """Create a group of at most 500 members. The caller becomes its owner. The result's `session_id` is its id."""
        body: dict[str, Any] = {"name": name, "members": [checked_user(user) for user in members]}
        if settings is not None:
            body["settings"] = settings
        return await self._command(Created, "POST", path_of("groups"), body, client_msg_id)

    async def get(self, session_id: str) -> Group:
        return await self._rest.get(Group, _path(session_id))

    async def rename(self, session_id: str, name: str, *, client_msg_id: str | None = None) -> Placed:
        return await self._command(Placed, "PATCH", _path(session_id), {"name": name}, client_msg_id)

    async def change_settings(
        self, session_id: str, settings: SettingsChange, *, client_msg_id: str | None = None
    ) -> Placed:
        return await self._command(Placed, "PATCH", _path(session_id), {"settings": settings}, client_msg_id)

    async def dissolve(self, session_id: str, *, client_msg_id: str | None = None) -> Placed:
        return await self._command(Placed, "DELETE", _path(session_id), None, client_msg_id)

    async def members(self, session_id: str) -> AsyncIterator[Member]:
        """All members by user id, read page by page while the caller iterates."""
        after: str | None = None
        while True:
            page = await self.member_page(session_id, after, MEMBERS_A_PAGE)
            for member in page.members:
                yield member
            if page.next is None or page.next == after:
                return
            after = page.next

    async def member_page(self, session_id: str, after: str | None = None, limit: int | None = None) -> MemberPage:
        """`after` takes the `next` of the page before."""
        return await self._rest.get(MemberPage, _path(session_id, "members"), after=after, limit=limit)

    async def add(self, session_id: str, user_ids: Iterable[str], *, client_msg_id: str | None = None) -> Added:
        """Add at most 500 users. `left_out` has the users that are members already or block the caller."""
        body = {"user_ids": [checked_user(user) for user in user_ids]}
        return await self._command(Added, "POST", _path(session_id, "members"), body, client_msg_id)

    async def remove(self, session_id: str, user_id: str, *, client_msg_id: str | None = None) -> Placed:
        return await self._command(Placed, "DELETE", _member_path(session_id, user_id), None, client_msg_id)

    async def leave(self, session_id: str, *, client_msg_id: str | None = None) -> Placed:
        """Leave the group. Waits until the client is signed in, because `welcome` carries the user id."""
        return await self.remove(session_id, await self._own_id(), client_msg_id=client_msg_id)

    async def set_role(self, session_id: str, user_id: str, role: Role, *, client_msg_id: str | None = None) -> Placed:
        return await self._change(session_id, user_id, {"role": role}, client_msg_id)

    async def mute(self, session_id: str, user_id: str, until_ms: int, *, client_msg_id: str | None = None) -> Placed:
        """Mute a member until a time in milliseconds since 1970. 0 or a past time ends the mute. Raises ValueError for
        an implausible time, such as one in seconds."""
        if until_ms != 0 and not LEAST_TIME_MS <= until_ms <= MOST_TIME_MS:
            raise ValueError(f"until_ms is a time in milliseconds since 1970, from 1973 to 9999, not {until_ms}")
        return await self._change(session_id, user_id, {"muted_until": until_ms}, client_msg_id)

    async def transfer(self, session_id: str, user_id: str, *, client_msg_id: str | None = None) -> Placed:
        """Make this member the owner. The caller becomes an admin."""
        body = {"user_id": checked_user(user_id)}
        return await self._command(Placed, "POST", _path(session_id, "transfer"), body, client_msg_id)

    async def _change(self, session_id: str, user_id: str, change: dict[str, Any], client_msg_id: str | None) -> Placed:
        return await self._command(Placed, "PUT", _member_path(session_id, user_id), change, client_msg_id)

    async def _command(
        self, answer_type: type[Answer], method: str, path: str, body: dict[str, Any] | None, client_msg_id: str | None
    ) -> Answer:
        if client_msg_id is not None:
            return await self._rest.command(answer_type, method, path, client_msg_id, body)
        for _ in range(NEW_IDS):
            try:
                return await self._rest.command(answer_type, method, path, self._make_id(), body)
            except ApiError as error:
                if error.code not in WRONG_CLOCK:
                    raise
        return await self._rest.command(answer_type, method, path, self._make_id(), body)


def _path(session_id: str, *parts: str) -> str:
    return path_of("groups", checked_group(session_id), *parts)


def _member_path(session_id: str, user_id: str) -> str:
    return _path(session_id, "members", checked_user(user_id))
