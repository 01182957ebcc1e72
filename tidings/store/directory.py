"""What the searches in directories of segments and of buckets share."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from tidings.ids import Position
from tidings.store.rows import BucketRow
from tidings.store.segment_rows import SegmentRow

D = TypeVar("D", SegmentRow, BucketRow)
# Raises when the answer is no longer needed. Called after each read, so that a long search counts as many awaits: law
# 12 (a round that waited too long is dropped).
Check = Callable[[], None]

# Two, because the newest listed one may still be empty.
FIRST_ROWS = 2
DIRECTORY_PAGE = 100
# ARCHITECTURE, Stages: a round's rows above its first offset are mostly among the newest 20. Then the search reads
# pages of 200 rows, which take 5 MiB with the longest body (24 KiB).
NEWEST_ROWS = 20
PAGE_ROWS = 200


def unchecked() -> None:
    """The answer is always needed."""


def first_below(rows: Sequence[D], position: Position) -> D | None:
    return next((row for row in rows if row.made_at < position), None)
