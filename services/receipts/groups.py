"""Groups as receipts needs them: who may have watermarks, and the crews whose counts are told.

A watermark is no truth of the log, so for those whom no crew in memory has, or one
that the log has not brought far enough, the newest versions in the tables decide
(not those as of a seq). A crew is needed for
counts alone: it is read beside the rounds (`crew_loads`) and follows the log.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from services.receipts.crew_loads import CrewLoads
from services.receipts.crews import MEMBERS_IN_MEMORY, Crew, Crews
from services.receipts.merge import Claim
from tidings import ids, metrics
from tidings.store.base import Store
from tidings.store.rows import MODE_READ, NEWEST, GroupRow
from tidings.wire.persisted_pb2 import Persisted

# Some 150 bytes each. Of a group that is forgotten here a crew is read twice, should its members change.
_SEEN_GROUPS = 50_000

Place = tuple[str, str]


class Groups:
    """Raises StoreUnavailable where the tables are asked."""

    def __init__(self, store: Store, most_members: int = MEMBERS_IN_MEMORY) -> None:
        """Nothing is known. `most_members`: see Crews."""
        self._store = store
        self._crews = Crews(most_members)
        self._loads = CrewLoads(store, self._crews)
        # Up to which seq the messages of a group have been seen in this assignment, without a hole after the first.
        self._seen: dict[str, int] = {}

    def see(self, persisted: Persisted) -> None:
        """A stored message that is no repeat (one of long ago would take the crew back): its rows are stored too."""
        session_id = persisted.message.session_id
        if not ids.is_group_session(session_id):
            return
        self._seen[session_id] = max(persisted.message.seq, self._seen.pop(session_id, 0))
        if len(self._seen) > _SEEN_GROUPS:
            del self._seen[next(iter(self._seen))]
        if persisted.joined_ids or persisted.left_ids or persisted.dissolves or persisted.mode_to:
            self._crews.follow(persisted)
            self._loads.follow(persisted)
            # At once, not when counts are due: in a group that grows there would always be some.
            if (crew := self._crews.get(session_id)) is not None and crew.newcomers:
                self._loads.begin(session_id, persisted.message.seq)

    def forget(self) -> None:
        """The sessions are another's, and so is what is said of them meanwhile."""
        self._loads.cancel()
        self._crews.clear()
        self._seen.clear()

    def raise_to(self, place: Place, delivered_seq: int, read_seq: int) -> None:
        """A member's watermarks are stored."""
        crew = self._crews.get(place[0])
        if crew is not None:
            crew.raise_to(place[1], delivered_seq, read_seq)

    def crew(self, session_id: str) -> Crew | None:
        """The crew with all its watermarks; None while it is being read, which this begins."""
        crew = self._crews.get(session_id)
        if crew is not None and not crew.newcomers:
            return crew
        self._loads.begin(session_id, self._seen.get(session_id))
        return None

    async def permitted(self, claims: Collection[Claim], heads: Mapping[str, int]) -> list[Claim]:
        """What counts: nothing of those who are not members now; in read diffusion only `read`.

        `heads`, by session: read before, so that who was removed before one is told of nothing up to it (G10).
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

    async def _modes(self, claims: Collection[Claim], heads: Mapping[str, int]) -> dict[Place, int]:
        """Of those who claim and are in, how their group is delivered.

        The tables are asked where no crew has them, and where their crew may have them still: the head is one that
        the log has not brought yet, nor a removal before it.
        """
        modes: dict[Place, int] = {}
        asked: dict[str, set[str]] = {}
        for claim in claims:
            crew = self._crews.get(claim.session_id)
            is_current = heads[claim.session_id] <= self._seen.get(claim.session_id, 0)
            if crew is not None and is_current and claim.user_id in crew.marks:
                modes[claim.session_id, claim.user_id] = crew.mode
            else:
                asked.setdefault(claim.session_id, set()).add(claim.user_id)
        rows = await self._store.groups_as_of(dict.fromkeys(asked, NEWEST)) if asked else {}
        living = [row for row in rows.values() if row.member_count > 0]
        for found in await asyncio.gather(*(self._modes_in(row, asked[row.session_id]) for row in living)):
            modes |= found
        return modes

    async def _modes_in(self, group: GroupRow, user_ids: Collection[str]) -> dict[Place, int]:
        rows = await self._store.members_as_of(group.session_id, NEWEST, user_ids)
        return {(group.session_id, row.user_id): group.mode for row in rows.values() if not row.left_seq}
