"""The server's time, as far as this device has heard of it: its own clock may be minutes or years off."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

# A `Date` header has whole seconds and was on its way for a while: a smaller difference says nothing.
DATE_ERROR_MS = 5_000


def since_boot_ms() -> int:
    """Never goes back, and where the system can tell, goes on while the device sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return int((time.monotonic() if boot is None else time.clock_gettime(boot)) * 1_000)


def wall_ms() -> int:
    """The device's own clock. Looked up at each call, so that a test can set it."""
    return int(time.time() * 1_000)


class ServerTime:
    """Shared by the ids of messages, the lives of tokens and all calls of one client."""

    def __init__(self, passed_ms: Callable[[], int] = since_boot_ms, device_ms: Callable[[], int] = wall_ms) -> None:
        self._passed_ms = passed_ms
        self._device_ms = device_ms
        self._offset_ms: int | None = None

    @property
    def known_ms(self) -> int | None:
        """Milliseconds since 1970 at the server; None before it has been heard of."""
        return None if self._offset_ms is None else self._passed_ms() + self._offset_ms

    def now_ms(self) -> int:
        """The server's time, or the device's while nothing better is known."""
        known = self.known_ms
        return self._device_ms() if known is None else known

    @property
    def device_ahead_ms(self) -> int | None:
        """How far the device's clock is ahead of the server's; negative: behind it. None: not known."""
        known = self.known_ms
        return None if known is None else self._device_ms() - known

    def learn(self, server_ms: int) -> None:
        """The server has just said its time (`welcome.server_time`)."""
        self._offset_ms = server_ms - self._passed_ms()

    def learn_date(self, http_date: str | None) -> None:
        """The header `Date` of an answer: good where nothing better is known, or where that is wrong by now."""
        if http_date is None:
            return
        try:
            date_ms = int(parsedate_to_datetime(http_date).timestamp() * 1_000)
        except (ValueError, OverflowError):
            return
        known = self.known_ms
        if known is None or abs(date_ms - known) > DATE_ERROR_MS:
            self.learn(date_ms)
