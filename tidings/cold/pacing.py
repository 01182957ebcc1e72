"""Spaces work so that it stays below a rate."""

import asyncio

from tidings.clock import Clock


class Pace:
    """At most so many per second, in the mean since the start."""

    def __init__(self, clock: Clock, per_s: int) -> None:
        """`per_s` 0: no limit."""
        self._clock = clock
        self._per_s = per_s
        self._begun_ms: int | None = None
        self._taken = 0

    async def take(self, number: int) -> None:
        """Wait until `number` more fit."""
        if not self._per_s:
            return
        if self._begun_ms is None:
            self._begun_ms = self._clock.monotonic_ms()
        self._taken += number
        due_ms = self._begun_ms + self._taken * 1000 // self._per_s
        await asyncio.sleep(max(0, due_ms - self._clock.monotonic_ms()) / 1000)
