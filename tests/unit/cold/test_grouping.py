"""Segments are grouped by their objects within a bounded memory."""

import tracemalloc
from pathlib import Path

from tidings.cold.grouping import PlacedSegment, SegmentsByObject
from tidings.cold.objects import ArchivedSegment

OBJECTS = 10


def placed(number: int) -> PlacedSegment:
    return PlacedSegment(ArchivedSegment(f"d:user-{number}:zoe", 1, 1, number, 12, number.to_bytes(32)), bytes(32))


def test_each_object_comes_once_with_all_its_segments(tmp_path: Path) -> None:
    groups = SegmentsByObject(tmp_path, most_in_memory=7)
    for number in range(100):
        groups.add(f"object-{number % OBJECTS}", placed(number))
    assert "object-3" in groups
    assert "object-30" not in groups
    found = dict(groups.objects())
    assert found == {f"object-{n}": [placed(number) for number in range(n, 100, OBJECTS)] for n in range(OBJECTS)}
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_segments(tmp_path: Path) -> None:
    def peak_bytes(segments: int) -> int:
        groups = SegmentsByObject(tmp_path, most_in_memory=1_000)
        tracemalloc.start()
        for number in range(segments):
            groups.add(f"object-{number % OBJECTS + number // 5_000 * OBJECTS}", placed(number))
        for _, some in groups.objects():
            assert len(some) <= 5_000
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert peak_bytes(40_000) < 1.5 * peak_bytes(10_000) < 2_000_000
