"""Which faults happen next. The same seed and calls, or the same script of a test, give the same faults."""

import random
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

_Fault = TypeVar("_Fault")


class ProduceFault(Enum):
    """The outcome of one produce call. All but NONE raise BrokerUnavailable."""

    NONE = "applied and confirmed"
    LOST = "not applied"
    UNCONFIRMED = "applied"
    PARTIAL = "the first half is applied"
    LATE = "applied after later calls"  # H28


class CommitFault(Enum):
    """The outcome of one commit."""

    NONE = "stored and confirmed"
    LOST = "confirmed, yet not stored"
    FAILED = "BrokerUnavailable, not stored"
    UNCONFIRMED = "BrokerUnavailable, yet stored"


class WriteFault(Enum):
    """The outcome of one mutation of the tables. All but NONE are answered as unconfirmed."""

    NONE = "applied and confirmed"
    LOST = "not applied"
    UNCONFIRMED = "applied"  # H27
    FLICKERING = "on one replica: some reads see it, until a later write of it is confirmed"  # H1
    LATE = "applied after later writes"  # H27


@dataclass(frozen=True, slots=True)
class LogRates:
    """Probabilities per call, 0 to 1. A late batch lands after 1 to `late_calls_max` later calls."""

    produce_lost: float = 0.0
    produce_unconfirmed: float = 0.0
    produce_partial: float = 0.0
    produce_late: float = 0.0
    late_calls_max: int = 5
    commit_lost: float = 0.0
    commit_failed: float = 0.0
    commit_unconfirmed: float = 0.0
    coordinator_loading: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreRates:
    """Probabilities, 0 to 1: of writes per mutation, of reads per call. A late one lands after 1..late_writes_max."""

    write_lost: float = 0.0
    write_unconfirmed: float = 0.0
    write_flickering: float = 0.0
    write_late: float = 0.0
    late_writes_max: int = 5
    read_failed: float = 0.0


class LogFaults:
    """Draws the next fault of each kind; scripted faults come first."""

    def __init__(self, seed: int = 0, rates: LogRates = LogRates()) -> None:
        self.rates = rates
        self._random = random.Random(seed)
        self._next_produces: deque[ProduceFault] = deque()
        self._next_commits: deque[CommitFault] = deque()
        self._next_loading = 0

    def script_produce(self, *faults: ProduceFault) -> None:
        """Set the outcomes of the next produce and send calls, one each."""
        self._next_produces.extend(faults)

    def script_commit(self, *faults: CommitFault) -> None:
        """Set the outcomes of the next commits, one each."""
        self._next_commits.extend(faults)

    def script_loading(self, answers: int) -> None:
        """For so many of the next reads of committed offsets the coordinator is loading (H18)."""
        self._next_loading += answers

    def produce(self) -> ProduceFault:
        """The outcome of this produce call."""
        if self._next_produces:
            return self._next_produces.popleft()
        rates = self.rates
        return drawn(
            self._random,
            (ProduceFault.LOST, rates.produce_lost),
            (ProduceFault.UNCONFIRMED, rates.produce_unconfirmed),
            (ProduceFault.PARTIAL, rates.produce_partial),
            (ProduceFault.LATE, rates.produce_late),
            otherwise=ProduceFault.NONE,
        )

    def commit(self) -> CommitFault:
        """The outcome of this commit."""
        if self._next_commits:
            return self._next_commits.popleft()
        rates = self.rates
        return drawn(
            self._random,
            (CommitFault.LOST, rates.commit_lost),
            (CommitFault.FAILED, rates.commit_failed),
            (CommitFault.UNCONFIRMED, rates.commit_unconfirmed),
            otherwise=CommitFault.NONE,
        )

    def is_loading(self) -> bool:
        """Whether the coordinator is loading and cannot answer yet."""
        if self._next_loading:
            self._next_loading -= 1
            return True
        return self._random.random() < self.rates.coordinator_loading

    def late_calls(self) -> int:
        """The number of later produce calls after which a late batch lands."""
        return self._random.randint(1, self.rates.late_calls_max)


class StoreFaults:
    """Draws the next fault of each kind; scripted faults come first."""

    def __init__(self, seed: int = 0, rates: StoreRates = StoreRates()) -> None:
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
        return drawn(
            self._random,
            (WriteFault.LOST, rates.write_lost),
            (WriteFault.UNCONFIRMED, rates.write_unconfirmed),
            (WriteFault.FLICKERING, rates.write_flickering),
            (WriteFault.LATE, rates.write_late),
            otherwise=WriteFault.NONE,
        )

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


def drawn(chance: random.Random, *rates: tuple[_Fault, float], otherwise: _Fault) -> _Fault:
    """The first fault whose share of the probabilities a random number falls into."""
    ball = chance.random()
    for fault, rate in rates:
        if ball < rate:
            return fault
        ball -= rate
    return otherwise
