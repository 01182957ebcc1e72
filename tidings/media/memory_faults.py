"""Faults of the object store. The same seed, or the same script of a test, gives the same faults."""

import random
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

_Fault = TypeVar("_Fault")


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
class FaultRates:
    """Probabilities per call, 0 to 1."""

    change_lost: float = 0.0
    change_unconfirmed: float = 0.0
    read_failed: float = 0.0
    read_cut: float = 0.0


class Faults:
    """Draws the next fault of each kind; scripted faults come first."""

    def __init__(self, seed: int = 0, rates: FaultRates = FaultRates()) -> None:
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
        return self._draw(
            (ChangeFault.LOST, rates.change_lost),
            (ChangeFault.UNCONFIRMED, rates.change_unconfirmed),
            otherwise=ChangeFault.NONE,
        )

    def read(self) -> ReadFault:
        """The outcome of this open, size or list."""
        if self._next_reads:
            return self._next_reads.popleft()
        rates = self.rates
        return self._draw(
            (ReadFault.FAILED, rates.read_failed), (ReadFault.CUT, rates.read_cut), otherwise=ReadFault.NONE
        )

    def _draw(self, *chances: tuple[_Fault, float], otherwise: _Fault) -> _Fault:
        ball = self._random.random()
        for fault, rate in chances:
            if ball < rate:
                return fault
            ball -= rate
        return otherwise
