"""Who blocks whom, remembered for less than the 5 s that PROTOCOL allows."""

import asyncio

from cachetools import LRUCache

from tidings.clock import Clock
from tidings.errors import StoreUnavailable
from tidings.store.base import Store, TaggedRow
from tidings.store.rows import BlockRow

# Counted from the begin of the read, so a slow read does not lengthen it.
MAX_AGE_MS = 4_000
MAX_USERS = 50_000


class Blocks:
    """The block lists of users, read when needed."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Empty."""
        self._store = store
        self._clock = clock
        self._known: LRUCache[str, tuple[int, frozenset[str]]] = LRUCache(MAX_USERS)
        self._reading: dict[str, asyncio.Task[frozenset[str]]] = {}

    async def blocks(self, user_id: str, other_id: str) -> bool:
        """True when user_id refuses other_id, as it was at most 4 s ago. Raises StoreUnavailable."""
        known = self._known.get(user_id)
        if known is not None and self._clock.monotonic_ms() - known[0] < MAX_AGE_MS:
            return other_id in known[1]
        return other_id in await self._read_once(user_id)

    async def listed(self, user_id: str) -> list[str]:
        """Whom the user blocks, as stored now, sorted. Raises StoreUnavailable."""
        return list(await self._store.blocks(user_id))

    async def add(self, user_id: str, other_id: str) -> None:
        """Block somebody. Raises StoreUnavailable (unknown; repeat it)."""
        if await self._store.write([TaggedRow(0, BlockRow(user_id, other_id))]):
            raise StoreUnavailable("the block was not confirmed")
        self._changed(user_id)

    async def remove(self, user_id: str, other_id: str) -> None:
        """Take a block back. Raises StoreUnavailable (unknown; repeat it)."""
        await self._store.remove_block(BlockRow(user_id, other_id))
        self._changed(user_id)

    async def _read_once(self, user_id: str) -> frozenset[str]:
        task = self._reading.get(user_id)
        if task is None:
            task = self._reading[user_id] = asyncio.create_task(self._read(user_id))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _read(self, user_id: str) -> frozenset[str]:
        begun_ms = self._clock.monotonic_ms()
        task = asyncio.current_task()
        try:
            blocked = frozenset(await self._store.blocks(user_id))
            if self._reading.get(user_id) is task:
                self._known[user_id] = (begun_ms, blocked)
        finally:
            if self._reading.get(user_id) is task:
                del self._reading[user_id]
        return blocked

    def _changed(self, user_id: str) -> None:
        """What is known is void, and so is what a read now under way will find."""
        self._known.pop(user_id, None)
        self._reading.pop(user_id, None)
