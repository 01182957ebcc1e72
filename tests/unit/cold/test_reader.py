"""Archived messages are read by seq, and every failure is ColdUnavailable with a text for the operator."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.fakes.clock import FakeClock
from tests.faults.media import ReadFault
from tests.unit.cold.segments import segment_rows, written_object
from tests.unit.cold.slow_media import SlowMediaStore
from tests.waiting import until
from tidings import metrics
from tidings.cold.cache import ObjectCache
from tidings.cold.objects import GROUP_ROWS
from tidings.cold.reader import FAILURE_MS, ColdReader
from tidings.errors import ColdUnavailable
from tidings.store.base import ColdRows
from tidings.store.segment_rows import SegmentRow

KEY = "cold/202608/3/object"
LARGE = segment_rows("g:large", 3, 20_001, 2 * GROUP_ROWS)
SMALL = segment_rows("d:alice:bob", 1, 1, 7)


class Bench:
    """A reader over a store with one object of two segments."""

    def __init__(self, folder: Path, fetch_timeout_s: float = 5.0) -> None:
        self.store = SlowMediaStore()
        self.clock = FakeClock()
        self.cache = ObjectCache(self.store, folder / "cache", 10**7, fetch_timeout_s)
        self.reader: ColdRows = ColdReader(self.cache, self.clock)
        self.content, (self.small, self.large) = written_object(folder / "object", [SMALL, LARGE], KEY)
        self.store.objects[KEY] = self.content

    async def small_rows(self) -> object:
        return await self.reader.messages(self.small, 2, 4)


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    assert isinstance(bench.reader, ColdReader)
    await bench.reader.start()
    yield bench
    await bench.reader.close()


def counted(outcome: str) -> float:
    return float(metrics.COLD_READS.labels(outcome)._value.get())


async def test_messages_of_a_range_are_read_ascending(bench: Bench) -> None:
    assert await bench.reader.messages(bench.small, 1, 7) == SMALL
    assert await bench.reader.messages(bench.small, 3, 3) == SMALL[2:3]
    assert await bench.reader.messages(bench.small, 3, 2) == []
    middle = slice(GROUP_ROWS - 20, GROUP_ROWS + 20)
    assert await bench.reader.messages(bench.large, LARGE[middle][0].seq, LARGE[middle][-1].seq) == LARGE[middle]


async def test_reads_are_counted_by_source(bench: Bench) -> None:
    fetched, hits = counted("fetched"), counted("hit")
    await bench.small_rows()
    await bench.small_rows()
    assert (counted("fetched") - fetched, counted("hit") - hits) == (1, 1)
    assert metrics.COLD_CACHE_BYTES._value.get() == len(bench.content)


async def test_equal_reads_at_once_are_one(bench: Bench) -> None:
    fetched = counted("fetched")
    answers = await asyncio.gather(*(bench.small_rows() for _ in range(10)))
    assert answers == [SMALL[1:4]] * 10
    assert (counted("fetched") - fetched, bench.store.calls["open"]) == (1, 1)


async def test_a_caller_that_leaves_does_not_end_the_read(bench: Bench) -> None:
    bench.store.may_answer.clear()
    left, stays = (asyncio.create_task(bench.small_rows()) for _ in range(2))
    await until(lambda: bench.store.at_once == 1)
    left.cancel()
    await asyncio.wait({left})
    bench.store.may_answer.set()
    assert await stays == SMALL[1:4]


Fault = Callable[[Bench], None]


def away(bench: Bench) -> None:
    bench.store.stall()


def cut(bench: Bench) -> None:
    bench.store.faults.script_read(ReadFault.CUT)


def missing(bench: Bench) -> None:
    del bench.store.objects[KEY]


def flipped(bench: Bench) -> None:
    content = bytearray(bench.content)
    content[len(content) // 2] ^= 1
    bench.store.objects[KEY] = bytes(content)


def shorter(bench: Bench) -> None:
    bench.store.objects[KEY] = bench.content[:-1]


def of_another(bench: Bench) -> None:
    bench.store.objects[KEY] = b"PAR1 of another program PAR1"


def whole_again(bench: Bench) -> None:
    bench.store.heal()
    bench.store.objects[KEY] = bench.content


@pytest.mark.parametrize(
    ("fault", "outcome", "action"),
    [
        (away, "failed", "TIDINGS_MEDIA_STORE_URL"),
        (cut, "failed", "TIDINGS_MEDIA_STORE_URL"),
        (missing, "missing", "tidings archive verify"),
        (flipped, "damaged", "tidings archive verify"),
        (shorter, "damaged", "tidings archive verify"),
        (of_another, "damaged", "tidings archive verify"),
    ],
)
async def test_store_that_fails_is_used_again_when_it_works(
    bench: Bench, fault: Fault, outcome: str, action: str
) -> None:
    before = counted(outcome)
    fault(bench)
    with pytest.raises(ColdUnavailable, match=KEY) as raised:
        await bench.small_rows()
    assert action in str(raised.value)
    assert counted(outcome) == before + 1
    whole_again(bench)
    bench.clock.now_ms += FAILURE_MS + 1
    assert await bench.small_rows() == SMALL[1:4]


async def test_store_that_does_not_answer_fails_in_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fetch_timeout_s=0.2)
    assert isinstance(bench.reader, ColdReader)
    await bench.reader.start()
    bench.store.may_answer.clear()
    with pytest.raises(ColdUnavailable, match="TIDINGS_MEDIA_STORE_URL"):
        await bench.small_rows()
    await bench.reader.close()


async def test_retries_within_a_moment_ask_the_store_once(bench: Bench) -> None:
    flipped(bench)
    for _ in range(5):
        with pytest.raises(ColdUnavailable):
            await bench.small_rows()
    assert bench.store.calls["open"] == 1


async def test_damage_is_logged_with_the_object(bench: Bench) -> None:
    flipped(bench)
    with capture_logs() as lines, pytest.raises(ColdUnavailable):
        await bench.small_rows()
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert (line["event"], line["object_key"]) == ("an archived object is damaged", KEY)


def other_row(bench: Bench, first_row: int) -> SegmentRow:
    assert bench.small.cold is not None
    return replace(bench.small, cold=bench.small.cold._replace(first_row=first_row))


@pytest.mark.parametrize("changed", ["session", "segment", "row", "far row", "row below 0"])
async def test_rows_of_another_place_are_never_returned(bench: Bench, changed: str) -> None:
    """The directory may be wrong too. The object is whole, and its rows are not the ones that it names."""
    wrong = {
        "session": replace(bench.small, session_id="d:alice:carol"),
        "segment": replace(bench.small, segment=2),
        "row": other_row(bench, first_row=1),
        "far row": other_row(bench, first_row=10**9),
        "row below 0": other_row(bench, first_row=-5),
    }[changed]
    damaged = counted("damaged")
    with pytest.raises(ColdUnavailable, match="is damaged"):
        await bench.reader.messages(wrong, 2, 4)
    assert counted("damaged") == damaged + 1
    bench.clock.now_ms += FAILURE_MS + 1
    assert await bench.small_rows() == SMALL[1:4]


async def test_file_that_the_disk_damaged_is_fetched_again(bench: Bench, tmp_path: Path) -> None:
    await bench.small_rows()
    (path,) = (tmp_path / "cache").rglob("*.parquet")
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)
    with pytest.raises(ColdUnavailable, match="is damaged"):
        await bench.reader.messages(bench.large, LARGE[0].seq, LARGE[-1].seq)
    bench.clock.now_ms += FAILURE_MS + 1
    assert await bench.reader.messages(bench.large, LARGE[0].seq, LARGE[-1].seq) == LARGE


async def test_disk_that_fails_is_named(bench: Bench, tmp_path: Path) -> None:
    await bench.small_rows()
    (path,) = (tmp_path / "cache").rglob("*.parquet")
    path.unlink()
    with pytest.raises(ColdUnavailable, match="TIDINGS_COLD_CACHE_DIR"):
        await bench.small_rows()
    bench.clock.now_ms += FAILURE_MS + 1
    assert await bench.small_rows() == SMALL[1:4]


async def test_reads_end_when_the_process_stops(bench: Bench) -> None:
    bench.store.may_answer.clear()
    waiting = asyncio.create_task(bench.small_rows())
    await until(lambda: bench.store.at_once == 1)
    assert isinstance(bench.reader, ColdReader)
    await bench.reader.close()
    with pytest.raises(ColdUnavailable, match="stops"):
        await waiting


async def test_hot_segment_is_a_mistake_of_the_caller(bench: Bench) -> None:
    with pytest.raises(ValueError, match="is not cold"):
        await bench.reader.messages(replace(bench.small, cold=None), 1, 1)


def test_a_process_without_cold_reads_never_imports_pyarrow() -> None:
    program = "import sys, tidings.cold.reader, tidings.cold.cache; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
