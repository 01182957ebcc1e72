"""Reads that many ask for at once, made into few. Bounded: some batches in flight, the rest waits for the next turn."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

# A batch is one request for most tables. While some are decoded the tables answer others; together they take fewer
# than the requests that one process has in flight.
MAX_KEYS = 100
BATCHES_AT_ONCE = 4
# The keys of one call that wait at a time: who asks for one is not kept waiting by all of who asks for very many.
_KEYS_OF_A_CALL = 1_000


class _Batch(Generic[K, V]):
    """Keys that are loaded together: one future for all of them, since one for each is most of what a key costs."""

    __slots__ = ("answer", "keys")

    def __init__(self) -> None:
        self.keys: list[K] = []
        self.answer: asyncio.Future[Mapping[K, V]] = asyncio.get_running_loop().create_future()
        # Its callers may all be gone when it fails.
        self.answer.add_done_callback(lambda done: done.cancelled() or done.exception())


class Batched(Generic[K, V]):
    """Loads keys in batches; equal keys that wait are loaded once.

    A caller only ever joins a batch that has not begun, so what it gets was
    read after it asked: that is PROTOCOL's promise of freshness.
    """

    def __init__(self, load: Callable[[Collection[K]], Awaitable[Mapping[K, V]]]) -> None:
        """`load` answers for the keys it finds; what it raises is raised for all of them."""
        self._load = load
        # All but the last are full.
        self._waiting: deque[_Batch[K, V]] = deque()
        self._places: dict[K, _Batch[K, V]] = {}
        self._runs: set[asyncio.Task[None]] = set()

    async def get_many(self, keys: Collection[K]) -> dict[K, V]:
        """The values of those keys that have one. Raises what `load` raises."""
        found: dict[K, V] = {}
        left = iter(keys)
        while part := list(islice(left, _KEYS_OF_A_CALL)):
            found |= await self._get_part(part)
        return found

    async def _get_part(self, keys: Collection[K]) -> dict[K, V]:
        places = {key: self._place_of(key) for key in keys}
        self._start()
        # Not gather: a cancelled caller must not cancel what others wait for.
        await asyncio.wait({batch.answer for batch in places.values()})
        found = {key: batch.answer.result().get(key) for key, batch in places.items()}
        return {key: value for key, value in found.items() if value is not None}

    async def get(self, key: K) -> V | None:
        """The value of one key, or None."""
        return (await self.get_many((key,))).get(key)

    def _place_of(self, key: K) -> _Batch[K, V]:
        """The batch with which the key is loaded."""
        batch = self._places.get(key)
        if batch is None:
            if not self._waiting or len(self._waiting[-1].keys) == MAX_KEYS:
                self._waiting.append(_Batch())
            batch = self._places[key] = self._waiting[-1]
            batch.keys.append(key)
        return batch

    def _start(self) -> None:
        """One run, and beside it others for whole batches alone: the few keys that come during a run wait for it."""
        while len(self._runs) < min(BATCHES_AT_ONCE, 1 + len(self._places) // MAX_KEYS):
            self._runs.add(asyncio.create_task(self._run()))

    async def _run(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        try:
            while self._waiting:
                batch = self._waiting.popleft()
                for key in batch.keys:
                    del self._places[key]
                await self._answer(batch)
        finally:
            # By itself and at once: a key that comes before a callback would run must not count on this one.
            self._runs.remove(this)

    async def _answer(self, batch: _Batch[K, V]) -> None:
        try:
            batch.answer.set_result(await self._load(batch.keys))
        except Exception as error:  # noqa: BLE001 - without an answer the callers wait for ever
            batch.answer.set_exception(error)
