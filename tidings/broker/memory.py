"""The log in memory: the same promises as Kafka's adapter, with a clock and faults that tests set.

Unit tests, simulations and the embedded mode use it. Its records end with the
process. All parts of one MemoryBroker run on one event loop and wait by events only.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.broker.memory_faults import Faults, ProduceFault
from tidings.broker.memory_group import MemoryGroup, MemoryGroupConsumer
from tidings.broker.memory_log import Fetcher, MemoryLog, Partition
from tidings.clock import Clock, SystemClock
from tidings.errors import Backpressure, BrokerUnavailable, ConfigurationError
from tidings.topics import Group, Topic


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """Bounds of the memory adapter. `keep_records` is per partition, because there is no retention by time."""

    keep_records: int = 50_000
    timeout_s: float = 5.0
    record_bytes: int = 1024 * 1024
    unconfirmed_records: int = 10_000
    unconfirmed_bytes: int = 32 * 1024 * 1024


class MemoryBroker:
    """Makes the parts. Tests control it by faults, stalls, retention and lost tails."""

    def __init__(
        self,
        clock: Clock | None = None,
        faults: Faults | None = None,
        limits: MemoryLimits = MemoryLimits(),
    ) -> None:
        self.faults = faults or Faults()
        self.limits = limits
        self.log = MemoryLog(clock or SystemClock(), limits.keep_records, limits.timeout_s)
        self._groups: dict[str, MemoryGroup] = {}
        self._late: list[_Late] = []

    def producer(self, client_id: str) -> "MemoryProducer":
        return MemoryProducer(self)

    def group_consumer(self, client_id: str, group: Group) -> MemoryGroupConsumer:
        return MemoryGroupConsumer(client_id, self.group(group), group.topics, self.log)

    def reader(self, client_id: str) -> "MemoryReader":
        return MemoryReader(self.log)

    def admin(self) -> "MemoryAdmin":
        return MemoryAdmin(self)

    def group(self, group: Group) -> MemoryGroup:
        """The coordinator's side of a group. Tests read its `commits`."""
        return self._groups.setdefault(group.name, MemoryGroup(group, self.log, self.faults))

    def partition(self, name: TopicPartition) -> Partition:
        """One partition. Tests delete its first records or lose its tail."""
        return self.log.partition(name)

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, by partition and offset. For assertions."""
        partitions = [self.partition(TopicPartition(topic, number)) for number in range(self.log.count(topic))]
        return [record for part in partitions for record in part.read(part.first_offset, part.end_offset)]

    def stall(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """Stop the answers of these partitions, or of the whole broker. Appends time out, and land at `heal`."""
        self.log.stall(partitions)

    def heal(self) -> None:
        """End `stall`. Batches sent in the meantime are appended, and confirmed only if their senders still wait."""
        self.log.heal()
        self.land_late()

    def land_late(self) -> None:
        """Append all delayed batches now."""
        late, self._late = self._late, []
        for batch in late:
            batch.land(self.log)

    def submit(self, batch: "_Batch") -> None:
        """Append a batch, or apply the next fault."""
        if self.log.is_stalled(batch.name):
            self._late.append(_Late(batch, None))
            batch.time_out_after(self.limits.timeout_s)
            return
        if not self.log.has(batch.name):
            return batch.fail()
        self._count_down_late()
        match self.faults.produce():
            case ProduceFault.NONE:
                return batch.confirm(self.log.append(batch.name, batch.records))
            case ProduceFault.UNCONFIRMED:
                self.log.append(batch.name, batch.records)
            case ProduceFault.PARTIAL:
                self.log.append(batch.name, batch.records[: len(batch.records) // 2])
            case ProduceFault.LATE:
                self._late.append(_Late(batch, self.faults.late_calls()))
        return batch.fail()

    def _count_down_late(self) -> None:
        for late in tuple(self._late):
            if late.is_due():
                self._late.remove(late)
                late.land(self.log)


class _Batch:
    """Records in flight, and the future that the caller awaits."""

    def __init__(self, producer: "MemoryProducer", name: TopicPartition, records: Sequence[NewRecord]) -> None:
        self.name = name
        self.records = tuple(records)
        self.size_bytes = sum(_size(record) for record in records)
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(_look_at)
        self._producer = producer
        self._timer: asyncio.TimerHandle | None = None

    def confirm(self, offset: int) -> None:
        """Set the offset, if the caller still waits."""
        self._done()
        if not self.answer.done():
            self.answer.set_result(offset)

    def fail(self) -> None:
        """Fail with outcome unknown. All records that the producer has in flight fail with it."""
        self._producer.fail_all()

    def abandon(self) -> None:
        """Fail this batch alone, outcome unknown."""
        self._done()
        if not self.answer.done():
            self.answer.set_exception(BrokerUnavailable(f"{self.name.topic}-{self.name.partition} did not confirm"))

    def time_out_after(self, seconds: float) -> None:
        """Fail after this time, unless the batch is confirmed before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self.fail)

    def _done(self) -> None:
        self._producer.forget(self)
        if self._timer is not None:
            self._timer.cancel()


class _Late:
    """A batch that lands later: after some calls, or (None) at `heal`."""

    def __init__(self, batch: _Batch, calls: int | None) -> None:
        self._batch = batch
        self._calls = calls

    def is_due(self) -> bool:
        """Count one produce call. Returns whether the batch lands now."""
        if self._calls is not None:
            self._calls -= 1
        return self._calls == 0

    def land(self, log: MemoryLog) -> None:
        """Append the batch, also if its caller no longer waits."""
        self._batch.confirm(log.append(self._batch.name, self._batch.records))


class MemoryProducer:
    """Implements Producer."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.in_flight: dict[_Batch, None] = {}
        self._in_flight_bytes = 0
        self._broker = broker

    async def start(self) -> None:
        await self._broker.log.reached()

    async def stop(self) -> None:
        answers = [batch.answer for batch in self.in_flight]
        if answers:
            await asyncio.wait(answers, timeout=self._broker.limits.timeout_s)

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        return await self._submit(TopicPartition(topic, partition), records).answer

    def send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        limits = self._broker.limits
        if len(self.in_flight) >= limits.unconfirmed_records:
            raise Backpressure(f"{limits.unconfirmed_records} records wait for the log's confirmation")
        if self._in_flight_bytes >= limits.unconfirmed_bytes:
            raise Backpressure(f"{limits.unconfirmed_bytes} bytes wait for the log's confirmation")
        return self._submit(TopicPartition(topic, partition), (record,)).answer

    def fail_all(self) -> None:
        """Fail all batches in flight, because an error of any batch resets the producer."""
        for batch in tuple(self.in_flight):
            batch.abandon()

    def forget(self, batch: _Batch) -> None:
        """Remove a batch that is no longer in flight."""
        if batch in self.in_flight:
            del self.in_flight[batch]
            self._in_flight_bytes -= batch.size_bytes

    def _submit(self, name: TopicPartition, records: Sequence[NewRecord]) -> _Batch:
        largest = max(map(_size, records))
        if largest > self._broker.limits.record_bytes:
            raise ConfigurationError(f"a record of {largest} bytes is above the broker's limit")
        batch = _Batch(self, name, records)
        self.in_flight[batch] = None
        self._in_flight_bytes += batch.size_bytes
        self._broker.submit(batch)
        return batch


class MemoryReader:
    """Implements Reader."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._fetcher = Fetcher(log)

    async def start(self) -> None:
        await self._log.reached()

    async def stop(self) -> None:
        self._fetcher.assign({})

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        kept = {name: self._fetcher.position(name) for name, offset in positions.items() if offset < 0}
        self._fetcher.assign({**positions, **kept})

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        return await self._fetcher.poll(max_records, timeout_ms, self._go_to_beginnings)

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        await self._log.reached()
        return {name: self._log.partition(name).first_offset for name in partitions}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        await self._log.reached()
        return self._log.end_offsets(partitions)

    def position(self, partition: TopicPartition) -> int:
        return self._fetcher.position(partition)

    def _go_to_beginnings(self) -> None:
        for name in self._fetcher.out_of_range():
            self._fetcher.seek(name, self._log.partition(name).first_offset)


class MemoryAdmin:
    """Implements Admin."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        await self._broker.log.reached()

    async def stop(self) -> None:
        """There is no connection to close."""

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        await self._broker.log.reached()
        return [topic.name for topic in topics if self._broker.log.create(topic)]

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
        await self._broker.log.reached()
        counts = {name: self._broker.log.count(name) for name in names}
        return {name: count for name, count in counts.items() if count}

    async def write_first_offsets(
        self, group: Group, sizes: Mapping[str, int], metadata: str
    ) -> Sequence[TopicPartition]:
        state = self._broker.group(group)
        wanted = [TopicPartition(topic, number) for topic in group.topics for number in range(sizes[topic])]
        there = await state.read(wanted)
        missing = [name for name in wanted if name not in there]
        state.commits.update({name: Committed(0, metadata) for name in missing})
        return missing

    async def committed(
        self, group: Group, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        return await self._broker.group(group).read(partitions)


def _size(record: NewRecord) -> int:
    return len(record.key or b"") + len(record.value or b"")


def _look_at(answer: asyncio.Future[int]) -> None:
    if not answer.cancelled():
        answer.exception()  # a caller need not await a `send`, so asyncio must not report its error as unretrieved
