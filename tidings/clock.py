"""Time as a port: shells get a clock, and cores get `now_ms`."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and monotonic time, in milliseconds."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970, for display and for early checks. No decision uses it: law 1 (the log decides)."""
        ...

    def monotonic_ms(self) -> int:
        """Never goes back; for time-outs."""
        ...


class SystemClock:
    """The clock of this machine."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000
