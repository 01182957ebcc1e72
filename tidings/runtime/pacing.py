"""When the next round begins, and which partitions take part. Pure: every call gets the time as an argument."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tidings.runtime.lanes import Lane

T = TypeVar("T")

# A failed partition is repeated once together with the others, because mostly the server failed for all of them.
FAILURES_TOGETHER = 2


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart rounds begin.

    The distance is at least `least_ms` and twice the time of the last round, but at most `most_ms`. So a single record
    does not wait, and under load fewer, larger rounds leave more CPU to other processes (ADR 14). A stage that gathers
    records waits `linger_ms` before every round.
    """

    least_ms: int = 10
    most_ms: int = 30
    linger_ms: int = 0


@dataclass(slots=True)
class Pacing:
    """Keeps the begin of the last round and the time that it took."""

    spacing: Spacing = field(default_factory=Spacing)
    began_s: float = -math.inf
    took_s: float = 0.0

    def begin(self, now_s: float) -> None:
        """A round begins."""
        self.began_s = now_s

    def end(self, now_s: float) -> None:
        """The round has ended."""
        self.took_s = now_s - self.began_s

    def wait_s(self, now_s: float) -> float:
        """The time until the next round may begin, 0 or more."""
        apart_s = min(max(self.spacing.least_ms / 1000, 2 * self.took_s), self.spacing.most_ms / 1000)
        return max(0.0, self.spacing.linger_ms / 1000, self.began_s + apart_s - now_s)


@dataclass(slots=True)
class Turns:
    """Runs a partition that keeps failing alone in every second round, so that it fails no other partition."""

    _is_of_failing: bool = False

    def next(self, busy: Sequence[Lane[T]]) -> list[Lane[T]]:
        """The lanes of the next round. `busy`: the lanes with work."""
        failing = [lane for lane in busy if lane.failures >= FAILURES_TOGETHER]
        healthy = [lane for lane in busy if lane.failures < FAILURES_TOGETHER]
        self._is_of_failing = not self._is_of_failing
        if failing and (self._is_of_failing or not healthy):
            return [min(failing, key=lambda lane: lane.retry_at_s)]
        return healthy
