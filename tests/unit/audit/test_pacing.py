"""The audit reads rows below a rate."""

import time

from tests.fakes.clock import FakeClock
from tidings.audit.pacing import Pacing
from tidings.clock import SystemClock


async def test_reads_wait_for_the_rate() -> None:
    pacing = Pacing(SystemClock(), 1_000)
    begun_s = time.monotonic()
    for _ in range(4):
        assert await pacing.read([1] * 100) == [1] * 100
    assert 0.25 < time.monotonic() - begun_s < 60
    assert pacing.rows == 400


async def test_without_a_rate_no_read_waits() -> None:
    pacing = Pacing(FakeClock(0), 0)
    assert await pacing.read([1] * 1_000_000)
    assert pacing.rows == 1_000_000


async def test_a_read_without_rows_counts_as_one() -> None:
    pacing = Pacing(FakeClock(0), 0)
    assert await pacing.read([]) == []
    assert pacing.rows == 1
