"""Reads that many ask for at once, made into few. Bounded: some batches in flight, the rest waits for the next turn."""

import asyncio
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


class Batched(Generic[K, V]):
    """Loads keys in batches; equal keys that wait are loaded once.

    A caller only ever joins a batch that has not begun, so what it gets was
    read after it asked: that is PROTOCOL's promise of freshness.
    """

    def __init__(self, load: Callable[[Collection[K]], Awaitable[Mapping[K, V]]]) -> None:
        """`load` answers for the keys it finds; what it raises is raised for all of them."""
        self._load = load
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._runs: set[asyncio.Task[None]] = set()

    async def get_many(self, keys: Collection[K]) -> dict[K, V]:
        """The values of those keys that have one. Raises what `load` raises."""
        found: dict[K, V] = {}
        left = iter(keys)
        while part := list(islice(left, _KEYS_OF_A_CALL)):
            found |= await self._get_part(part)
        return found

    async def _get_part(self, keys: Collection[K]) -> dict[K, V]:
        futures = {key: self._wait_for(key) for key in keys}
        self._start()
        # Not gather: a cancelled caller must not cancel what others wait for.
        await asyncio.wait(futures.values())
        found = {key: future.result() for key, future in futures.items()}
        return {key: value for key, value in found.items() if value is not None}

    async def get(self, key: K) -> V | None:
        """The value of one key, or None."""
        return (await self.get_many((key,))).get(key)

    def _wait_for(self, key: K) -> asyncio.Future[V | None]:
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            # Its callers may all be gone when it fails.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def _start(self) -> None:
        """One run, and beside it others for whole batches alone: the few keys that come during a run wait for it."""
        while len(self._runs) < min(BATCHES_AT_ONCE, 1 + len(self._waiting) // MAX_KEYS):
            self._runs.add(asyncio.create_task(self._run()))

    async def _run(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        try:
            while batch := list(islice(self._waiting, MAX_KEYS)):
                await self._answer({key: self._waiting.pop(key) for key in batch})
        finally:
            # By itself and at once: a key that comes before a callback would run must not count on this one.
            self._runs.remove(this)

    async def _answer(self, batch: Mapping[K, asyncio.Future[V | None]]) -> None:
        try:
            found = await self._load(list(batch))
        except Exception as error:  # noqa: BLE001 - without an answer the callers wait for ever
            for future in batch.values():
                future.set_exception(error)
            return
        for key, future in batch.items():
            future.set_result(found.get(key))
