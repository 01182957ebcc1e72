"""The block lists of users, cached for less than the 5 s that PROTOCOL allows.

A list in use is refreshed in the background, in batches, so that no caller waits for it. A caller waits only for a list
that is not cached or too old. A change replaces the whole list, if no other gateway has changed it meanwhile (ADR 35).
"""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from cachetools import LRUCache

from services.gateway.protocol.rate_limits import RateLimits
from services.gateway.reads.batching import Batched
from tidings.clock import Clock
from tidings.errors import Refused, StoreUnavailable
from tidings.store.base import Store
from tidings.store.rows import BlockList

# Counted from the start of the read, so that a slow read does not lengthen it.
MAX_AGE_MS = 4_000
# At this age a list in use is refreshed in the background, which leaves 2.5 s for the read.
REFRESH_AGE_MS = 1_500
GATHER_S = 0.25
# 100 lists take 5 ms. After this time other lists no longer wait for a slow one, so they arrive within LIST_S.
_SLOW_S = 0.2
# Ids of all cached lists together: 100,000 empty lists, or 400 of the longest by default, which take some 60 MB.
MAX_KEPT = 400_000
# The overhead of a list, in ids.
_IDS_WORTH = 4
# As long as a call waits for Kafka. One change takes 5 ms, and a burst of a user's changes 0.5 s.
CHANGE_S = 5.0
# Pause between two tries, while another gateway changes the list of the same user.
_LOST_RACE_S = 0.05


@dataclass(frozen=True, slots=True)
class BlockRules:
    """How many users one user may block, and how often a user may change that at one gateway."""

    list_max: int = 1_000
    changes_per_s: int = 1
    burst: int = 100


DEFAULT_BLOCK_RULES = BlockRules()


class BlockLists:
    """The block lists of users, read when needed."""

    def __init__(self, store: Store, clock: Clock, rules: BlockRules = DEFAULT_BLOCK_RULES) -> None:
        """Nothing is cached yet."""
        self._store = store
        self._clock = clock
        self._list_max = rules.list_max
        self._full = f"a block list may have {rules.list_max} users (TIDINGS_BLOCKS_MAX); unblock a user first"
        self._rates = RateLimits(rules.changes_per_s, rules.burst, _too_often(rules))
        self._known: LRUCache[str, tuple[int, frozenset[str]]] = LRUCache(
            MAX_KEPT, getsizeof=lambda known: _IDS_WORTH + len(known[1])
        )
        # When a list was changed here. The result of a read that began before is ignored.
        self._changed_at: LRUCache[str, int] = LRUCache(MAX_KEPT // _IDS_WORTH)
        self._reads: Batched[str, BlockList] = Batched(self._load, _SLOW_S)
        # The changes of one user run one after the other.
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._growing_old: set[str] = set()
        self._refreshing: asyncio.Task[None] | None = None

    async def blocks(self, user_id: str, other_id: str) -> bool:
        """Whether user_id blocks other_id, as of at most 4 s ago. Raises StoreUnavailable."""
        known = self.known_to_block(user_id, other_id)
        return other_id in await self.listed(user_id) if known is None else known

    def known_to_block(self, user_id: str, other_id: str) -> bool | None:
        """The same from the cache; None if the list has to be read."""
        known = self._known.get(user_id)
        age_ms = self._clock.monotonic_ms() - known[0] if known is not None else MAX_AGE_MS
        if known is None or age_ms >= MAX_AGE_MS:
            return None
        if age_ms >= REFRESH_AGE_MS:
            self._refresh(user_id)
        return other_id in known[1]

    async def hiding(self, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """The (user, peer) pairs whose user blocks the peer. A list that cannot be read counts as blocking."""
        answers = {pair: self.known_to_block(*pair) for pair in pairs}
        unknown = {user_id for (user_id, _), answer in answers.items() if answer is None}
        if unknown:
            lists, failed = await self._reads.get_some(unknown)
            for user_id, peer_id in [pair for pair, answer in answers.items() if answer is None]:
                blocked = lists[user_id].blocked_ids if user_id in lists else ()
                answers[user_id, peer_id] = user_id in failed or peer_id in blocked
        return {pair for pair, answer in answers.items() if answer}

    async def listed(self, user_id: str) -> Collection[str]:
        """The users that this user blocks, sorted, as stored now. Raises StoreUnavailable."""
        found = await self._reads.get(user_id)
        return found.blocked_ids if found else ()

    async def add(self, user_id: str, other_id: str) -> None:
        """Block a user. Raises Refused. Raises StoreUnavailable if the outcome is unknown; repeat the call then."""

        def added(blocked: frozenset[str]) -> frozenset[str]:
            if other_id not in blocked and len(blocked) >= self._list_max:
                raise Refused("block_list_full", self._full)
            return blocked | {other_id}

        await self._change(user_id, added)

    async def remove(self, user_id: str, other_id: str) -> None:
        """Unblock a user. Raises as `add` does."""
        await self._change(user_id, lambda blocked: blocked - {other_id})

    async def _change(self, user_id: str, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        self._rates.take(user_id, 1, self._clock.monotonic_ms())
        lock = self._changing.setdefault(user_id, asyncio.Lock())
        try:
            async with asyncio.timeout(CHANGE_S), lock:
                await self._replace(user_id, change)
        except TimeoutError:
            raise StoreUnavailable("the change of the block list was not confirmed in time") from None
        finally:
            self._changed(user_id)

    async def _replace(self, user_id: str, change: Callable[[frozenset[str]], frozenset[str]]) -> None:
        """Write also an unchanged list, so that an earlier try of unknown outcome cannot take effect later."""
        while True:
            seen = (await self._store.block_lists((user_id,))).get(user_id) or BlockList(user_id)
            changed = seen.changed(change(frozenset(seen.blocked_ids)))
            if await self._store.replace_block_list(changed, seen.version):
                return
            await asyncio.sleep(random.uniform(0, _LOST_RACE_S))

    def _refresh(self, user_id: str) -> None:
        self._growing_old.add(user_id)
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._read_again())

    async def _read_again(self) -> None:
        """Refresh the lists that come due within GATHER_S in one read. The next caller waits for a failed one."""
        while self._growing_old:
            await asyncio.sleep(GATHER_S)
            user_ids, self._growing_old = self._growing_old, set()
            await self._reads.get_some(user_ids)

    async def _load(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        begun_ms = self._clock.monotonic_ms()
        found = await self._store.block_lists(user_ids)
        for user_id in user_ids:
            blocked = found[user_id].blocked_ids if user_id in found else ()
            known_ms, _ = self._known.get(user_id, (-1, None))
            is_newest = begun_ms > self._changed_at.get(user_id, -1) and begun_ms >= known_ms
            if is_newest and len(blocked) + _IDS_WORTH <= MAX_KEPT:
                self._known[user_id] = (begun_ms, frozenset(blocked))
        return found

    def _changed(self, user_id: str) -> None:
        """Drop the cached list, and ignore the result of a read under way."""
        self._known.pop(user_id, None)
        self._changed_at[user_id] = self._clock.monotonic_ms()


def _too_often(rules: BlockRules) -> str:
    return (
        f"more than {rules.burst} changes of your block list at once, or more than {rules.changes_per_s} per second;"
        " wait for retry_after_ms (settings TIDINGS_BLOCK_BURST and TIDINGS_BLOCK_CHANGES_PER_S)"
    )
