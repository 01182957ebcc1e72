"""Time, as a port: shells take a clock, cores take `now_ms`."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings, in milliseconds."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970. For people and for checks of courtesy; decides nothing (law 1)."""
        ...

    def monotonic_ms(self) -> int:
        """Never goes back; for time-outs."""
        ...


class SystemClock:
    """The clock of this machine."""

    def wall_ms(self) -> int:
        """See Clock."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """See Clock."""
        return time.monotonic_ns() // 1_000_000
