"""Keeps the client within the server's rate limit. The server would refuse the messages of a burst, and each refused
message is repeated a second later and out of order."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHARE = 0.9  # of the announced rate and burst, because the two clocks differ and the network bunches frames


@dataclass(slots=True)
class Pace:
    """A token bucket. Without a rate it delays nothing."""

    _per_ms: float | None = None
    _burst: float = 1.0
    _tokens: float = math.inf
    _at_ms: int = 0

    def set(self, now_ms: int, per_s: float | None, burst: int | None) -> None:
        """Set the limits of a new connection. Spent tokens stay spent, because the server counts per user and not per
        connection."""
        self._refill(now_ms)
        self._per_ms = per_s * SHARE / 1_000 if per_s else None
        self._burst = max(1.0, (burst or 1) * SHARE)
        self._tokens = min(self._tokens, self._burst) if self._per_ms else math.inf

    def take(self, now_ms: int) -> bool:
        """Take a token for one message. False if the message must wait."""
        self._refill(now_ms)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def next_ms(self, now_ms: int) -> int:
        """When the next message may be sent."""
        self._refill(now_ms)
        if self._tokens >= 1 or not self._per_ms:
            return now_ms
        return now_ms + max(1, math.ceil((1 - self._tokens) / self._per_ms))

    def _refill(self, now_ms: int) -> None:
        if self._per_ms:
            self._tokens = min(self._burst, self._tokens + max(0, now_ms - self._at_ms) * self._per_ms)
        self._at_ms = now_ms
