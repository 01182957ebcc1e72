"""A lane: one partition of one assignment, with its ready gate and its bounded queue. Pure.

A record enters only through an open gate, in offset order and without gaps. The
gate opens when position and marks were read back together and the consumer has
seeked to the position. A record leaves when its round is confirmed.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from tidings.broker.base import Record, TopicPartition
from tidings.errors import PoisonRecord
from tidings.runtime.marks import Marks

T = TypeVar("T")

# The partition is paused at two full rounds and resumed below half a round. The
# distance is large because a pause drops the records that the client prefetched.
PAUSE_RECORDS = 1_000
RESUME_RECORDS = 250
PAUSE_BYTES = 2 * 1024 * 1024
RESUME_BYTES = 512 * 1024


class Gate(Enum):
    """Whether a lane admits records."""

    LOADING = "loading"
    READY = "ready"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Arrival(Generic[T]):
    """A record and its content, or the error if it cannot be decoded."""

    record: Record
    content: T | PoisonRecord


class Admission(Enum):
    """Whether an arriving record enters the lane, and if not, why."""

    TAKEN = "taken"
    NOT_READY = "not_ready"
    BEHIND = "behind"
    GAP = "gap"


@dataclass(slots=True)
class Lane(Generic[T]):
    """The state of one partition during one assignment."""

    partition: TopicPartition
    epoch: int
    gate: Gate = Gate.LOADING
    marks: Marks = field(default_factory=Marks)
    confirmed_offset: int = 0
    committed_offset: int = -1
    is_paused: bool = False
    failures: int = 0
    retry_at_s: float = 0.0
    _next_offset: int = 0
    _queue: deque[Arrival[T]] = field(default_factory=deque)
    _queue_bytes: int = 0

    def open(self, offset: int, marks: Marks) -> None:
        """Open the gate: position and marks are read back, and the consumer reads from `offset` on."""
        self.gate = Gate.READY
        self.marks = marks
        self.confirmed_offset = self.committed_offset = self._next_offset = offset

    def stop(self) -> None:
        """Admit no more records. Records that are queued already are still processed."""
        self.gate = Gate.STOPPED

    def abandon(self) -> None:
        """Drop the queue, because the fault is in one of the queued records."""
        self._queue.clear()
        self._queue_bytes = 0

    def admission(self, record: Record) -> Admission:
        """Whether this record has the next offset."""
        if self.gate is not Gate.READY:
            return Admission.NOT_READY
        if record.offset == self._next_offset:
            return Admission.TAKEN
        return Admission.BEHIND if record.offset < self._next_offset else Admission.GAP

    def put(self, arrival: Arrival[T]) -> None:
        """Queue a record whose admission is TAKEN."""
        self._queue.append(arrival)
        self._queue_bytes += _size(arrival.record)
        self._next_offset = arrival.record.offset + 1

    @property
    def next_offset(self) -> int:
        """The offset of the record that may enter next."""
        return self._next_offset

    @property
    def queued_records(self) -> int:
        return len(self._queue)

    @property
    def oldest_at_ms(self) -> int | None:
        """The broker's time of the oldest queued record, None if nothing is queued."""
        return self._queue[0].record.at_ms if self._queue else None

    def has_work(self, now_s: float) -> bool:
        """Whether a record is queued and no backoff after a failure is running."""
        return bool(self._queue) and now_s >= self.retry_at_s

    def head(self, most_records: int, most_bytes: int) -> Sequence[Arrival[T]]:
        """The oldest records within the bounds, at least one. They stay queued until they are confirmed."""
        taken: list[Arrival[T]] = []
        size = 0
        for arrival in self._queue:
            size += _size(arrival.record)
            if taken and (len(taken) >= most_records or size > most_bytes):
                break
            taken.append(arrival)
        return taken

    def confirm(self, count: int, marks: Marks) -> None:
        """Remove the oldest `count` records, which are confirmed, and keep the stage's new marks."""
        for _ in range(count):
            done = self._queue.popleft()
            self._queue_bytes -= _size(done.record)
            self.confirmed_offset = done.record.offset + 1
        self.marks = marks
        self.failures = 0
        self.retry_at_s = 0.0

    @property
    def wants_pause(self) -> bool:
        """Whether the queue is full and the partition is not paused yet."""
        return not self.is_paused and (len(self._queue) >= PAUSE_RECORDS or self._queue_bytes >= PAUSE_BYTES)

    @property
    def wants_resume(self) -> bool:
        """Whether the partition is paused and its queue has room again."""
        return self.is_paused and len(self._queue) <= RESUME_RECORDS and self._queue_bytes <= RESUME_BYTES

    @property
    def was_opened(self) -> bool:
        """Whether position and marks were read back in this assignment."""
        return self.committed_offset >= 0

    @property
    def wants_commit(self) -> bool:
        """Whether there is progress that is not committed. A lane that never opened has none, even if it stopped."""
        return 0 <= self.committed_offset < self.confirmed_offset


def _size(record: Record) -> int:
    return len(record.value or b"")
