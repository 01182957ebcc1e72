"""The server's time, because the device's own clock may be wrong by minutes or years."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

# A `Date` header has whole seconds and a transfer delay, so a smaller difference is not significant.
DATE_ERROR_MS = 5_000


def since_boot_ms() -> int:
    """A clock that never goes back. If the system supports it, it also counts while the device sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return int((time.monotonic() if boot is None else time.clock_gettime(boot)) * 1_000)


def wall_ms() -> int:
    """The device's own clock. Read at each call, so that a test can set it."""
    return int(time.time() * 1_000)


class ServerTime:
    """Shared by the message ids, the token lifetimes and all calls of one client."""

    def __init__(self, passed_ms: Callable[[], int] = since_boot_ms, device_ms: Callable[[], int] = wall_ms) -> None:
        self._passed_ms = passed_ms
        self._device_ms = device_ms
        self._offset_ms: int | None = None

    @property
    def known_ms(self) -> int | None:
        """Milliseconds since 1970 at the server; None before its first answer."""
        return None if self._offset_ms is None else self._passed_ms() + self._offset_ms

    def now_ms(self) -> int:
        """The server's time, or the device's before the server's first answer."""
        known = self.known_ms
        return self._device_ms() if known is None else known

    @property
    def device_ahead_ms(self) -> int | None:
        """How far the device's clock is ahead of the server's; negative: behind it. None before the first answer."""
        known = self.known_ms
        return None if known is None else self._device_ms() - known

    def learn(self, server_ms: int) -> None:
        """Set the server's time from `welcome.server_time`."""
        self._offset_ms = server_ms - self._passed_ms()

    def learn_date(self, http_date: str | None) -> None:
        """Set the time from the header `Date` of an answer, if there is none yet or it differs by DATE_ERROR_MS."""
        if http_date is None:
            return
        try:
            date_ms = int(parsedate_to_datetime(http_date).timestamp() * 1_000)
        except (ValueError, OverflowError):
            return
        known = self.known_ms
        if known is None or abs(date_ms - known) > DATE_ERROR_MS:
            self.learn(date_ms)
