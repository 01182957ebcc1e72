"""Faults of the log. The same seed, or the same script of a test, gives the same faults."""

import random
from collections import deque
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


@dataclass(frozen=True, slots=True)
class FaultRates:
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


class Faults:
    """Draws the next fault of each kind; scripted faults come first. The same seed and calls give the same faults."""

    def __init__(self, seed: int = 0, rates: FaultRates = FaultRates()) -> None:
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
        return self._draw(
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
        return self._draw(
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

    def _draw(self, *chances: tuple[_Fault, float], otherwise: _Fault) -> _Fault:
        ball = self._random.random()
        for fault, rate in chances:
            if ball < rate:
                return fault
            ball -= rate
        return otherwise
