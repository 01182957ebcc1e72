"""Waiting for what has no event of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

PATIENCE_S = 120.0
POLL_S = 0.1
# A look at objects of the same process costs nothing.
LOOK_S = 0.005
_T = TypeVar("_T")


async def until(
    holds: Callable[[], object], what: str = "it holds", *, within_s: float = PATIENCE_S, every_s: float = LOOK_S
) -> None:
    """Wait for it to hold. AssertionError names what never did."""
    try:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110 - looks at several places, none of which has an event
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None


async def becomes(
    ask: Callable[[], Awaitable[_T]], wanted: _T, *, within_s: float = PATIENCE_S, every_s: float = POLL_S
) -> float:
    """Ask until the answer equals this; how long it took. AssertionError shows the last answer."""
    began = time.monotonic()
    while (answer := await ask()) != wanted:
        assert time.monotonic() - began < within_s, f"not within {within_s:g} s {wanted!r}, but {answer!r}"
        await asyncio.sleep(every_s)
    return time.monotonic() - began
