"""Seeded runs of all stages and their clients. The same seed is the same run.

`SIMULATION_SEEDS=7` runs seed 7 alone, `SIMULATION_SEEDS=0-5000` many (`make simulate SEEDS=…`).
"""

import logging
import os

import pytest
import structlog

from tests.simulation.promises import check
from tests.simulation.schedule import STEPS, Schedule
from tests.simulation.world import World, run

SEEDS = 500
# Seeds that have failed once. 4, 6, 15: a system message counted as its author's last own one (G9). 29, 35, 62: the
# count at a watermark far below the head was never found, and receipts stood still.
KEPT: tuple[int, ...] = (4, 6, 15, 29, 35, 62)


def seeds() -> list[int]:
    """Those asked for, or the usual ones and those that have failed once."""
    asked = os.environ.get("SIMULATION_SEEDS")
    if not asked:
        return sorted({*range(SEEDS), *KEPT})
    first, _, last = asked.partition("-")
    return list(range(int(first), int(last or first) + 1))


async def one_run(seed: int) -> None:
    """Everything that befalls one world, then the promises."""
    schedule = Schedule(World(seed))
    try:
        await schedule.go(STEPS)
        await schedule.end()
        check(schedule)
    finally:
        schedule.bury()


@pytest.mark.parametrize("seed", seeds())
def test_no_seed_breaks_a_promise(seed: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    run(lambda: one_run(seed))
    structlog.reset_defaults()
