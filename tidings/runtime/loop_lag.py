"""Measures how late the event loop of the process runs a timer. A blocked loop loses connections and memberships."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from tidings import metrics
from tidings.logging import logger

EVERY_S = 0.25
WARNING_S = 1.0

_log = logger("tidings.loop")


@contextlib.asynccontextmanager
async def measuring() -> AsyncIterator[None]:
    """Observe the lag while the block runs. Once in a process, because all of it shares the loop."""
    task = asyncio.create_task(_measure())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _measure() -> None:
    while True:
        before_s = time.monotonic()
        await asyncio.sleep(EVERY_S)
        lag_s = max(0.0, time.monotonic() - before_s - EVERY_S)
        metrics.LOOP_LAG_SECONDS.observe(lag_s)
        if lag_s > WARNING_S:
            _log.warning("the event loop was blocked", lag_s=round(lag_s, 2))
