"""The object store in memory with faults: seeded, or scripted by a test."""

import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.faults.drawn import drawn
from tidings.clock import Clock
from tidings.errors import MediaUnavailable
from tidings.media.base import StoredObject
from tidings.media.memory import MemoryMediaStore


class ChangeFault(Enum):
    """The outcome of one put or delete. All but NONE raise MediaUnavailable."""

    NONE = "applied and confirmed"
    LOST = "not applied"
    UNCONFIRMED = "applied"


class ReadFault(Enum):
    """The outcome of one open, size or list. All but NONE raise MediaUnavailable."""

    NONE = "all of it is read"
    FAILED = "nothing is read"
    CUT = "the first half is read"


@dataclass(frozen=True, slots=True)
class MediaRates:
    """Probabilities per call, 0 to 1."""

    change_lost: float = 0.0
    change_unconfirmed: float = 0.0
    read_failed: float = 0.0
    read_cut: float = 0.0


class MediaFaults:
    """Draws the next fault of each kind; scripted faults come first."""

    def __init__(self, seed: int = 0, rates: MediaRates = MediaRates()) -> None:
        self.rates = rates
        self._random = random.Random(seed)
        self._next_changes: deque[ChangeFault] = deque()
        self._next_reads: deque[ReadFault] = deque()

    def script_change(self, *faults: ChangeFault) -> None:
        """Set the outcomes of the next puts and deletes, one each."""
        self._next_changes.extend(faults)

    def script_read(self, *faults: ReadFault) -> None:
        """Set the outcomes of the next opens, sizes and lists, one each."""
        self._next_reads.extend(faults)

    def change(self) -> ChangeFault:
        """The outcome of this put or delete."""
        if self._next_changes:
            return self._next_changes.popleft()
        rates = self.rates
        return drawn(
            self._random,
            (ChangeFault.LOST, rates.change_lost),
            (ChangeFault.UNCONFIRMED, rates.change_unconfirmed),
            otherwise=ChangeFault.NONE,
        )

    def read(self) -> ReadFault:
        """The outcome of this open, size or list."""
        if self._next_reads:
            return self._next_reads.popleft()
        rates = self.rates
        return drawn(
            self._random,
            (ReadFault.FAILED, rates.read_failed),
            (ReadFault.CUT, rates.read_cut),
            otherwise=ReadFault.NONE,
        )


class FaultyMediaStore(MemoryMediaStore):
    """A MemoryMediaStore whose calls fail as `faults` says."""

    def __init__(self, clock: Clock | None = None, faults: MediaFaults | None = None, *, signs: bool = False) -> None:
        super().__init__(clock, signs=signs)
        self.faults = faults or MediaFaults()
        self._is_stalled = False

    def stall(self) -> None:
        """Let every call raise MediaUnavailable, with nothing applied."""
        self._is_stalled = True

    def heal(self) -> None:
        """End `stall`."""
        self._is_stalled = False

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        data = b"".join([chunk async for chunk in chunks])
        fault = self._change()
        if fault is not ChangeFault.LOST:
            await super().put(key, _once(data))
        if fault is not ChangeFault.NONE:
            raise MediaUnavailable(f"storing {key}: {fault.value}")

    async def delete(self, keys: Sequence[str]) -> None:
        fault = self._change()
        if fault is not ChangeFault.LOST:
            await super().delete(keys)
        if fault is not ChangeFault.NONE:
            raise MediaUnavailable(f"deleting {len(keys)} objects: {fault.value}")

    async def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        fault = self._read()
        chunks = [chunk async for chunk in super().open(key, start, length)]
        whole = b"".join(chunks)
        if fault is ReadFault.CUT:
            yield whole[: len(whole) // 2]
            raise MediaUnavailable(f"{key} was cut short")
        for chunk in chunks:
            yield chunk

    async def size(self, key: str) -> int | None:
        if self._read() is ReadFault.CUT:
            raise MediaUnavailable("the answer was cut short")
        return await super().size(key)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        fault = self._read()
        found = [stored async for stored in super().list(prefix)]
        for stored in found[: len(found) // 2] if fault is ReadFault.CUT else found:
            yield stored
        if fault is ReadFault.CUT:
            raise MediaUnavailable(f"the list of {prefix!r} was cut short")

    def _change(self) -> ChangeFault:
        return ChangeFault.LOST if self._is_stalled else self.faults.change()

    def _read(self) -> ReadFault:
        fault = ReadFault.FAILED if self._is_stalled else self.faults.read()
        if fault is ReadFault.FAILED:
            raise MediaUnavailable(f"the object store in memory: {fault.value}")
        return fault


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
