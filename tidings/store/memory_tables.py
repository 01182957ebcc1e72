"""Partitions of rows in clustering order, merged as Cassandra merges: what MemoryStore keeps."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from tidings.store.rows import (
    BlockRow,
    BucketRow,
    DeliveredRow,
    InboxRow,
    KeyRow,
    MessageRow,
    ReadRow,
    ReceiptRow,
    Row,
    SegmentByMonthRow,
    SegmentRow,
    SentRow,
    UserSessionRow,
)

T = TypeVar("T", ReadRow, SentRow, UserSessionRow)

StoredRow = Row | ReceiptRow

_CLUSTERING: dict[type[Row], Callable[[Any], Any]] = {
    MessageRow: attrgetter("seq"),
    KeyRow: attrgetter("sender_id", "client_msg_id"),
    SegmentRow: attrgetter("segment"),
    SegmentByMonthRow: attrgetter("session_id", "segment"),
    InboxRow: attrgetter("inbox_seq"),
    BucketRow: attrgetter("bucket"),
    UserSessionRow: attrgetter("session_id"),
    DeliveredRow: attrgetter("user_id"),
    ReadRow: attrgetter("user_id"),
    SentRow: attrgetter("user_id"),
    BlockRow: attrgetter("blocked_id"),
}
_PARTITION = {row_class: attrgetter(*row_class.partition_key) for row_class in _CLUSTERING}


class PartitionName(NamedTuple):
    """A table and the value of its partition key: a scalar for one column, a tuple for several."""

    table: str
    key: Hashable


@dataclass(slots=True)
class Slot:
    row: StoredRow
    expires_ms: int | None
    is_flickering: bool


class Partition:
    """The rows of one partition, ascending by clustering key."""

    __slots__ = ("_order", "_slots")

    def __init__(self) -> None:
        self._order: list[Any] = []
        self._slots: dict[Any, Slot] = {}

    def put(self, row: Row, expires_ms: int | None, *, is_flickering: bool) -> None:
        """Merge a row in. One that was confirmed before does not begin to flicker."""
        key = _CLUSTERING[type(row)](row)
        slot = self._slots.get(key)
        if slot is None:
            insort(self._order, key)
            self._slots[key] = Slot(merged(None, row), expires_ms, is_flickering)
        else:
            slot.row = merged(slot.row, row)
            slot.expires_ms = expires_ms
            slot.is_flickering &= is_flickering

    def remove(self, key: object) -> None:
        """Delete a row, if it is there."""
        if self._slots.pop(key, None) is not None:
            self._order.remove(key)

    def ascending(self, first: object = None, last: object = None) -> Iterator[Slot]:
        """The slots with first <= key <= last, where given."""
        start = 0 if first is None else bisect_left(self._order, first)
        end = len(self._order) if last is None else bisect_right(self._order, last)
        return (self._slots[key] for key in self._order[start:end])

    def descending(self, below: object = None) -> Iterator[Slot]:
        """The slots with key < below, where given, newest first."""
        end = len(self._order) if below is None else bisect_left(self._order, below)
        return (self._slots[self._order[index]] for index in range(end - 1, -1, -1))

    def at(self, keys: Iterable[object]) -> Iterator[Slot]:
        """The slots with these keys that are there."""
        return (self._slots[key] for key in keys if key in self._slots)


def partition_of(row: Row) -> PartitionName:
    """Where a row belongs."""
    return PartitionName(row.table, _PARTITION[type(row)](row))


def merged(old: StoredRow | None, new: Row) -> StoredRow:
    """What stands after `new` was written over `old`, by the write timestamps that the rows name."""
    if isinstance(new, DeliveredRow | ReadRow | SentRow):
        before = old if isinstance(old, ReceiptRow) else ReceiptRow(new.session_id, new.user_id)
        return _merged_receipt(before, new)
    if isinstance(old, UserSessionRow) and isinstance(new, UserSessionRow):
        return _newer(old, new, old.write_timestamp, new.write_timestamp)
    return new


def _merged_receipt(old: ReceiptRow, new: DeliveredRow | ReadRow | SentRow) -> ReceiptRow:
    """Each group of columns has its own watermark as timestamp; at equal ones the larger value of a cell wins."""
    match new:
        case DeliveredRow():
            return replace(old, delivered_seq=max(old.delivered_seq, new.delivered_seq))
        case ReadRow():
            before = ReadRow(old.session_id, old.user_id, old.read_seq, old.read_count, old.read_at)
            read = _newer(before, new, old.read_seq, new.read_seq)
            return replace(old, read_seq=read.read_seq, read_count=read.read_count, read_at=read.read_at)
        case SentRow():
            sent = _newer(
                SentRow(old.session_id, old.user_id, old.sent_seq, old.sent_count), new, old.sent_seq, new.sent_seq
            )
            return replace(old, sent_seq=sent.sent_seq, sent_count=sent.sent_count)


def _newer(old: T, new: T, old_timestamp: int, new_timestamp: int) -> T:
    if old_timestamp != new_timestamp:
        return new if new_timestamp > old_timestamp else old
    larger = {field.name: max(getattr(old, field.name), getattr(new, field.name)) for field in fields(new)}
    return replace(new, **larger)
