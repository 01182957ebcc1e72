"""Groups as receipts needs them: who may have watermarks, and the crews of those in write diffusion.

A watermark is no truth of the log, so the newest versions in the tables decide
(not those as of a seq), and a crew in memory is dropped with each membership
message of `messages.persisted`: its rows were written before it (law 6).
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace

from services.receipts.crews import Crew, Crews
from services.receipts.merge import Claim
from tidings import ids, metrics
from tidings.store.base import Store
from tidings.store.rows import MODE_WRITE
from tidings.wire.persisted_pb2 import Persisted

_NEWEST = 2**62
_PAGE = 1_000
_LOADS_AT_ONCE = 8

Place = tuple[str, str]


class Groups:
    """Raises StoreUnavailable wherever the tables are asked."""

    def __init__(self, store: Store) -> None:
        """Nothing is known."""
        self._store = store
        self._crews = Crews()
        self._loads = asyncio.Semaphore(_LOADS_AT_ONCE)

    def see(self, persisted: Persisted) -> None:
        """A stored message: after one that changes who is in, or the mode, the crew is another."""
        if persisted.joined_ids or persisted.left_ids or persisted.dissolves or persisted.mode_to:
            self._crews.drop(persisted.message.session_id)

    def forget(self) -> None:
        """The sessions are another's."""
        self._crews.clear()

    def raise_to(self, place: Place, delivered_seq: int, read_seq: int) -> None:
        """A member's watermarks are stored."""
        crew = self._crews.get(place[0])
        if crew is not None:
            crew.raise_to(place[1], delivered_seq, read_seq)

    async def permitted(self, claims: Collection[Claim]) -> list[Claim]:
        """What counts: nothing of those who are not members now; in read diffusion only `read`."""
        sessions = {claim.session_id for claim in claims if ids.is_group_session(claim.session_id)}
        crews = await self._living(sessions)
        members = await self._members(claims, crews)
        kept = []
        for claim in claims:
            if claim.session_id not in sessions:
                kept.append(claim)
            elif (claim.session_id, claim.user_id) not in members:
                metrics.STRANGERS_WATERMARKS.inc()
            elif crews[claim.session_id] is not None:
                kept.append(claim)
            else:
                kept.append(replace(claim, delivered_seq=0))
        return kept

    async def crews(self, session_ids: Collection[str]) -> dict[str, Crew]:
        """The crews of those sessions that are groups in write diffusion now."""
        return {name: crew for name, crew in (await self._living(session_ids)).items() if crew is not None}

    async def _living(self, session_ids: Collection[str]) -> dict[str, Crew | None]:
        """Groups that have members: with their crew in write diffusion, None in read diffusion."""
        known = {name: self._crews.get(name) for name in session_ids}
        living = {name: crew for name, crew in known.items() if crew is not None}
        unknown = {name: _NEWEST for name in session_ids if name not in living}
        rows = await self._store.groups_as_of(unknown) if unknown else {}
        newest = {name: row for name, row in rows.items() if row.member_count > 0}
        writing = [name for name, row in newest.items() if row.mode == MODE_WRITE]
        loaded = dict(zip(writing, await asyncio.gather(*map(self._load, writing)), strict=True))
        for name, crew in loaded.items():
            self._crews.put(name, crew)
        return {**living, **{name: loaded.get(name) for name in newest}}

    async def _load(self, session_id: str) -> Crew:
        async with self._loads:
            user_ids: list[str] = []
            after: str | None = ""
            while after is not None:
                members, after = await self._store.member_page(session_id, _NEWEST, after, _PAGE)
                user_ids.extend(row.user_id for row in members if not row.left_seq)
            crew, page_is_full, last = Crew(user_ids), True, ""
            while page_is_full:
                rows = await self._store.receipt_page(session_id, last, _PAGE)
                for row in rows:
                    crew.raise_to(row.user_id, row.delivered_seq, row.read_seq)
                    last = row.user_id
                page_is_full = len(rows) == _PAGE
            return crew

    async def _members(self, claims: Collection[Claim], crews: Mapping[str, Crew | None]) -> set[Place]:
        """Those who claim and are in; who joined after a crew was loaded is found, too."""
        members: set[Place] = set()
        asked: dict[str, set[str]] = {}
        for claim in claims:
            if claim.session_id in crews:
                crew = crews[claim.session_id]
                if crew is not None and claim.user_id in crew.marks:
                    members.add((claim.session_id, claim.user_id))
                else:
                    asked.setdefault(claim.session_id, set()).add(claim.user_id)
        for session_id, user_ids in asked.items():
            rows = await self._store.members_as_of(session_id, _NEWEST, user_ids)
            joined = {(session_id, row.user_id) for row in rows.values() if not row.left_seq}
            if joined and crews[session_id] is not None:
                self._crews.drop(session_id)
            members |= joined
        return members
