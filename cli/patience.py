"""Waits for servers that are not up yet, for a bounded time and with a line on the terminal."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tidings.errors import Retryable, TidingsError
from tidings.runtime.backoff import Backoff

_Answer = TypeVar("_Answer")
_BACKOFF = Backoff(first_ms=200, most_ms=2_000)


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
    while loop.time() < deadline:
        try:
            async with asyncio.timeout_at(deadline):
                return await attempt()
        except TimeoutError:
            break
        except Retryable as error:
            reason = str(error)
            failures += 1
        if failures == 1:
            say(f"waiting for {server} ({reason})")
        await asyncio.sleep(min(_BACKOFF.wait_ms(failures) / 1000, max(0.0, deadline - loop.time())))
    raise GaveUp(
        f"{server} did not serve us within {within_s:g} s ({reason}). Is it running? `make up` starts it here,"
        " and `source .run/env` sets its ports"
    )
