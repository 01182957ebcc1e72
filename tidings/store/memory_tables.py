"""The partitions of MemoryStore: rows in clustering order, merged as Cassandra merges them."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, NamedTuple

from tidings.store.media_rows import MediaRefRow, MediaUsageRow
from tidings.store.rows import (
    BucketRow,
    DeliveredRow,
    GroupRow,
    InboxRow,
    KeyRow,
    MemberRow,
    MessageRow,
    ReadRow,
    ReceiptRow,
    Row,
    SentRow,
    SessionLeftRow,
    SessionModeRow,
    UserSessionRow,
)
from tidings.store.segment_rows import SegmentByMonthRow, SegmentClosedRow, SegmentRow
from tidings.store.statements import columns, has_write_timestamp

StoredRow = Row | ReceiptRow

_CLUSTERING: dict[type[Row], Callable[[Any], Any]] = {
    MessageRow: attrgetter("seq"),
    KeyRow: attrgetter("sender_id", "client_msg_id"),
    SegmentRow: attrgetter("segment"),
    SegmentClosedRow: attrgetter("segment"),
    SegmentByMonthRow: attrgetter("session_id", "segment"),
    GroupRow: attrgetter("as_of_seq"),
    MemberRow: attrgetter("user_id", "as_of_seq"),
    InboxRow: attrgetter("inbox_seq"),
    BucketRow: attrgetter("bucket"),
    UserSessionRow: attrgetter("session_id"),
    SessionLeftRow: attrgetter("session_id"),
    SessionModeRow: attrgetter("session_id"),
    DeliveredRow: attrgetter("user_id"),
    ReadRow: attrgetter("user_id"),
    SentRow: attrgetter("user_id"),
    MediaRefRow: attrgetter("session_id"),
    MediaUsageRow: attrgetter("media_id"),
}
# Tables with several row classes, each of which writes some of the columns.
_READ_AS: dict[str, type[ReceiptRow | UserSessionRow]] = {"receipts": ReceiptRow, "user_sessions": UserSessionRow}
_PARTITION = {row_class: attrgetter(*row_class.partition_key) for row_class in _CLUSTERING}


class PartitionName(NamedTuple):
    """A table and the value of its partition key: a scalar for one column, a tuple for several."""

    table: str
    key: Hashable


class Cell(NamedTuple):
    """One column of a row with a write timestamp."""

    timestamp: int
    value: Any


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one row. It stays the same while writes change the row. `written_us`: when it was last written."""

    row: StoredRow
    expires_ms: int | None
    written_us: int
    cells: dict[str, Cell] = field(default_factory=dict)


class Partition:
    """The rows of one partition, ascending by clustering key."""

    __slots__ = ("_order", "_slots")

    def __init__(self) -> None:
        self._order: list[Any] = []
        self._slots: dict[Any, Slot] = {}

    def put(self, row: Row, expires_ms: int | None, written_us: int = 0) -> Slot:
        """Merge a row in, and return its place."""
        key = _CLUSTERING[type(row)](row)
        slot = self._slots.get(key)
        if slot is None:
            insort(self._order, key)
            slot = self._slots[key] = Slot(row, expires_ms, written_us)
        slot.row = _merged(slot.cells, row) if has_write_timestamp(type(row)) else _over(slot.row, row)
        slot.expires_ms, slot.written_us = expires_ms, written_us
        return slot

    def drop(self, key: Any) -> None:
        """Remove a row, as a tombstone does."""
        del self._slots[key]
        del self._order[bisect_left(self._order, key)]

    def ascending(self, first: object = None, last: object = None) -> Iterator[Slot]:
        """The slots with first <= key <= last. A bound of None does not apply."""
        start = 0 if first is None else bisect_left(self._order, first)
        end = len(self._order) if last is None else bisect_right(self._order, last)
        return (self._slots[key] for key in self._order[start:end])

    def descending(self, below: object = None) -> Iterator[Slot]:
        """The slots with key < below (None: all), newest first."""
        end = len(self._order) if below is None else bisect_left(self._order, below)
        return (self._slots[self._order[index]] for index in range(end - 1, -1, -1))

    def at(self, keys: Iterable[object]) -> Iterator[Slot]:
        """The slots with these keys. Missing keys are left out."""
        return (self._slots[key] for key in keys if key in self._slots)


def partition_of(row: Row) -> PartitionName:
    """The table and partition key of a row."""
    return PartitionName(row.table, _PARTITION[type(row)](row))


def _over(stored: StoredRow, row: Row) -> StoredRow:
    """A row written over a stored one: absent optional columns leave what is stored. The tables that have any."""
    if isinstance(stored, (SegmentRow, SegmentByMonthRow)):
        given = {name: getattr(row, name) for name in columns(type(row)) if getattr(row, name) is not None}
        return replace(stored, **given)
    return row


def _merged(cells: dict[str, Cell], row: Row) -> StoredRow:
    """Write a row with a write timestamp over `cells`, and return the merged row. Changes `cells`.

    As in Cassandra, the later timestamp wins for each column, and at equal
    timestamps the larger value. A column that was never written is read as 0.
    """
    stamp = attrgetter("write_timestamp")(row)
    for name in columns(type(row)):
        new = Cell(stamp, getattr(row, name))
        cells[name] = max(cells.get(name, new), new)
    seen = _READ_AS.get(row.table, type(row))
    nothing = Cell(0, 0)
    return seen(*(cells.get(name, nothing).value for name in columns(seen)))
