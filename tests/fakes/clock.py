"""A clock that stands still until a test moves it."""

from dataclasses import dataclass


@dataclass
class FakeClock:
    """Wall time and monotonic time are the same number."""

    now_ms: int = 0

    def wall_ms(self) -> int:
        """See Clock."""
        return self.now_ms

    def monotonic_ms(self) -> int:
        """See Clock."""
        return self.now_ms
