"""The broker in memory, with faults that tests set: outcomes of each append, stalls, late batches."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from tests.faults.drawn import LogFaults, ProduceFault
from tests.faults.log import FaultyConsumer, FaultyGroup, FaultyLog
from tidings.broker.base import NewRecord, TopicPartition
from tidings.broker.memory import KEEP_RECORDS, MemoryAdmin, MemoryBroker, MemoryProducer, MemoryReader, size_bytes
from tidings.broker.memory_group import MemoryGroup
from tidings.clock import Clock, SystemClock
from tidings.errors import Backpressure, BrokerUnavailable
from tidings.topics import Group, Topic


class FaultyBroker(MemoryBroker):
    """A MemoryBroker that is controlled by faults and stalls. Its producers wait for confirmations."""

    log: FaultyLog

    def __init__(
        self,
        clock: Clock | None = None,
        faults: LogFaults | None = None,
        timeout_s: float = 5.0,
        unconfirmed_records: int = 10_000,
        unconfirmed_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        super().__init__(clock)
        self.log = FaultyLog(clock or SystemClock(), KEEP_RECORDS, timeout_s)
        self.faults = faults or LogFaults()
        self.unconfirmed_records = unconfirmed_records
        self.unconfirmed_bytes = unconfirmed_bytes
        self._late: list[_Late] = []

    def producer(self, client_id: str) -> "FaultyProducer":
        return FaultyProducer(self)

    def group_consumer(self, client_id: str, group: Group) -> FaultyConsumer:
        return FaultyConsumer(client_id, self.group(group), group.topics, self.log)

    def reader(self, client_id: str) -> "FaultyReader":
        return FaultyReader(self.log)

    def admin(self) -> "FaultyAdmin":
        return FaultyAdmin(self)

    def group(self, group: Group) -> MemoryGroup:
        return self._groups.setdefault(group.name, FaultyGroup(group, self.log, self.faults))

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
            batch.time_out_after(self.log.timeout_s)
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

    def __init__(self, producer: "FaultyProducer", name: TopicPartition, records: Sequence[NewRecord]) -> None:
        self.name = name
        self.records = tuple(records)
        self.size_bytes = sum(size_bytes(record) for record in records)
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

    def land(self, log: FaultyLog) -> None:
        """Append the batch, also if its caller no longer waits."""
        self._batch.confirm(log.append(self._batch.name, self._batch.records))


class FaultyProducer(MemoryProducer):
    """A producer whose records wait for the confirmation of the log, up to a bound."""

    _log: FaultyLog

    def __init__(self, broker: FaultyBroker) -> None:
        super().__init__(broker.log)
        self._broker = broker
        self._in_flight: dict[_Batch, None] = {}
        self._in_flight_bytes = 0

    async def start(self) -> None:
        await self._log.reached()

    async def stop(self) -> None:
        answers = [batch.answer for batch in self._in_flight]
        if answers:
            await asyncio.wait(answers, timeout=self._log.timeout_s)

    def send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        if len(self._in_flight) >= self._broker.unconfirmed_records:
            raise Backpressure(f"{self._broker.unconfirmed_records} records wait for the log's confirmation")
        if self._in_flight_bytes >= self._broker.unconfirmed_bytes:
            raise Backpressure(f"{self._broker.unconfirmed_bytes} bytes wait for the log's confirmation")
        return super().send(topic, partition, record)

    def append(self, name: TopicPartition, records: Sequence[NewRecord]) -> asyncio.Future[int]:
        batch = _Batch(self, name, records)
        self._in_flight[batch] = None
        self._in_flight_bytes += batch.size_bytes
        self._broker.submit(batch)
        return batch.answer

    def fail_all(self) -> None:
        """Fail all batches in flight, because an error of any batch resets the producer."""
        for batch in tuple(self._in_flight):
            batch.abandon()

    def forget(self, batch: _Batch) -> None:
        """Remove a batch that is no longer in flight."""
        if batch in self._in_flight:
            del self._in_flight[batch]
            self._in_flight_bytes -= batch.size_bytes


class FaultyReader(MemoryReader):
    """A reader that waits while the log is stalled."""

    _log: FaultyLog

    async def start(self) -> None:
        await self._log.reached()

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        await self._log.reached()
        return await super().beginning_offsets(partitions)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        await self._log.reached()
        return await super().end_offsets(partitions)


class FaultyAdmin(MemoryAdmin):
    """An admin client that waits while the log is stalled."""

    _broker: FaultyBroker

    async def start(self) -> None:
        await self._broker.log.reached()

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        await self._broker.log.reached()
        return await super().create_topics(topics, replication)

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
        await self._broker.log.reached()
        return await super().partition_counts(names)

    async def topic_settings(self, name: str) -> Mapping[str, str]:
        await self._broker.log.reached()
        return await super().topic_settings(name)

    async def replace_topic_settings(self, name: str, settings: Mapping[str, str]) -> None:
        await self._broker.log.reached()
        await super().replace_topic_settings(name, settings)


def _look_at(answer: asyncio.Future[int]) -> None:
    if not answer.cancelled():
        answer.exception()  # a caller need not await a `send`, so asyncio must not report its error as unretrieved
