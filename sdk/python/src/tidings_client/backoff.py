"""The retry schedule of messages, connections and reads of group history."""

from __future__ import annotations

BASE_MS = 1_000
MAX_MS = 30_000  # PROTOCOL, Retry
JITTER = 0.2


def delay_ms(repeat: int, jitter: float) -> int:
    """Milliseconds before retry number `repeat` (0, 1, 2 …): 2^repeat s ± 20 %, at most 30 s.
    `jitter` lies in −1 … 1."""
    plain_ms = BASE_MS << min(repeat, 10)
    return min(MAX_MS, int(plain_ms * (1 + JITTER * jitter)))
