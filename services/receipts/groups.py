"""Groups as receipts needs them: the users that may have watermarks, and the crews for the counts.

The log does not decide about a watermark. So the newest versions in the tables decide whether
a user is a member, and not the versions as of a seq. They are not read if a crew in memory
has the user and has followed the log far enough. A crew is needed for counts alone. It is
read in a task of its own (`crew_loads`) and then follows the log.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from services.receipts.crew_loads import CrewLoads
from services.receipts.crews import MEMBERS_IN_MEMORY, Crew, Crews
from services.receipts.merge import Claim, UserOfSession
from tidings import ids, metrics
from tidings.store.base import Store
from tidings.store.rows import MODE_READ, NEWEST, GroupRow
from tidings.wire.persisted_pb2 import Persisted

# About 150 bytes each. If a group is evicted here and its members change, its crew is read twice.
_SEEN_GROUPS = 50_000


class Groups:
    """The groups of the assigned partitions. `permitted` raises StoreUnavailable."""

    def __init__(self, store: Store, most_members: int = MEMBERS_IN_MEMORY) -> None:
        """`most_members`: the bound of all crews together (see Crews)."""
        self._store = store
        self._crews = Crews(most_members)
        self._loads = CrewLoads(store, self._crews)
        # The highest seq seen of each group in this assignment. After the first one there is no gap.
        self._seen: dict[str, int] = {}

    def see(self, persisted: Persisted) -> None:
        """Take in a stored message, whose rows are stored too. Not for repeats: an old one would reset the crew."""
        session_id = persisted.message.session_id
        if not ids.is_group_session(session_id):
            return
        self._seen[session_id] = max(persisted.message.seq, self._seen.pop(session_id, 0))
        if len(self._seen) > _SEEN_GROUPS:
            del self._seen[next(iter(self._seen))]
        if persisted.joined_ids or persisted.left_ids or persisted.dissolves or persisted.mode_to:
            self._crews.follow(persisted)
            self._loads.follow(persisted)
            # Read newcomers now and not when counts are due, because a growing group would always have some then.
            if (crew := self._crews.get(session_id)) is not None and crew.newcomers:
                self._loads.begin(session_id, persisted.message.seq)

    def forget(self) -> None:
        """Drop all state: another process owns the sessions now, and this one misses their changes."""
        self._loads.cancel()
        self._crews.clear()
        self._seen.clear()

    def raise_to(self, pair: UserOfSession, delivered_seq: int, read_seq: int) -> None:
        """Raise the stored watermarks of a member in its crew, if that is in memory."""
        crew = self._crews.get(pair[0])
        if crew is not None:
            crew.raise_to(pair[1], delivered_seq, read_seq)

    def crew(self, session_id: str) -> Crew | None:
        """The crew with all its watermarks. If it is not in memory, begin to read it and return None."""
        crew = self._crews.get(session_id)
        if crew is not None and not crew.newcomers:
            return crew
        self._loads.begin(session_id, self._seen.get(session_id))
        return None

    async def permitted(self, claims: Collection[Claim], heads: Mapping[str, int]) -> list[Claim]:
        """The claims of current members; in read diffusion without `delivered_seq`. All others are dropped.

        `heads`, by session, must be read before the membership check: a user removed before that head must not
        receive updates up to it (G10).
        """
        modes = await self._modes([claim for claim in claims if ids.is_group_session(claim.session_id)], heads)
        kept = []
        for claim in claims:
            mode = modes.get((claim.session_id, claim.user_id))
            if not ids.is_group_session(claim.session_id):
                kept.append(claim)
            elif mode is None:
                metrics.STRANGERS_WATERMARKS.inc()
            else:
                kept.append(replace(claim, delivered_seq=0) if mode == MODE_READ else claim)
        return kept

    async def _modes(self, claims: Collection[Claim], heads: Mapping[str, int]) -> dict[UserOfSession, int]:
        """The delivery mode of the group by claim, for users that are members.

        The tables are read for a user that no crew in memory has. They are also read if the head is above the highest
        seq seen: then the log has not brought a removal at or below the head yet, and the crew may be out of date.
        """
        modes: dict[UserOfSession, int] = {}
        asked: dict[str, set[str]] = {}
        for claim in claims:
            crew = self._crews.get(claim.session_id)
            is_current = heads[claim.session_id] <= self._seen.get(claim.session_id, 0)
            if crew is not None and is_current and claim.user_id in crew.watermarks:
                modes[claim.session_id, claim.user_id] = crew.mode
            else:
                asked.setdefault(claim.session_id, set()).add(claim.user_id)
        rows = await self._store.groups_as_of(dict.fromkeys(asked, NEWEST)) if asked else {}
        living = [row for row in rows.values() if row.member_count > 0]
        for found in await asyncio.gather(*(self._modes_in(row, asked[row.session_id]) for row in living)):
            modes |= found
        return modes

    async def _modes_in(self, group: GroupRow, user_ids: Collection[str]) -> dict[UserOfSession, int]:
        rows = await self._store.members_as_of(group.session_id, NEWEST, user_ids)
        return {(group.session_id, row.user_id): group.mode for row in rows.values() if not row.left_seq}
