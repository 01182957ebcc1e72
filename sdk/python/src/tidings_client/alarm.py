"""The one timer of a client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls `ring` once at the time that was set last. Times are milliseconds of the event loop's clock."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at_ms: int | None = None

    def set(self, at_ms: int | None) -> None:
        """None: never."""
        if self._timer is not None:
            if at_ms == self._at_ms:
                return
            self._timer.cancel()
        self._timer, self._at_ms = None, at_ms
        if at_ms is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at((at_ms + 1) / 1_000, self._due)  # +1: `now_ms` is rounded down

    def _due(self) -> None:
        self._timer = None
        self._ring()
