"""Virtual time, and processes that share one event loop.

The loop never waits: when no callback is ready, its clock moves to the next timer. Every task of a simulated process
runs in a context that names the process. So the loop can stop a process as SIGSTOP does, and end it as SIGKILL does:
none of its callbacks runs from that moment on.
"""

import asyncio
import functools
import heapq
import os
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

# 2026-11-23 12:00 UTC.
NOON_MS = 1_795_435_200_000
# A run has some 20,000 turns. More means that time does not move any more.
_TURNS_AT_MOST = 3_000_000

P = ParamSpec("P")
T = TypeVar("T")

_process: "ContextVar[Process | None]" = ContextVar("process", default=None)


class Process:
    """What one operating-system process is to the loop: the context of its tasks, and whether they run."""

    def __init__(self, name: str, clock_error_ms: int = 0) -> None:
        """`clock_error_ms`: by how much its wall clock is wrong."""
        self.name = name
        self.clock_error_ms = clock_error_ms
        self.is_stopped = False
        self.is_dead = False
        self.parked: deque[asyncio.Handle] = deque()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.context = Context()
        self.context.run(_process.set, self)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run this in the process."""
        task = asyncio.get_running_loop().create_task(work, context=self.context)
        self.tasks.add(task)
        return task

    def stop(self) -> None:
        """SIGSTOP."""
        self.is_stopped = True

    def resume(self) -> None:
        """SIGCONT: what was due in the meantime is done now, in its order."""
        if not self.is_dead:
            self._run_again()

    def kill(self) -> None:
        """SIGKILL."""
        self.is_stopped = self.is_dead = True

    def cancel_tasks(self) -> list[asyncio.Task[Any]]:
        """The end of the run: cancel what is left, so that no coroutine is lost. Calls of a dead process fail."""
        self.is_dead = True
        self._run_again()
        left = [task for task in self.tasks if not task.done()]
        for task in left:
            task.cancel()
        return left

    def _run_again(self) -> None:
        self.is_stopped = False
        loop = asyncio.get_running_loop()
        while self.parked:
            loop._ready.append(self.parked.popleft())  # type: ignore[attr-defined]


def current_process() -> Process | None:
    """The process whose code runs now; None for the network, the servers and the test itself."""
    return _process.get()


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without a selector, whose time moves by its timers alone."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._turns = 0

    def time(self) -> float:
        """Virtual seconds since the loop began."""
        return self._now_s

    def _run_once(self) -> None:
        """As the base class does it, but for the two lines that make time and processes virtual."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            self._forget(timers)
        if not ready and timers:
            self._now_s = max(self._now_s, timers[0].when())
        elif not ready and not self._stopping:  # type: ignore[attr-defined]
            raise AssertionError("every task waits, and no timer is set")
        while timers and timers[0].when() <= self._now_s:
            ready.append(self._forget(timers))
        self._turns += 1
        assert self._turns < _TURNS_AT_MOST, "the simulation does not end"
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_process)  # type: ignore[attr-defined]
            if process is not None and process.is_stopped:
                process.parked.append(handle)
            else:
                handle._run()

    @staticmethod
    def _forget(timers: list[asyncio.TimerHandle]) -> asyncio.TimerHandle:
        timer = heapq.heappop(timers)
        timer._scheduled = False  # type: ignore[attr-defined]
        return timer

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """At once and in this thread, because other threads know nothing of virtual time."""
        answer = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller gets it
            answer.set_exception(error)
        return answer

    def _write_to_self(self) -> None:
        """No other thread wakes this loop."""


class VirtualClock:
    """The brokers' clock: virtual time, with jumps."""

    def __init__(self) -> None:
        self.jumped_ms = 0

    def wall_ms(self) -> int:
        """Milliseconds since 1970 as the brokers have them."""
        return NOON_MS + self.monotonic_ms() + self.jumped_ms

    def monotonic_ms(self) -> int:
        """Virtual milliseconds since the loop began."""
        return int(_now_s() * 1000)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _wall_ns() -> int:
    process = _process.get()
    return (NOON_MS + (process.clock_error_ms if process else 0)) * 1_000_000 + int(_now_s() * 1e9)


def simulated(scenario: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes a plain test of an `async` one, in virtual time."""

    @functools.wraps(scenario)
    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        run(lambda: scenario(*args, **kwargs))

    return test


def run(scenario: Callable[[], Coroutine[Any, Any, T]], seed: int = 0) -> T:
    """Run one scenario. The same seed gives the same run, because time and chance are virtual for all modules.

    Raises what the scenario raises, and AssertionError for an error that no task looked at.
    """
    chance = random.Random(f"chance of {seed}")
    unseen: list[object] = []

    async def main() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unseen.append(context))
        return await scenario()

    random.seed(seed)
    with (
        patch.object(time, "monotonic", _now_s),
        patch.object(time, "monotonic_ns", lambda: int(_now_s() * 1e9)),
        patch.object(time, "time", lambda: _wall_ns() / 1e9),
        patch.object(time, "time_ns", _wall_ns),
        patch.object(time, "clock_gettime", lambda _clock: _now_s()),
        patch.object(os, "urandom", chance.randbytes),
        patch.object(random, "_urandom", chance.randbytes),
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
    ):
        result = runner.run(main())
    assert not unseen, unseen
    return result
