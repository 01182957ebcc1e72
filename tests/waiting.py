"""Waiting for what has no event of its own."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 120.0
POLL_S = 0.1


async def until(
    holds: Callable[[], object], what: str, *, within_s: float = PATIENCE_S, every_s: float = POLL_S
) -> None:
    """Wait for it to hold. AssertionError names what never did."""
    try:
        async with asyncio.timeout(within_s):
            while not holds():  # noqa: ASYNC110 - looks at several places, none of which has an event
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AssertionError(f"not within {within_s:g} s: {what}") from None
