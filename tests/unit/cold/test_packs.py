"""One object in the making: where its segments are, and which ones it refuses."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.cold.segments import segment_rows
from tidings.cold.listing import Listed
from tidings.cold.objects import decode
from tidings.cold.packs import IncompleteSegment, Pack, pack
from tidings.cold.reading import Ended
from tidings.store.archive_tables import Shard
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentByMonthRow, SegmentRow
from tidings.wire.common_pb2 import KIND_SYSTEM, KIND_TEXT

SHARD = Shard(202605, 3)
SESSION = "d:alice:bob"


def ended(segment: int, first_seq: int, last_seq: int) -> Ended:
    directory = SegmentRow(SESSION, segment, first_seq, SHARD.month, 0, first_seq)
    return Ended(Listed(SegmentByMonthRow(*SHARD, SESSION, segment), directory, None), last_seq)


def add(made: Pack, segment: Ended, rows: Sequence[MessageRow]) -> None:
    made.begin(segment)
    made.add(rows)
    made.end()


def test_places_say_where_each_segment_is(tmp_path: Path) -> None:
    first, second = segment_rows(SESSION, 1, 1, 3, kind=KIND_TEXT), segment_rows(SESSION, 2, 4, 2, kind=KIND_SYSTEM)
    with pack(tmp_path, SHARD, 10**6) as made:
        add(made, ended(1, 1, 3), first)
        add(made, ended(2, 4, 5), second)
        places = [place for _, place in made.places(made.close(), "cold/a", 7)]
        assert [(place.object_key, place.first_row, place.rows) for place in places] == [
            ("cold/a", 0, 3),
            ("cold/a", 3, 2),
        ]
        assert [place.uncounted for place in places] == [b"", b"\x00\x00\x00\x01"]
        assert (places[1].last_count, places[1].last_at) == (second[-1].count, second[-1].at)
        assert decode(made.path, 3, 2) == second


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_segment_with_a_missing_row_is_refused(tmp_path: Path, missing: int) -> None:
    rows = segment_rows(SESSION, 1, 1, 3)
    with pack(tmp_path, SHARD, 10**6) as made, pytest.raises(IncompleteSegment) as refused:
        add(made, ended(1, 1, 3), rows[:missing] + rows[missing + 1 :])
    assert refused.value.name == (SESSION, 1)


def test_pack_is_full_at_its_bytes(tmp_path: Path) -> None:
    rows = segment_rows(SESSION, 1, 1, 1_100)
    for most_bytes, is_full in ((1, True), (10**9, False)):
        with pack(tmp_path, SHARD, most_bytes) as made:
            assert not made.is_full or most_bytes == 1
            add(made, ended(1, 1, 1_100), rows)
            assert made.is_full == is_full


def test_file_is_removed_at_the_end(tmp_path: Path) -> None:
    with pytest.raises(IncompleteSegment), pack(tmp_path, SHARD, 1) as made:
        add(made, ended(1, 1, 3), [])
    assert list(tmp_path.iterdir()) == []
