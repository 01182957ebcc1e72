"""Which segments have ended."""

from dataclasses import replace

import pytest

from tidings.cold.ended import kept_from, last_seq_of
from tidings.ids import Position
from tidings.store.segment_rows import SegmentRow

SEGMENT = SegmentRow("d:a:b", 1, 1, 202605, 0, 10)
FOLLOWING = SegmentRow("d:a:b", 2, 8, 202606, 0, 90)
CLOSED = replace(SEGMENT, last_seq=7, last_count=7, last_at=5, closed_epoch=0, closed_offset=80)


@pytest.mark.parametrize(
    ("segment", "following", "confirmed", "last_seq"),
    [
        (SEGMENT, None, Position(0, 1_000), None),
        (SEGMENT, FOLLOWING, Position(0, 91), 7),
        (SEGMENT, FOLLOWING, Position(0, 90), None),
        (SEGMENT, FOLLOWING, Position(1, 0), 7),
        (CLOSED, None, Position(0, 81), 7),
        (CLOSED, None, Position(0, 80), None),
        (CLOSED, FOLLOWING, Position(0, 85), None),
    ],
)
@pytest.mark.hazard("H38")
def test_end_counts_when_the_persister_has_confirmed_it(
    segment: SegmentRow, following: SegmentRow | None, confirmed: Position, last_seq: int | None
) -> None:
    assert last_seq_of(segment, following, confirmed) == last_seq


def test_newest_message_of_a_session_stays_hot() -> None:
    assert kept_from(CLOSED, None, Position(0, 100)) == 7
    assert kept_from(CLOSED, FOLLOWING, Position(0, 91)) is None
    # Its message may not be written yet (H8).
    assert kept_from(CLOSED, FOLLOWING, Position(0, 90)) == 7
