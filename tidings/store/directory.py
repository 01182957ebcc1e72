"""What the searches in directories of segments and of buckets share."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from tidings.ids import Position
from tidings.store.base import Store
from tidings.store.rows import BucketRow
from tidings.store.segment_rows import MOST_MESSAGES, SegmentRow

D = TypeVar("D", SegmentRow, BucketRow)
# Raises when the answer is no longer needed. Called after each read, so that a long search counts as many awaits: law
# 12 (a round that waited too long is dropped).
Check = Callable[[], None]

# Two, because the newest listed one may still be empty.
FIRST_ROWS = 2
DIRECTORY_PAGE = 100
# Where a search may skip segments, because it stops skipping within a few rows.
_SKIPPING_PAGE = 8
# ARCHITECTURE, Stages: a round's rows above its first offset are mostly among the newest 20. Then the search reads
# pages of 200 rows, which take 5 MiB with the longest body (24 KiB).
NEWEST_ROWS = 20
PAGE_ROWS = 200


def unchecked() -> None:
    """The answer is always needed."""


def first_below(rows: Sequence[D], position: Position) -> D | None:
    return next((row for row in rows if row.made_at < position), None)


async def segments_down_to(
    store: Store, newest: Sequence[SegmentRow], last_seq: int, is_enough: Callable[[SegmentRow], bool]
) -> list[SegmentRow]:
    """The segments of a session from the first one that is enough to the one that holds `last_seq`, ascending.

    There may be some above. `newest`: the newest segments, descending. Segments that are too new for `last_seq` are
    skipped by their greatest length, so the cost does not depend on how many there are. Raises StoreUnavailable.
    """
    rows = list(newest)
    while rows and not is_enough(rows[-1]):
        lowest = rows[-1]
        # So many segments below `lowest` begin above `last_seq`, however long they are.
        too_new = max(0, lowest.first_seq - last_seq - 1) // MOST_MESSAGES
        limit = DIRECTORY_PAGE if lowest.first_seq <= last_seq else _SKIPPING_PAGE
        page = await store.segments_below(lowest.session_id, lowest.segment - too_new, limit)
        if not page:
            break
        rows.extend(page)
    return rows[::-1]


def with_last_seqs(directory: Sequence[SegmentRow], last_seq: int) -> Iterator[tuple[SegmentRow, int]]:
    """Each segment with its last seq, by where the next one begins. `directory`: ascending; `last_seq`: of the last."""
    for segment, following in pairwise(directory):
        yield segment, following.first_seq - 1
    if directory:
        yield directory[-1], last_seq
