"""Joins single reads into batches. A bounded number of batches is in flight, and other keys wait for the next one.

A key that cannot be read fails alone. The keys of a failed batch are read again one by one. A key that fails again is
read outside of the batches for a minute. With `slow_s`, a slow key delays no other key either.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import Generic, TypeVar

from cachetools import TTLCache

from tidings.errors import StoreUnavailable

K = TypeVar("K")
V = TypeVar("V")

# A batch is one request for most tables. While the process decodes some batches, Cassandra answers others. All of them
# take fewer requests than one process may have in flight.
MAX_KEYS = 100
BATCHES_AT_ONCE = 4
# The keys of one call that wait at a time, so that a call with very many keys does not delay a call with one.
_KEYS_OF_A_CALL = 1_000
# The keys of all batches in flight. If more fail, Cassandra is unavailable, and reads of single keys would only add
# load.
MAX_ALONE = BATCHES_AT_ONCE * MAX_KEYS
# Keys that failed alone while others of their batch did not. Each has at most one read in flight.
MAX_SUSPECTS = 100
SUSPECT_S = 60.0


class _Batch(Generic[K, V]):
    """Keys that are loaded together. They share one future, because a future for each is most of a key's cost."""

    __slots__ = ("alone", "answer", "keys")

    def __init__(self) -> None:
        self.keys: list[K] = []
        self.answer: asyncio.Future[Mapping[K, V]] = asyncio.get_running_loop().create_future()
        # All callers may have been cancelled when it fails.
        self.answer.add_done_callback(_is_retrieved)
        # After a failure of the batch: one read for each of its keys.
        self.alone: Mapping[K, asyncio.Task[Mapping[K, V]]] = {}


class Batched(Generic[K, V]):
    """Loads keys in batches. Equal keys that wait are loaded once.

    A caller only joins a batch that has not begun. So its value was read after its
    call began, which is PROTOCOL's promise of freshness.
    """

    def __init__(self, load: Callable[[Collection[K]], Awaitable[Mapping[K, V]]], slow_s: float | None = None) -> None:
        """`load` returns the values of the keys that it finds. A key that fails alone raises StoreUnavailable.

        If a batch takes longer than `slow_s`, its keys are also read one by one, and other batches start without it.
        """
        self._load = load
        self._slow_s = slow_s
        self._slow = 0
        # All but the last are full.
        self._waiting: deque[_Batch[K, V]] = deque()
        self._places: dict[K, _Batch[K, V]] = {}
        self._runs: set[asyncio.Task[None]] = set()
        self._alone: set[asyncio.Task[Mapping[K, V]]] = set()
        # Each suspect has its own queue.
        self._suspects: TTLCache[K, Batched[K, V]] = TTLCache(MAX_SUSPECTS, SUSPECT_S)

    async def get_many(self, keys: Collection[K]) -> dict[K, V]:
        """The values of the keys that have one. Raises what `load` raises for any of them."""
        found, failed = await self.get_some(keys)
        for error in failed.values():
            raise error
        return found

    async def get_some(self, keys: Collection[K]) -> tuple[dict[K, V], dict[K, StoreUnavailable]]:
        """The values of the keys that have one, and the errors of the keys that cannot be read."""
        found: dict[K, V] = {}
        failed: dict[K, StoreUnavailable] = {}
        left = iter(keys)
        while part := list(islice(left, _KEYS_OF_A_CALL)):
            await self._get_part(part, found, failed)
        return found, failed

    async def get(self, key: K) -> V | None:
        """The value of one key, or None."""
        return (await self.get_many((key,))).get(key)

    async def _get_part(self, keys: Collection[K], found: dict[K, V], failed: dict[K, StoreUnavailable]) -> None:
        answers = self._read_apart(keys) if self._suspects else {}
        places = {key: self._place_of(key) for key in keys if key not in answers}
        self._start()
        # Not gather, because a cancelled caller must not cancel the reads of other callers.
        await _all_done({batch.answer for batch in places.values()})
        answers |= {key: batch.alone.get(key, batch.answer) for key, batch in places.items()}
        await _all_done(set(answers.values()))
        for key, answer in answers.items():
            try:
                value = answer.result().get(key)
            except StoreUnavailable as error:
                failed[key] = error
            else:
                if value is not None:
                    found[key] = value

    def _read_apart(self, keys: Collection[K]) -> dict[K, "asyncio.Future[Mapping[K, V]]"]:
        """The reads of suspect keys. Each waits only for an earlier read of the same key."""
        apart: dict[K, asyncio.Future[Mapping[K, V]]] = {}
        for key in keys:
            lane = self._suspects.get(key)
            if lane is not None and key not in apart:
                apart[key] = asyncio.ensure_future(lane._only(key))
                apart[key].add_done_callback(_is_retrieved)
        return apart

    async def _only(self, key: K) -> Mapping[K, V]:
        return await self.get_many((key,))

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
        """Start one run, and more only for full batches. A few keys that come during a run wait for its end."""
        while len(self._runs) < min(BATCHES_AT_ONCE, 1 + self._slow + len(self._places) // MAX_KEYS):
            self._runs.add(asyncio.create_task(self._run()))

    async def _run(self) -> None:
        this = asyncio.current_task()
        assert this is not None
        try:
            while self._waiting:
                batch = self._waiting.popleft()
                for key in batch.keys:
                    del self._places[key]
                await (self._answer(batch) if self._slow_s is None else self._answer_in_time(batch, self._slow_s))
        finally:
            # Here and not in a callback, because a key that comes before the callback would wait for an ended run.
            self._runs.remove(this)

    async def _answer_in_time(self, batch: _Batch[K, V], slow_s: float) -> None:
        is_slow = False

        def go_on() -> None:
            nonlocal is_slow
            is_slow = True
            self._slow += 1
            if len(batch.keys) == 1:
                self._suspect(batch.keys)
            elif len(self._alone) + len(batch.keys) <= MAX_ALONE:
                self._read_alone(batch)
            if self._waiting:
                self._start()

        timer = asyncio.get_running_loop().call_later(slow_s, go_on)
        try:
            await self._answer(batch)
        finally:
            timer.cancel()
            self._slow -= is_slow

    async def _answer(self, batch: _Batch[K, V]) -> None:
        try:
            found = await self._load(batch.keys)
            if not batch.answer.done():
                batch.answer.set_result(found)
        except StoreUnavailable as error:
            if batch.answer.done():
                return
            if len(batch.keys) == 1 or len(self._alone) + len(batch.keys) > MAX_ALONE:
                batch.answer.set_exception(error)
            else:
                self._read_alone(batch)
        except Exception as error:  # noqa: BLE001 - without an answer the callers wait without end
            if not batch.answer.done():
                batch.answer.set_exception(error)

    def _read_alone(self, batch: _Batch[K, V]) -> None:
        """Read each key of a failed batch alone, so that a caller waits for its own keys only."""
        batch.alone = {key: asyncio.ensure_future(self._load([key])) for key in batch.keys}
        left = set(batch.alone.values())
        self._alone |= left

        def is_done(task: asyncio.Task[Mapping[K, V]]) -> None:
            self._alone.discard(task)
            left.discard(task)
            _is_retrieved(task)
            if not left:
                self._suspect_some(batch.alone)

        for task in batch.alone.values():
            task.add_done_callback(is_done)
        batch.answer.set_result({})

    def _suspect_some(self, alone: Mapping[K, asyncio.Task[Mapping[K, V]]]) -> None:
        """Mark the failed keys as suspects, unless all failed, because then Cassandra was unavailable."""
        failed = [key for key, task in alone.items() if task.cancelled() or task.exception()]
        if len(failed) < len(alone):
            self._suspect(failed)

    def _suspect(self, keys: Collection[K]) -> None:
        for key in keys:
            self._suspects[key] = Batched(self._load)


async def _all_done(answers: Collection["asyncio.Future[Mapping[K, V]]"]) -> None:
    if answers:
        await asyncio.wait(answers)


def _is_retrieved(answer: "asyncio.Future[Mapping[K, V]]") -> None:
    """Mark the exception as retrieved, because all callers may have been cancelled."""
    if not answer.cancelled():
        answer.exception()
