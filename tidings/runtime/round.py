"""One round of a stage: what was gathered, and the steps that may fail partition by partition."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from tidings.broker.base import NewRecord, Producer, TopicPartition
from tidings.errors import BrokerUnavailable, Retryable
from tidings.ids import Position
from tidings.runtime.lanes import Arrival
from tidings.runtime.marks import Marks
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.outbox import Outbox
from tidings.store.base import Store

T = TypeVar("T")

# Rows that are handed to the tables at a time. At 2,000 rows/s, a quarter of what one node takes, this is 1 s of the
# 4 s that an await may last: a round of 500 records to 60 users each is long, yet never dropped for it (law 12).
_WRITE_ROWS = 2_000


class RoundDropped(Retryable):
    """The round must not write any more: its partitions may belong to another by now (law 12)."""


class Round(Generic[T]):
    """What a stage works on at one time.

    A partition fails alone: what is not confirmed for it is repeated in a later
    round from the state before, while the others go on. The tag of a partition
    is its number (two topics of one group are co-partitioned, so they share it).
    """

    def __init__(
        self,
        arrivals: Mapping[TopicPartition, Sequence[Arrival[T]]],
        marks: Mapping[TopicPartition, Marks],
        positions: Mapping[TopicPartition, Position],
        still_ours: Callable[[], bool],
    ) -> None:
        """`positions`: up to where each ready partition is confirmed; `still_ours` is asked before every write."""
        self.arrivals = arrivals
        self.marks = {partition: mark.copy() for partition, mark in marks.items()}
        self.positions = positions
        self._still_ours = still_ours
        self.failed: dict[int, str] = {}
        self.stopped: dict[TopicPartition, str] = {}

    def first(self, partition: TopicPartition) -> Position:
        """Where the round begins: rows made at or above it count as not there (law 5)."""
        return self.positions[partition]

    def end(self, partition: TopicPartition) -> Position:
        """The place after its last record, where the next round begins."""
        return Position(self.first(partition).epoch, self.arrivals[partition][-1].record.offset + 1)

    def is_confirmed(self, tag: int) -> bool:
        """True while nothing of this partition failed."""
        return tag not in self.failed

    def fail(self, tags: Iterable[int], reason: str) -> None:
        """These partitions are to be repeated."""
        for tag in tags:
            self.failed.setdefault(tag, reason)

    def stop(self, partition: TopicPartition, reason: str) -> None:
        """This partition stands still from here on, nothing of this round committed."""
        self.stopped[partition] = reason
        self.fail([partition.partition], reason)

    def must_be_ours(self) -> None:
        """Raises RoundDropped after an await that took too long, or when the assignment has gone."""
        if not self._still_ours():
            raise RoundDropped("the assignment has gone, or an await took longer than half the session time-out")

    async def write(self, store: Store, writes: OrderedWrites) -> None:
        """Write wave after wave, large ones in pieces; the next begins when the one before is confirmed by a quorum."""
        for wave in writes.waves():
            for start in range(0, len(wave), _WRITE_ROWS):
                rows = [row for row in wave[start : start + _WRITE_ROWS] if self.is_confirmed(row.tag)]
                if rows:
                    self.must_be_ours()
                    self.fail(await store.write(rows), "the tables did not confirm a write")

    async def emit(self, producer: Producer, outbox: Outbox) -> None:
        """Append to all targets, each one in order; a target that fails fails every partition it serves."""
        self.must_be_ours()
        await asyncio.gather(*(self._emit(producer, target, tagged) for target, tagged in outbox.targets()))

    async def _emit(self, producer: Producer, target: TopicPartition, tagged: list[tuple[int, NewRecord]]) -> None:
        live = [(tag, record) for tag, record in tagged if self.is_confirmed(tag)]
        if not live:
            return
        try:
            await producer.produce(target.topic, target.partition, [record for _, record in live])
        except BrokerUnavailable as error:
            self.fail({tag for tag, _ in live}, f"{target.topic}-{target.partition} did not confirm: {error}")
