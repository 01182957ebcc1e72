"""The log in memory: the same promises as Kafka's adapter, a clock and faults to be set by tests.

Used by unit tests, simulations and the embedded mode. Nothing is kept. All
parts of one MemoryBroker live on one event loop; waiting is by events only.
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
    """Bounds of the memory adapter. `keep_records` per partition (the embedded mode has no retention by time)."""

    keep_records: int = 50_000
    timeout_s: float = 5.0
    record_bytes: int = 1024 * 1024
    unconfirmed_records: int = 10_000
    unconfirmed_bytes: int = 32 * 1024 * 1024


class MemoryBroker:
    """Makes the parts, and holds the levers of tests: faults, stalls, retention, lost tails."""

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
        """See Broker."""
        return MemoryProducer(self)

    def group_consumer(self, client_id: str, group: Group) -> MemoryGroupConsumer:
        """See Broker."""
        return MemoryGroupConsumer(client_id, self.group(group), group.topics, self.log)

    def reader(self, client_id: str) -> "MemoryReader":
        """See Broker."""
        return MemoryReader(self.log)

    def admin(self) -> "MemoryAdmin":
        """See Broker."""
        return MemoryAdmin(self)

    def group(self, group: Group) -> MemoryGroup:
        """The coordinator's side of a group; tests look at its `commits`."""
        return self._groups.setdefault(group.name, MemoryGroup(group, self.log, self.faults))

    def partition(self, name: TopicPartition) -> Partition:
        """One partition; tests delete its head or lose its tail."""
        return self.log.partition(name)

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, by partition and offset; for assertions."""
        partitions = [self.partition(TopicPartition(topic, number)) for number in range(self.log.count(topic))]
        return [record for part in partitions for record in part.read(part.first_offset, part.end_offset)]

    def stall(self, partitions: Collection[TopicPartition] | None = None) -> None:
        """These partitions, or the whole broker, answer nothing: produces time out, and land at `heal`."""
        self.log.stall(partitions)

    def heal(self) -> None:
        """The end of `stall`. What was sent meanwhile is appended, confirmed only if its sender still waits."""
        self.log.heal()
        self.land_late()

    def land_late(self) -> None:
        """All batches that were delayed land now."""
        late, self._late = self._late, []
        for batch in late:
            batch.land(self.log)

    def submit(self, batch: "_Batch") -> None:
        """Append a batch, or do what the fault says."""
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
    """Records on their way, and who waits for them."""

    def __init__(self, producer: "MemoryProducer", name: TopicPartition, records: Sequence[NewRecord]) -> None:
        self.name = name
        self.records = tuple(records)
        self.size_bytes = sum(_size(record) for record in records)
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.answer.add_done_callback(_look_at)
        self._producer = producer
        self._timer: asyncio.TimerHandle | None = None

    def confirm(self, offset: int) -> None:
        """Tell the offset to whoever still waits."""
        self._done()
        if not self.answer.done():
            self.answer.set_result(offset)

    def fail(self) -> None:
        """An error, outcome unknown: all that the producer has in flight fails with it."""
        self._producer.fail_all()

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._done()
        if not self.answer.done():
            self.answer.set_exception(BrokerUnavailable(f"{self.name.topic}-{self.name.partition} did not confirm"))

    def time_out_after(self, seconds: float) -> None:
        """Fail then, unless confirmed before."""
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
        """Counts one produce call."""
        if self._calls is not None:
            self._calls -= 1
        return self._calls == 0

    def land(self, log: MemoryLog) -> None:
        """Append it, wanted or not."""
        self._batch.confirm(log.append(self._batch.name, self._batch.records))


class MemoryProducer:
    """See Producer."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.in_flight: dict[_Batch, None] = {}
        self._in_flight_bytes = 0
        self._broker = broker

    async def start(self) -> None:
        """See Producer."""
        await self._broker.log.reached()

    async def stop(self) -> None:
        """See Producer."""
        answers = [batch.answer for batch in self.in_flight]
        if answers:
            await asyncio.wait(answers, timeout=self._broker.limits.timeout_s)

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """See Producer."""
        return await self._submit(TopicPartition(topic, partition), records).answer

    def send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        """See Producer."""
        limits = self._broker.limits
        if len(self.in_flight) >= limits.unconfirmed_records:
            raise Backpressure(f"{limits.unconfirmed_records} records wait for the log's confirmation")
        if self._in_flight_bytes >= limits.unconfirmed_bytes:
            raise Backpressure(f"{limits.unconfirmed_bytes} bytes wait for the log's confirmation")
        return self._submit(TopicPartition(topic, partition), (record,)).answer

    def fail_all(self) -> None:
        """An error of one batch throws the connection away: what was in flight fails with it."""
        for batch in tuple(self.in_flight):
            batch.abandon()

    def forget(self, batch: _Batch) -> None:
        """It is in flight no more."""
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
    """See Reader."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._fetcher = Fetcher(log)

    async def start(self) -> None:
        """See Reader."""
        await self._log.reached()

    async def stop(self) -> None:
        """See Reader."""
        self._fetcher.assign({})

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader."""
        kept = {name: self._fetcher.position(name) for name, offset in positions.items() if offset < 0}
        self._fetcher.assign({**positions, **kept})

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """See Reader."""
        return await self._fetcher.poll(max_records, timeout_ms, self._begin_anew)

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """See Reader."""
        await self._log.reached()
        return {name: self._log.partition(name).first_offset for name in partitions}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """See Reader."""
        await self._log.reached()
        return self._log.end_offsets(partitions)

    def position(self, partition: TopicPartition) -> int:
        """See Reader."""
        return self._fetcher.position(partition)

    def _begin_anew(self) -> None:
        for name in self._fetcher.out_of_range():
            self._fetcher.seek(name, self._log.partition(name).first_offset)


class MemoryAdmin:
    """See Admin."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        """See Admin."""
        await self._broker.log.reached()

    async def stop(self) -> None:
        """See Admin."""

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        """See Admin."""
        await self._broker.log.reached()
        return [topic.name for topic in topics if self._broker.log.create(topic)]

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
        """See Admin."""
        await self._broker.log.reached()
        counts = {name: self._broker.log.count(name) for name in names}
        return {name: count for name, count in counts.items() if count}

    async def write_first_offsets(
        self, group: Group, sizes: Mapping[str, int], metadata: str
    ) -> Sequence[TopicPartition]:
        """See Admin."""
        state = self._broker.group(group)
        wanted = [TopicPartition(topic, number) for topic in group.topics for number in range(sizes[topic])]
        there = await state.read(wanted)
        missing = [name for name in wanted if name not in there]
        state.commits.update({name: Committed(0, metadata) for name in missing})
        return missing

    async def committed(
        self, group: Group, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """See Admin."""
        return await self._broker.group(group).read(partitions)


def _size(record: NewRecord) -> int:
    return len(record.key or b"") + len(record.value or b"")


def _look_at(answer: asyncio.Future[int]) -> None:
    if not answer.cancelled():
        answer.exception()  # nobody has to await a `send`: its error is not an unseen one
