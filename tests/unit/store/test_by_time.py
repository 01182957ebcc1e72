"""A place found by time is that of a linear scan, with few reads."""

import asyncio
import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import message, segment, write_confirmed
from tests.fakes.cold import FakeCold, purge
from tidings import ids
from tidings.store.by_time import first_seq_at, parts_from
from tidings.store.memory import MemoryStore
from tidings.store.rows import Row

S1 = "d:alice:bob"
DAY_MS = 86_400_000
BEGIN_MS = 1_764_000_000_000


@dataclass
class Line:
    """The times of a session's messages by seq, and where its segments begin."""

    ats: list[int]
    breaks: set[int]
    store: MemoryStore = field(default_factory=MemoryStore)
    cold: FakeCold = field(default_factory=FakeCold)
    segments: int = 0

    async def write(self) -> None:
        rows: list[Row] = []
        for seq, (before, at) in enumerate(pairwise([0, *self.ats]), start=1):
            if seq == 1 or seq in self.breaks or ids.month_of(before) != ids.month_of(at):
                self.segments += 1
                rows.append(replace(segment(S1, self.segments, seq), month=ids.month_of(at)))
            rows.append(replace(message(S1, seq, self.segments), at=at))
        await write_confirmed(self.store, rows)

    def first_at(self, at_ms: int, lowest_seq: int, head_seq: int) -> int | None:
        """The same by a linear scan."""
        return next((seq for seq in range(lowest_seq, head_seq + 1) if self.ats[seq - 1] >= at_ms), None)

    async def found(self, at_ms: int, lowest_seq: int = 1, head_seq: int | None = None) -> int | None:
        return await first_seq_at(self.store, S1, at_ms, lowest_seq, head_seq or len(self.ats), self.cold)


GAPS = st.lists(st.sampled_from([0, 0, 0, 1, 1_000, DAY_MS, 40 * DAY_MS]), min_size=1, max_size=60)


def times(gaps: list[int]) -> list[int]:
    ats = [BEGIN_MS]
    for gap in gaps[1:]:
        ats.append(ats[-1] + gap)
    return ats


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_place_is_that_of_a_linear_scan(data: st.DataObject) -> None:
    ats = times(data.draw(GAPS))
    line = Line(ats, set(data.draw(st.lists(st.integers(2, 60), max_size=10))))
    asyncio.run(_check(line, data))


async def _check(line: Line, data: st.DataObject) -> None:
    await line.write()
    count = len(line.ats)
    cold = data.draw(st.integers(0, line.segments - 1))
    await line.cold.take(line.store, S1, *range(1, cold + 1))
    purged = data.draw(st.integers(0, count))
    if purged:
        await purge(line.store, S1, purged)
    for at_ms in (*line.ats, *(at + 1 for at in line.ats), 0, line.ats[-1] + 90 * DAY_MS):
        lowest_seq = max(purged + 1, data.draw(st.integers(1, count)))
        head_seq = data.draw(st.integers(1, count))
        expected = line.first_at(at_ms, lowest_seq, head_seq)
        assert await line.found(at_ms, lowest_seq, head_seq) == expected


async def test_a_place_is_found_with_few_single_rows() -> None:
    """100 segments of one month, each of 100 messages."""
    line = Line(times([100] * 10_000), {100 * number + 1 for number in range(100)})
    await line.write()
    for seq in (1, 5_001, 5_100, 9_999):
        line.store.calls.clear()
        assert await line.found(line.ats[seq - 1]) == seq
        assert line.store.calls["segments"] == 1
        assert line.store.calls["segments_below"] <= 1
        assert line.store.calls["messages"] <= math.ceil(math.log2(100)) + math.ceil(math.log2(100)) + 2
        assert sum(line.store.calls.values()) <= 18


async def test_segments_of_other_months_are_not_read() -> None:
    line = Line(times([70 * DAY_MS] * 20), set())
    await line.write()
    line.store.calls.clear()
    assert await line.found(line.ats[9] - 35 * DAY_MS) == 10
    assert line.store.calls["messages"] == 0


async def test_times_of_cold_segments_come_from_the_directory() -> None:
    line = Line(times([1_000] * 64), {17, 33, 49})
    await line.write()
    await line.cold.take(line.store, S1, 1, 2, 3)
    assert await line.found(line.ats[39]) == 40
    assert all(33 <= first <= last <= 48 for _, first, last in line.cold.reads)
    assert len(line.cold.reads) <= 5


async def test_a_place_in_a_cold_segment_costs_few_reads() -> None:
    """Each read of an object decodes a group of 1,024 rows."""
    line = Line(times([10] * 10_000), {5_001})
    await line.write()
    await line.cold.take(line.store, S1, 1)
    for seq in (1, 2_500, 4_999, 5_000):
        line.cold.reads.clear()
        assert await line.found(line.ats[seq - 1]) == seq
        assert len(line.cold.reads) <= 4


async def test_messages_purged_during_the_search_count_as_earlier() -> None:
    line = Line(times([1_000] * 20), set())
    await line.write()
    await purge(line.store, S1, 12)
    assert await line.found(line.ats[4]) == 13


async def test_a_session_without_messages_has_no_place() -> None:
    assert await first_seq_at(MemoryStore(), S1, BEGIN_MS, 1, 0) is None


def test_parts_leave_out_empty_segments_and_earlier_months() -> None:
    directory = [replace(segment(S1, number, first), month=month) for number, first, month in
                 ((1, 1, 202511), (2, 5, 202512), (3, 9, 202512), (4, 9, 202601), (5, 30, 202601))]  # fmt: skip
    parts = parts_from(directory, 202512, 3, 20)
    assert [(part.segment.segment, part.first_seq, part.last_seq) for part in parts] == [(2, 5, 8), (4, 9, 20)]
