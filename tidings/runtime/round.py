"""One round of a stage: what was gathered, and the steps that may fail partition by partition."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from tidings.broker.base import NewRecord, Producer, Record, TopicPartition
from tidings.errors import BrokerUnavailable, PoisonRecord, Retryable
from tidings.ids import Position
from tidings.runtime.lanes import Arrival
from tidings.runtime.marks import Marks
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.outbox import Outbox
from tidings.store.base import Store
from tidings.wire.common_pb2 import Coordinates

T = TypeVar("T")
C = TypeVar("C")

# Rows that are handed to the tables at a time. At 2,000 rows/s, a quarter of what one node takes, this is 1 s of the
# 4 s that an await may last: a round of 500 records to 60 users each is long, yet never dropped for it (law 12).
_WRITE_ROWS = 2_000


class RoundDropped(Retryable):
    """The round must not write any more: its partitions may belong to another process by now (law 12)."""


class Round(Generic[T]):
    """What a stage works on at one time.

    A partition fails alone: what is not confirmed for it is repeated in a later round from the state before, while the
    others go on. A source partition is named by its number: two topics of one group are co-partitioned and share it.
    """

    def __init__(
        self,
        arrivals: Mapping[TopicPartition, Sequence[Arrival[T]]],
        marks: Mapping[TopicPartition, Marks],
        positions: Mapping[TopicPartition, Position],
        is_still_assigned: Callable[[], bool],
    ) -> None:
        """`positions`: up to where each ready partition is confirmed. `is_still_assigned`: asked before every write."""
        self.arrivals = arrivals
        self.marks = {partition: mark.copy() for partition, mark in marks.items()}
        self.positions = positions
        self._is_still_assigned = is_still_assigned
        self.failed: dict[int, str] = {}
        self.stopped: dict[TopicPartition, str] = {}
        self.repeat_count = 0

    def first(self, partition: TopicPartition) -> Position:
        """Where the round begins: rows made at or above it count as not there (law 5)."""
        return self.positions[partition]

    def end(self, partition: TopicPartition) -> Position:
        """The place after its last record, where the next round begins."""
        return Position(self.first(partition).epoch, self.arrivals[partition][-1].record.offset + 1)

    def fresh(
        self, pick: Callable[[T], C | None], source_of: Callable[[C], Coordinates]
    ) -> list[tuple[TopicPartition, Record, C]]:
        """What a stage has not decided yet, in log order; the marks advance with it (law 4).

        `pick` returns what an arrival carries for this stage, None for nothing; `source_of` its coordinates. At or
        below the mark it is a repeat, which is counted and left out. Call it once a round.
        """
        fresh = []
        for partition, arrivals in self.arrivals.items():
            marks = self.marks[partition]
            for arrival in arrivals:
                content = arrival.content
                picked = None if isinstance(content, PoisonRecord) else pick(content)
                if picked is None:
                    continue
                source = source_of(picked)
                if marks.is_repeat(source):
                    self.repeat_count += 1
                    continue
                marks.advance(source)
                fresh.append((partition, arrival.record, picked))
        return fresh

    def has_failed(self, source_partition: int) -> bool:
        """Whether a step for this partition has failed. False says nothing about steps that are still to come."""
        return source_partition in self.failed

    def fail(self, source_partitions: Iterable[int], reason: str) -> None:
        """These partitions are to be repeated."""
        for source_partition in source_partitions:
            self.failed.setdefault(source_partition, reason)

    def stop(self, partition: TopicPartition, reason: str) -> None:
        """This partition stands still from here on, nothing of this round committed."""
        self.stopped[partition] = reason
        self.fail([partition.partition], reason)

    def ensure_still_assigned(self) -> None:
        """Raises RoundDropped after an await that took too long, or when the assignment has gone."""
        if not self._is_still_assigned():
            raise RoundDropped("the assignment has gone, or an await took longer than half the session time-out")

    async def write(self, store: Store, writes: OrderedWrites) -> None:
        """Write wave after wave, large ones in pieces; the next begins when the one before is confirmed by a quorum."""
        async for _ in self.write_waves(store, writes):
            pass

    async def write_waves(self, store: Store, writes: OrderedWrites) -> AsyncIterator[int]:
        """As `write`; yields the number of each wave when it is confirmed for all partitions that have not failed."""
        for number, wave in enumerate(writes.waves()):
            for start in range(0, len(wave), _WRITE_ROWS):
                rows = [row for row in wave[start : start + _WRITE_ROWS] if not self.has_failed(row.source_partition)]
                if rows:
                    self.ensure_still_assigned()
                    self.fail(await store.write(rows), "the tables did not confirm a write")
            yield number

    async def emit(self, producer: Producer, outbox: Outbox) -> None:
        """Append to all targets, each one in order; a target that fails fails every partition it serves."""
        self.ensure_still_assigned()
        await asyncio.gather(*(self._emit(producer, target, sourced) for target, sourced in outbox.targets()))

    async def _emit(self, producer: Producer, target: TopicPartition, sourced: list[tuple[int, NewRecord]]) -> None:
        left = [(source, record) for source, record in sourced if not self.has_failed(source)]
        if not left:
            return
        try:
            await producer.produce(target.topic, target.partition, [record for _, record in left])
        except BrokerUnavailable as error:
            reason = f"{target.topic}-{target.partition} did not confirm: {error}"
            self.fail({source for source, _ in left}, reason)
