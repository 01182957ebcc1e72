"""Faults of the tables. The same seed, or the same script of a test, gives the same faults."""

import random
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum


class WriteFault(Enum):
    """The outcome of one mutation. All but NONE are answered as unconfirmed."""

    NONE = "applied and confirmed"
    LOST = "not applied"
    UNCONFIRMED = "applied"  # H27
    FLICKERING = "on one replica: some reads see it, until a later write of it is confirmed"  # H1
    LATE = "applied after later writes"  # H27


@dataclass(frozen=True, slots=True)
class FaultRates:
    """Probabilities, 0 to 1: of writes per mutation, of reads per call. A late one lands after 1..late_writes_max."""

    write_lost: float = 0.0
    write_unconfirmed: float = 0.0
    write_flickering: float = 0.0
    write_late: float = 0.0
    late_writes_max: int = 5
    read_failed: float = 0.0


class Faults:
    """Draws the next fault of each kind; scripted faults come first. The same seed and calls give the same faults."""

    def __init__(self, seed: int = 0, rates: FaultRates = FaultRates()) -> None:
        self.rates = rates
        self._random = random.Random(seed)
        self._next_writes: deque[WriteFault] = deque()
        self._next_failed_reads = 0
        # (table, partition key): a call that reads one of these fails as a whole.
        self.unreadable: set[tuple[str, Hashable]] = set()

    def script_write(self, *faults: WriteFault) -> None:
        """Set the outcomes of the next mutations, one each, in the order of their first rows in the call."""
        self._next_writes.extend(faults)

    def script_failed_reads(self, reads: int) -> None:
        """Let so many of the next reads raise StoreUnavailable."""
        self._next_failed_reads += reads

    def write(self) -> WriteFault:
        """The outcome of this mutation."""
        if self._next_writes:
            return self._next_writes.popleft()
        rates = self.rates
        ball = self._random.random()
        for fault, rate in (
            (WriteFault.LOST, rates.write_lost),
            (WriteFault.UNCONFIRMED, rates.write_unconfirmed),
            (WriteFault.FLICKERING, rates.write_flickering),
            (WriteFault.LATE, rates.write_late),
        ):
            if ball < rate:
                return fault
            ball -= rate
        return WriteFault.NONE

    def read_fails(self) -> bool:
        """Whether this read fails."""
        if self._next_failed_reads:
            self._next_failed_reads -= 1
            return True
        return self._random.random() < self.rates.read_failed

    def is_hidden(self) -> bool:
        """Whether this read misses a flickering row."""
        return self._random.random() < 0.5

    def late_writes(self) -> int:
        """The number of later write calls after which a late mutation lands."""
        return self._random.randint(1, self.rates.late_writes_max)
