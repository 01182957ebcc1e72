"""Time that jumps: a loop that never waits. A run of hours takes milliseconds, and a seed always gives the same run."""

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable, Mapping
from typing import ParamSpec
from unittest.mock import patch

from tidings.runtime import worker

# 2026-11-23 12:00 UTC.
NOON_MS = 1_795_435_200_000

P = ParamSpec("P")


class Stuck(AssertionError):
    """Everybody waits, and nothing will ever happen."""


class _JumpingSelector(selectors.SelectSelector):
    """Where others would sleep, this one moves the clock on."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Stuck("no task can go on, and no timer is set")
        if not ready and timeout:
            self.now_s += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds since the loop began."""
        return self._jumping.now_s


class SimulatedClock:
    """The broker's clock: simulated time, with jumps as a test likes."""

    def __init__(self) -> None:
        self.jumped_ms = 0

    def wall_ms(self) -> int:
        """See Clock."""
        return NOON_MS + self.monotonic_ms() + self.jumped_ms

    def monotonic_ms(self) -> int:
        """See Clock."""
        return int(asyncio.get_running_loop().time() * 1000)


class _SimulatedTime:
    """Stands for the `time` module in the worker."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    @staticmethod
    def time() -> float:
        return NOON_MS / 1000 + asyncio.get_running_loop().time()


def simulated(scenario: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Makes a plain test of an `async` one, in simulated time."""

    @functools.wraps(scenario)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        run(lambda: scenario(*args, **kwargs))

    return test


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run one scenario in simulated time. An error that nobody looked at fails it too."""
    unseen: list[Mapping[str, object]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
        await scenario()

    with patch.object(worker, "time", _SimulatedTime), asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
    assert not unseen, unseen
