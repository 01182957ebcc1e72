"""When the next round begins, and which partitions take part. Pure: every call takes the time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tidings.runtime.lanes import Lane

T = TypeVar("T")

# A failure is repeated together with its neighbours once: mostly the server failed, and so for all of them.
FAILURES_TOGETHER = 2


@dataclass(frozen=True, slots=True)
class Spacing:
    """How far apart rounds begin.

    At least `least_ms`, and twice as far as the last round took, but never more than `most_ms`: a lone record waits for
    nothing, and under load fewer, larger rounds leave the cores to their neighbours (ADR 14). `linger_ms` is waited
    before every round, for services that gather.
    """

    least_ms: int = 10
    most_ms: int = 30
    linger_ms: int = 0


@dataclass(slots=True)
class Pacing:
    """Keeps when the last round began, and how long it took."""

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
        """How long the next round waits for more records, 0 or more."""
        apart_s = min(max(self.spacing.least_ms / 1000, 2 * self.took_s), self.spacing.most_ms / 1000)
        return max(0.0, self.spacing.linger_ms / 1000, self.began_s + apart_s - now_s)


@dataclass(slots=True)
class Turns:
    """A partition that keeps failing runs alone, every other round, so that it fails no other partition."""

    _is_of_failing: bool = False

    def next(self, busy: Sequence[Lane[T]]) -> list[Lane[T]]:
        """The lanes of the next round, out of those with work."""
        failing = [lane for lane in busy if lane.failures >= FAILURES_TOGETHER]
        healthy = [lane for lane in busy if lane.failures < FAILURES_TOGETHER]
        self._is_of_failing = not self._is_of_failing
        if failing and (self._is_of_failing or not healthy):
            return [min(failing, key=lambda lane: lane.retry_at_s)]
        return healthy
