"""How late the loop runs a timer is measured once for the whole process."""

import asyncio
import time

import pytest

from tidings import metrics
from tidings.runtime import loop_lag
from tidings.runtime.loop_lag import measuring


async def test_a_blocked_loop_is_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "EVERY_S", 0.01)
    observed: list[float] = []
    monkeypatch.setattr(metrics.LOOP_LAG_SECONDS, "observe", observed.append)
    async with measuring():
        await asyncio.sleep(0)  # the timer starts
        time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
        async with asyncio.timeout(10):
            while not observed:  # noqa: ASYNC110 - nothing signals an observation
                await asyncio.sleep(0.01)
    assert max(observed) >= 0.15
