"""One round of a stage: the gathered records, and the steps that may fail partition by partition."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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

# Rows of one write call. At 2,000 rows/s, a quarter of what one node takes, this is 1 s of the 4 s that an await may
# last. So a long round (500 records to 60 users each) is never dropped by law 12 (a round that waited too long is
# dropped).
_WRITE_ROWS = 2_000


class RoundDropped(Retryable):
    """The round must not write any more, because its partitions may belong to another process by now.

    Law 12 (a round that waited too long is dropped).
    """


class Round(Generic[T]):
    """The records that a stage works on at one time.

    A partition fails alone: its records are repeated in a later round from the state before, while the others continue.
    A source partition is named by its number, because the topics of a group are co-partitioned and share it.
    """

    def __init__(
        self,
        arrivals: Mapping[TopicPartition, Sequence[Arrival[T]]],
        marks: Mapping[TopicPartition, Marks],
        positions: Mapping[TopicPartition, Position],
        is_still_assigned: Callable[[], bool],
    ) -> None:
        """`positions`: the confirmed position of each ready partition. Each write calls `is_still_assigned` first."""
        self.arrivals = arrivals
        self.marks = {partition: mark.copy() for partition, mark in marks.items()}
        self.positions = positions
        self._is_still_assigned = is_still_assigned
        self.failed: dict[int, str] = {}
        self.stopped: dict[TopicPartition, str] = {}
        self.repeat_count = 0
        # How long each step took that is measured: load, write, emit.
        self.step_seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of the block to the step."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.step_seconds[step] += time.monotonic() - began_s

    def first(self, partition: TopicPartition) -> Position:
        """The position of the first record. Rows at or above it are ignored: law 5 (a replay ignores later rows)."""
        return self.positions[partition]

    def end(self, partition: TopicPartition) -> Position:
        """The position after the last record, where the next round begins."""
        return Position(self.first(partition).epoch, self.arrivals[partition][-1].record.offset + 1)

    def fresh(
        self, pick: Callable[[T], C | None], source_of: Callable[[C], Coordinates]
    ) -> list[tuple[TopicPartition, Record, C]]:
        """The records that the stage has not decided yet, in log order. Advances the marks to them.

        Law 4 (every stage drops what it has seen): a record at or below the mark is a repeat, which is counted and
        left out. `pick` returns the content for this stage, or None if a record has none. `source_of` returns its
        coordinates. Call it once a round.
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
        """Mark these partitions as failed, so that their records are repeated."""
        for source_partition in source_partitions:
            self.failed.setdefault(source_partition, reason)

    def stop(self, partition: TopicPartition, reason: str) -> None:
        """Stop this partition until an operator acts. Its records of this round are not committed."""
        self.stopped[partition] = reason
        self.fail([partition.partition], reason)

    def ensure_still_assigned(self) -> None:
        """Raises RoundDropped if an await took too long or the assignment has changed."""
        if not self._is_still_assigned():
            raise RoundDropped("the assignment has gone, or an await took longer than half the session time-out")

    async def write(self, store: Store, writes: OrderedWrites) -> None:
        """Write wave after wave, large waves in pieces. A wave begins when a quorum has confirmed the previous one."""
        async for _ in self.write_waves(store, writes):
            pass

    async def write_waves(self, store: Store, writes: OrderedWrites) -> AsyncIterator[int]:
        """Like `write`. Yields the number of each wave when it is confirmed for all partitions that have not failed."""
        for number, wave in enumerate(writes.waves()):
            for start in range(0, len(wave), _WRITE_ROWS):
                rows = [row for row in wave[start : start + _WRITE_ROWS] if not self.has_failed(row.source_partition)]
                if rows:
                    self.ensure_still_assigned()
                    with self.timed("write"):
                        self.fail(await store.write(rows), "the tables did not confirm a write")
            yield number

    async def emit(self, producer: Producer, outbox: Outbox) -> None:
        """Append to all targets, in order for each. If a target fails, all source partitions of its records fail."""
        self.ensure_still_assigned()
        with self.timed("emit"):
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
