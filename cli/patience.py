"""Waits for servers that are not up yet, for a bounded time and with a line on the terminal."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from tidings.errors import Retryable, TidingsError
from tidings.runtime.backoff import Backoff

_Answer = TypeVar("_Answer")
_BACKOFF = Backoff(first_ms=200, most_ms=2_000)
# A server that is up answers within this time. A longer wait needs a reason on the terminal.
SILENT_S = 2.0


class GaveUp(TidingsError):
    """A server did not answer in time. The text names the server, the reason, and what to do."""


async def patiently(
    attempt: Callable[[], Awaitable[_Answer]],
    *,
    server: str,
    within_s: float,
    say: Callable[[str], None],
) -> _Answer:
    """The result of the first attempt that does not raise Retryable. Raises GaveUp after `within_s`.

    `attempt` must be repeatable, because an attempt that is cut off by the bound may have done its work.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    reason = "no answer"
    failures = 0
    with announced(server, say) as announce:
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    return await attempt()
            except TimeoutError:
                break
            except Retryable as error:
                reason = str(error)
                failures += 1
            announce(reason)
            await asyncio.sleep(min(_BACKOFF.wait_ms(failures) / 1000, max(0.0, deadline - loop.time())))
    raise GaveUp(
        f"{server} did not serve us within {within_s:g} s ({reason}). Is it running? `make up` starts it here,"
        " and `source .run/env` sets its ports"
    )


@contextlib.contextmanager
def announced(server: str, say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Say once that the block waits for `server`: when it calls the function with a reason, or after SILENT_S."""
    is_said = False

    def announce(reason: str) -> None:
        nonlocal is_said
        if not is_said:
            is_said = True
            say(f"waiting for {server} ({reason})")

    timer = asyncio.get_running_loop().call_later(SILENT_S, announce, "no answer yet")
    try:
        yield announce
    finally:
        timer.cancel()
