"""Checks whether a user may read a session. Each check reads the tables, so no cache outlives a removal (G10, G11)."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import orjson

from services.gateway.protocol.commands import session_not_found
from services.gateway.reads.batching import Batched
from tidings import ids
from tidings.errors import Refused, StoreUnavailable
from tidings.groups import SHARE_HISTORY
from tidings.store.base import Store
from tidings.store.rows import MODE_WRITE, NEWEST, ROLE_MEMBER, GroupRow, MemberRow

# A page is read again when the caller's membership has changed since its start (G10).
MOST_READS = 8


@dataclass(frozen=True, slots=True)
class Membership:
    """A current member of a session. `group` is None for a direct session, whose two users are always members.

    `joined_count`: countable messages before the joining. They are never unread.
    """

    session_id: str
    user_id: str
    joined_seq: int = 0
    joined_count: int = 0
    role: int = ROLE_MEMBER
    mode: int = MODE_WRITE
    shares_history: bool = False
    group: GroupRow | None = None

    @property
    def first_seq(self) -> int:
        """The lowest seq that the member may read."""
        return 1 if self.shares_history else max(1, self.joined_seq)


class Memberships:
    """Reads group and member versions. Concurrent checks share the reads."""

    def __init__(self, store: Store) -> None:
        """Nothing is cached between two checks."""
        self._store = store
        self._groups: Batched[str, GroupRow] = Batched(self._load_groups)
        self._members: Batched[tuple[str, str], MemberRow] = Batched(self._load_members)

    async def check(self, user_id: str, session_id: str) -> Membership:
        """The caller's membership. Raises Refused(`session_not_found`) for any reason, or StoreUnavailable."""
        found = (await self.check_many(user_id, (session_id,))).get(session_id)
        if found is None:
            raise session_not_found()
        return found

    async def check_many(self, user_id: str, session_ids: Collection[str]) -> dict[str, Membership]:
        """The memberships of the user in these sessions, without sessions that the user is not in. Raises
        StoreUnavailable."""
        found = {name: Membership(name, user_id) for name in session_ids if user_id in ids.direct_users(name)}
        asked = [name for name in session_ids if ids.is_group_session(name)]
        for name, (group, member) in (await self.versions(user_id, asked)).items():
            # Every joining makes a version of the group. A user with a later joining was added during this call. The
            # version that was read (with its settings) may be from a time when the user was not a member (G10).
            if is_member(group, member) and member.joined_seq <= group.as_of_seq:
                found[name] = _membership(group, member)
        return found

    async def versions(self, user_id: str, session_ids: Collection[str]) -> dict[str, tuple[GroupRow, MemberRow]]:
        """The newest versions of groups and of the user in them, current member or not. Groups without a row of the
        user are left out.

        The group is read first, so that its version is never newer than the member's row (G10). Both are always read,
        so that a non-member cannot detect the group by the response time (G11). Raises StoreUnavailable.
        """
        found = await self.versions_at([(name, user_id) for name in session_ids])
        return {name: versions for (name, _), versions in found.items()}

    async def versions_at(
        self, places: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], tuple[GroupRow, MemberRow]]:
        """The same for several users, by (session, user). Adjacent pairs of one session share requests."""
        found, failed = await self.readable_versions_at(places)
        for error in failed.values():
            raise error
        return found

    async def readable_versions_at(
        self, places: Collection[tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], tuple[GroupRow, MemberRow]], dict[tuple[str, str], StoreUnavailable]]:
        """The same, and the errors of the pairs whose group or member cannot be read. Raises nothing for them."""
        groups, failed_groups = await self._groups.get_some({name: None for name, _ in places})
        members, failed = await self._members.get_some(places)
        failed |= {place: failed_groups[place[0]] for place in places if place[0] in failed_groups}
        return {place: (groups[place[0]], row) for place, row in members.items() if place[0] in groups}, failed

    async def _load_groups(self, session_ids: Collection[str]) -> Mapping[str, GroupRow]:
        return await self._store.groups_as_of(dict.fromkeys(session_ids, NEWEST))

    async def _load_members(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], MemberRow]:
        asked: dict[str, list[str]] = {}
        for session_id, user_id in pairs:
            asked.setdefault(session_id, []).append(user_id)
        pages = await asyncio.gather(
            *(self._store.members_as_of(session_id, NEWEST, user_ids) for session_id, user_ids in asked.items())
        )
        return {(row.session_id, row.user_id): row for page in pages for row in page.values()}


def is_member(group: GroupRow, member: MemberRow) -> bool:
    """Whether the user is a member by the newest versions. A dissolved group has none, whatever its rows state."""
    return group.member_count > 0 and member.left_seq == 0


def _membership(group: GroupRow, member: MemberRow) -> Membership:
    return Membership(
        session_id=group.session_id,
        user_id=member.user_id,
        joined_seq=member.joined_seq,
        joined_count=member.joined_count,
        role=member.role,
        mode=group.mode,
        shares_history=orjson.loads(group.settings).get(SHARE_HISTORY) is True,
        group=group,
    )


def changes_too_often() -> Refused:
    """The refusal after MOST_READS reads of one page."""
    return Refused("unavailable", "your membership changes faster than the page can be read; try again")
