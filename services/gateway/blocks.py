"""Who blocks whom, remembered for less than the 5 s that PROTOCOL allows.

A list that is asked for again and again is read again beside the messages, in
batches, so that nobody waits for it; only an unknown or an old one is waited for.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping

from cachetools import LRUCache

from services.gateway.batching import Batched
from tidings.clock import Clock
from tidings.errors import StoreUnavailable
from tidings.store.base import Store, TaggedRow
from tidings.store.rows import BlockRow

# Counted from the begin of the read, so a slow read does not lengthen it.
MAX_AGE_MS = 4_000
# From here on a list in use is read again in the background: it has as long again, and more, to arrive.
REFRESH_AGE_MS = 1_500
GATHER_S = 0.25
MAX_USERS = 50_000


class Blocks:
    """The block lists of users, read when needed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Empty."""
        self._store = store
        self._clock = clock
        self._known: LRUCache[str, tuple[int, frozenset[str]]] = LRUCache(MAX_USERS)
        # When a list was changed here: what a read that began before has found is void.
        self._changed_at: LRUCache[str, int] = LRUCache(MAX_USERS)
        self._reads: Batched[str, frozenset[str]] = Batched(self._load)
        self._growing_old: set[str] = set()
        self._refreshing: asyncio.Task[None] | None = None

    async def blocks(self, user_id: str, other_id: str) -> bool:
        """True when user_id refuses other_id, as it was at most 4 s ago. Raises StoreUnavailable."""
        known = self._known.get(user_id)
        age_ms = self._clock.monotonic_ms() - known[0] if known is not None else MAX_AGE_MS
        if known is None or age_ms >= MAX_AGE_MS:
            return other_id in (await self._reads.get(user_id) or ())
        if age_ms >= REFRESH_AGE_MS:
            self._refresh(user_id)
        return other_id in known[1]

    async def listed(self, user_id: str) -> list[str]:
        """Whom the user blocks, as stored now, sorted. Raises StoreUnavailable."""
        return sorted(await self._reads.get(user_id) or ())

    async def add(self, user_id: str, other_id: str) -> None:
        """Block somebody. Raises StoreUnavailable (unknown; repeat it)."""
        if await self._store.write([TaggedRow(0, BlockRow(user_id, other_id))]):
            raise StoreUnavailable("the block was not confirmed")
        self._changed(user_id)

    async def remove(self, user_id: str, other_id: str) -> None:
        """Take a block back. Raises StoreUnavailable (unknown; repeat it)."""
        await self._store.remove_block(BlockRow(user_id, other_id))
        self._changed(user_id)

    def _refresh(self, user_id: str) -> None:
        self._growing_old.add(user_id)
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._read_again())

    async def _read_again(self) -> None:
        """All that grow old within a moment in one read."""
        while self._growing_old:
            await asyncio.sleep(GATHER_S)
            user_ids, self._growing_old = self._growing_old, set()
            # Where it fails, the lists grow old and are waited for.
            with contextlib.suppress(StoreUnavailable):
                await self._reads.get_many(user_ids)

    async def _load(self, user_ids: Collection[str]) -> Mapping[str, frozenset[str]]:
        begun_ms = self._clock.monotonic_ms()
        lists = await self._store.blocks(user_ids)
        found = {user_id: frozenset(lists.get(user_id, ())) for user_id in user_ids}
        for user_id, blocked in found.items():
            known_ms, _ = self._known.get(user_id, (-1, None))
            if begun_ms > self._changed_at.get(user_id, -1) and begun_ms >= known_ms:
                self._known[user_id] = (begun_ms, blocked)
        return found

    def _changed(self, user_id: str) -> None:
        """What is known is void, and so is what a read now under way will find."""
        self._known.pop(user_id, None)
        self._changed_at[user_id] = self._clock.monotonic_ms()
