"""How far the read-diffusion groups of users have come, told to nobody who is out of them (G10; docs/adr/0022)."""

import random
from collections.abc import Collection, Mapping

from services.gateway.large_groups.tracker import GroupTracker
from services.gateway.reads.membership import Memberships, is_member
from services.gateway.reads.sessions import SessionReads

_Place = tuple[str, str]  # session, user


class GroupHeads:
    """Where pushes are behind a head, a removal may be on its way with them: the tables are asked, after the head.

    That a head may be told is kept, so it is asked about once. With pushes up to the head, as in every group that
    is quiet, nothing has to be read.
    """

    def __init__(self, groups: GroupTracker, sessions: SessionReads, memberships: Memberships) -> None:
        """`groups`: those of this gateway's users."""
        self._groups = groups
        self._sessions = sessions
        self._memberships = memberships

    async def of_users(
        self, user_ids: Collection[str], most_asked: int | None = None
    ) -> tuple[dict[str, dict[str, int]], Collection[str]]:
        """The heads of each user's read-diffusion groups, read in batches; and the users of whom one cannot be read.

        Of at most `most_asked` memberships the tables are asked; what is unsure beyond them is left out this time.
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
        """What may be told, and of whom it is not known."""
        sure: dict[str, dict[str, int]] = {}
        unsure: list[_Place] = []
        for user_id in user_ids:
            told = sure[user_id] = {}
            for name in self._groups.read_sessions_of(user_id):
                if (head := heads.get(name)) is None:
                    continue
                if self._groups.is_verified_member(user_id, name, head):
                    told[name] = head
                else:
                    unsure.append((name, user_id))
        return sure, unsure

    async def _ask(self, places: Collection[_Place], heads: Mapping[str, int]) -> set[str]:
        """The users whose membership cannot be read."""
        found, failed = await self._memberships.readable_versions_at(places)
        for (name, user_id), (group, member) in found.items():
            # Who was out when the head was read may have been added since.
            if is_member(group, member) and member.joined_seq <= heads[name]:
                self._groups.confirm_membership(user_id, name, heads[name])
        return {user_id for _, user_id in failed}


def _some(unsure: list[_Place], most: int | None) -> list[_Place]:
    """By session, since the members of one are one request.

    From anywhere on: the users of a call are others every time, and with an order among all of them
    some would come back to the same place of it for ever.
    """
    unsure.sort()
    if most is None or len(unsure) <= most:
        return unsure
    start = random.randrange(len(unsure))
    return sorted((unsure + unsure)[start : start + most])
