"""Counts the rows that the audit reads, and keeps them below a rate."""

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from tidings import metrics
from tidings.clock import Clock
from tidings.pace import Pace

R = TypeVar("R")


class Pacing:
    """One for a whole pass."""

    def __init__(self, clock: Clock, rows_per_s: float) -> None:
        """`rows_per_s` 0: no limit."""
        self.rows = 0
        self._clock = clock
        self._pace = Pace(self._now_s(), rows_per_s)

    async def read(self, rows: Sequence[R]) -> Sequence[R]:
        """The same rows, after the wait that the rate asks for. A read without rows counts as one."""
        number = max(1, len(rows))
        self.rows += number
        metrics.AUDIT_ROWS.inc(number)
        wait_s = self._pace.wait_s(number, self._now_s())
        if wait_s:
            await asyncio.sleep(wait_s)
        return rows

    def _now_s(self) -> float:
        return self._clock.monotonic_ms() / 1000
