"""Waiting for what has no event of its own."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 20.0


async def until(is_so: Callable[[], object], pause_s: float = 0.0) -> None:
    """Return when it is so. Raises TimeoutError after PATIENCE_S."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - the condition has no event
            await asyncio.sleep(pause_s)
