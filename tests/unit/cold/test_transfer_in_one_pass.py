"""Objects are compared with the checksums of their segments, in one pass."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cold.segments import segment_rows
from tidings.cold.objects import GROUP_ROWS, ArchivedSegment, decode_groups, encode
from tidings.cold.transfer import first_problem
from tidings.errors import UnreadableObject
from tidings.store.rows import MessageRow

# Some in one row group, and one over three.
SIZES = (3, 5, GROUP_ROWS * 2, 1, GROUP_ROWS - 9, 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "object.parquet"


@pytest.fixture
def segments(path: Path) -> list[ArchivedSegment]:
    rows = [segment_rows(f"d:alice:b{place}", count=size) for place, size in enumerate(SIZES)]
    return list(encode(path, rows).segments)


def test_sound_object_has_no_problem_in_any_order(path: Path, segments: list[ArchivedSegment]) -> None:
    assert first_problem(path, segments) == ""
    assert first_problem(path, segments[::-1]) == ""
    assert first_problem(path, []) == ""


def test_some_segments_of_an_object_can_be_compared(path: Path, segments: list[ArchivedSegment]) -> None:
    for start in range(len(segments)):
        assert first_problem(path, segments[start::2]) == ""
        assert first_problem(path, segments[start : start + 1]) == ""


@pytest.mark.parametrize("place", range(len(SIZES)))
def test_segment_with_another_checksum_is_named(path: Path, segments: list[ArchivedSegment], place: int) -> None:
    segments[place] = segments[place]._replace(rows_sha256=b"x" * 32)
    assert first_problem(path, segments) == f"d:alice:b{place}, segment 1: its rows have another checksum"


@pytest.mark.parametrize("place", range(len(SIZES)))
def test_segment_at_another_place_is_named(path: Path, segments: list[ArchivedSegment], place: int) -> None:
    segments[place] = segments[place]._replace(first_seq=2)
    assert first_problem(path, segments) == f"d:alice:b{place}, segment 1: seq 2 is another message"


def test_segment_beyond_the_end_is_unreadable(path: Path, segments: list[ArchivedSegment]) -> None:
    with pytest.raises(UnreadableObject):
        first_problem(path, [*segments[:-1], segments[-1]._replace(rows=8)])


def test_object_is_opened_once_for_all_its_segments(
    path: Path, segments: list[ArchivedSegment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a pass for each segment, an object of 5,000 quiet sessions took 25 s."""
    asked = []

    def counted(source: Path, first_row: int, rows: int) -> Iterator[list[MessageRow]]:
        asked.append((first_row, rows))
        return decode_groups(source, first_row, rows)

    monkeypatch.setattr("tidings.cold.transfer.decode_groups", counted)
    assert first_problem(path, segments) == ""
    assert asked == [(0, sum(SIZES))]
