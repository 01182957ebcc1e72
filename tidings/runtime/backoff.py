"""Exponential backoff as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from `first_ms` up to `most_ms`."""

    first_ms: int
    most_ms: int

    def wait_ms(self, failures: int) -> int:
        """How long to wait after so many failures in a row (1, 2, 3 …); 0 after none."""
        if failures <= 0:
            return 0
        return min(self.most_ms, self.first_ms << min(failures - 1, 20))
