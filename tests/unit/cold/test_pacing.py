"""Work below a rate."""

from tests.simulation.virtual_time import VirtualClock, simulated
from tidings.cold.pacing import Pace


@simulated
async def test_rate_is_not_passed_in_the_mean() -> None:
    clock = VirtualClock()
    pace = Pace(clock, 100)
    for _ in range(10):
        await pace.take(50)
    assert 4_900 <= clock.monotonic_ms() <= 5_100


@simulated
async def test_without_a_rate_nothing_waits() -> None:
    clock = VirtualClock()
    await Pace(clock, 0).take(10**9)
    assert clock.monotonic_ms() == 0
