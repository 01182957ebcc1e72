"""Seeded runs of the product: its services, its gateways and the SDK. The same seed is the same run everywhere.

`SIMULATION_SEEDS=7` runs seed 7 alone, `SIMULATION_SEEDS=0-5000` many (`make simulate SEEDS=…`).
"""

import gc
import logging
import multiprocessing
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from unittest.mock import patch

import pytest
import structlog

from tests.simulation.promises import check
from tests.simulation.schedule import NoEnd, Schedule
from tests.simulation.virtual_time import run

SEEDS = 500
# Archivers run in these. They are other seeds, so that the runs of the first ones stay what they were.
ARCHIVED_FROM, ARCHIVED_SEEDS = 1_000_000, 100
# Seeds beyond those that have failed once.
KEPT: tuple[int, ...] = ()


def seeds() -> list[int]:
    """Those asked for, or the usual ones and those that have failed once."""
    asked = os.environ.get("SIMULATION_SEEDS")
    if not asked:
        return sorted({*range(SEEDS), *KEPT, *range(ARCHIVED_FROM, ARCHIVED_FROM + ARCHIVED_SEEDS)})
    first, _, last = asked.partition("-")
    return list(range(int(first), int(last or first) + 1))


async def one_run(seed: int) -> Counter[str]:
    """Everything that befalls one deployment, then the promises. Returns what its archivers have done."""
    schedule = Schedule(seed, archives=seed >= ARCHIVED_FROM)
    try:
        await schedule.go()
    except NoEnd:
        check(schedule)
        raise
    check(schedule)
    return schedule.archiving.done if schedule.archiving else Counter()


def play(seed: int) -> Counter[str]:
    """One seed, in one of the pool's processes, without logs and mostly without the collector; warnings are errors."""
    gc.set_threshold(100_000)
    warnings.simplefilter("error")
    unraised: list[str] = []
    sys.unraisablehook = lambda one: unraised.append(repr(one.exc_value))
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    done = run(lambda: one_run(seed), seed)
    assert not unraised, unraised
    return done


@pytest.fixture(scope="module")
def playing(request: pytest.FixtureRequest) -> Iterator[dict[int, "Future[Counter[str]]"]]:
    """All seeds of this session, one process a core."""
    items = [item for item in request.session.items if item.path == request.path]
    asked = [item.callspec.params["seed"] for item in items if hasattr(item, "callspec")]
    pool = ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"))
    with patch.dict(os.environ, PYTHONHASHSEED="0"):  # sets have the same order in every process
        runs = {seed: pool.submit(play, seed) for seed in asked}
    yield runs
    pool.shutdown(wait=False, cancel_futures=True)
    for process in multiprocessing.active_children():
        process.kill()  # idle by now, or in a seed without end, which is not to be waited for


@pytest.mark.promise("G1", "G2", "G3", "G4", "G6", "G7", "G8", "G9", "G10", "G11")
@pytest.mark.hazard("H1", "H2", "H3", "H4", "H5", "H6", "H7", "H10")
@pytest.mark.hazard("H15", "H17", "H21", "H22", "H25", "H26", "H27", "H28", "H29", "H30", "H36", "H37", "H38")
@pytest.mark.parametrize("seed", seeds())
def test_no_seed_breaks_a_promise(playing: dict[int, "Future[Counter[str]]"], seed: int) -> None:
    playing[seed].result()


def test_archivers_of_the_seeds_get_work_done(playing: dict[int, "Future[Counter[str]]"]) -> None:
    """Whole runs, although most processes are killed or fail somewhere."""
    done: Counter[str] = sum((playing[seed].result() for seed in playing if seed >= ARCHIVED_FROM), Counter())
    if not done:
        pytest.skip("no archivers run in these seeds")
    assert min(done[kind] for kind in ("archive", "restore", "verify")) > 0, done
