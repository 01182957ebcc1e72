"""The heads of users' read-diffusion groups, for members only (G10; docs/adr/0022)."""

import random
from collections.abc import Collection, Mapping

from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.reads.membership import Memberships, is_member
from services.gateway.reads.sessions import SessionReads

_Place = tuple[str, str]  # session, user


class GroupHeads:
    """Reads memberships if pushes are behind a head, because a removal may be among the missing pushes.

    The tables are read after the head. The tracker caches the result, so a head causes about one read. If pushes have
    reached the head, as in every quiet group, nothing is read.
    """

    def __init__(self, groups: GroupTracker, sessions: SessionReads, memberships: Memberships) -> None:
        """`groups` tracks the users of this gateway."""
        self._groups = groups
        self._sessions = sessions
        self._memberships = memberships

    async def of_users(
        self, user_ids: Collection[str], most_asked: int | None = None
    ) -> tuple[dict[str, dict[str, int]], Collection[str]]:
        """The heads of each user's read-diffusion groups, and the users with a head that cannot be read.

        Heads are read in batches. At most `most_asked` memberships are read; other unverified heads are left out.
        """
        of_user = self._groups.read_sessions_of
        names = {name for user_id in user_ids for name in of_user(user_id)}
        heads, unreadable = await self._sessions.readable_head_seqs(names)
        unread = {user_id for user_id in user_ids if unreadable and not unreadable.isdisjoint(of_user(user_id))}
        sure, unsure = self._divided(user_ids, heads)
        if not unsure:
            return sure, unread
        unread |= await self._ask(_some(unsure, most_asked), heads)
        return self._divided(user_ids, heads)[0], unread

    def _divided(
        self, user_ids: Collection[str], heads: Mapping[str, int]
    ) -> tuple[dict[str, dict[str, int]], list[_Place]]:
        """The heads that may be sent, and the (session, user) pairs whose membership is not verified."""
        sure: dict[str, dict[str, int]] = {}
        unsure: list[_Place] = []
        for user_id in user_ids:
            verified = sure[user_id] = {}
            for name in self._groups.read_sessions_of(user_id):
                if (head := heads.get(name)) is None:
                    continue
                if self._groups.is_verified_member(user_id, name, head):
                    verified[name] = head
                else:
                    unsure.append((name, user_id))
        return sure, unsure

    async def _ask(self, places: Collection[_Place], heads: Mapping[str, int]) -> set[str]:
        """Read memberships and confirm them in the tracker. Returns the users whose membership cannot be read."""
        found, failed = await self._memberships.readable_versions_at(places)
        for (name, user_id), (group, member) in found.items():
            # A user that was not a member when the head was read may have been added since.
            if is_member(group, member) and member.joined_seq <= heads[name]:
                self._groups.confirm_membership(user_id, name, heads[name])
        return {user_id for _, user_id in failed}


def _some(unsure: list[_Place], most: int | None) -> list[_Place]:
    """At most `most` pairs, sorted by session, because the members of one session need one request.

    The selection starts at a random position, because a fixed order would starve the same users in every call.
    """
    unsure.sort()
    if most is None or len(unsure) <= most:
        return unsure
    start = random.randrange(len(unsure))
    return sorted((unsure + unsure)[start : start + most])
