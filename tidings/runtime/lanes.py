"""A lane: one partition of one assignment, from its ready gate to its bounded queue. Pure.

A record enters only through an open gate (the position and the marks were read
back together and the consumer was sent there), in offset order without a hole.
It leaves when its round is confirmed.
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

# A lane holds up to two full rounds before its source is paused, and is read
# again below half a round: pausing throws away what the client fetched ahead.
PAUSE_RECORDS = 1_000
RESUME_RECORDS = 250
PAUSE_BYTES = 2 * 1024 * 1024
RESUME_BYTES = 512 * 1024


class Gate(Enum):
    """What a lane lets through."""

    LOADING = "loading"
    READY = "ready"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Arrival(Generic[T]):
    """A record and what it says, or why it says nothing."""

    record: Record
    content: T | PoisonRecord


class Admission(Enum):
    """What became of an arriving record."""

    TAKEN = "taken"
    NOT_READY = "not_ready"
    BEHIND = "behind"
    HOLE = "hole"


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
        """Position and marks are known; the consumer reads from `offset` on."""
        self.gate = Gate.READY
        self.marks = marks
        self.confirmed_offset = self.committed_offset = self._next_offset = offset

    def stop(self) -> None:
        """Nothing more enters. What is queued before the trouble is still worked off."""
        self.gate = Gate.STOPPED

    def abandon(self) -> None:
        """The trouble lies in what is queued: work on none of it."""
        self._queue.clear()
        self._queue_bytes = 0

    def admission(self, record: Record) -> Admission:
        """Whether this record is the one that follows."""
        if self.gate is not Gate.READY:
            return Admission.NOT_READY
        if record.offset == self._next_offset:
            return Admission.TAKEN
        return Admission.BEHIND if record.offset < self._next_offset else Admission.HOLE

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
        """How many are queued."""
        return len(self._queue)

    def has_work(self, now_s: float) -> bool:
        """Something is queued, and no wait after a failure holds it back."""
        return bool(self._queue) and now_s >= self.retry_at_s

    def head(self, most_records: int, most_bytes: int) -> Sequence[Arrival[T]]:
        """The oldest records within the bounds, at least one; they stay until confirmed."""
        taken: list[Arrival[T]] = []
        size = 0
        for arrival in self._queue:
            size += _size(arrival.record)
            if taken and (len(taken) >= most_records or size > most_bytes):
                break
            taken.append(arrival)
        return taken

    def confirm(self, count: int, marks: Marks) -> None:
        """The oldest `count` records are done for good, and this is how far the stage has come."""
        for _ in range(count):
            done = self._queue.popleft()
            self._queue_bytes -= _size(done.record)
            self.confirmed_offset = done.record.offset + 1
        self.marks = marks
        self.failures = 0
        self.retry_at_s = 0.0

    @property
    def wants_pause(self) -> bool:
        """The queue is full and its source still flows."""
        return not self.is_paused and (len(self._queue) >= PAUSE_RECORDS or self._queue_bytes >= PAUSE_BYTES)

    @property
    def wants_resume(self) -> bool:
        """The queue has room again."""
        return self.is_paused and len(self._queue) <= RESUME_RECORDS and self._queue_bytes <= RESUME_BYTES

    @property
    def was_opened(self) -> bool:
        """Position and marks were read back in this assignment."""
        return self.committed_offset >= 0

    @property
    def wants_commit(self) -> bool:
        """There is progress that is not committed. A lane that never opened has none, whatever stopped it."""
        return 0 <= self.committed_offset < self.confirmed_offset


def _size(record: Record) -> int:
    return len(record.value or b"")
