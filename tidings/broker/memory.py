"""The log in memory: the same promises as Kafka's adapter.

Unit tests, simulations and the embedded mode use it. Its records end with the
process. All parts of one MemoryBroker run on one event loop and wait by events only.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.broker.memory_group import MemoryGroup, MemoryGroupConsumer
from tidings.broker.memory_log import MemoryLog, Partition
from tidings.clock import Clock, SystemClock
from tidings.errors import BrokerUnavailable, ConfigurationError
from tidings.topics import Group, Topic

KEEP_RECORDS = 50_000  # per partition, because there is no retention by time
MAX_RECORD_BYTES = 1024 * 1024


class MemoryBroker:
    """Makes the parts. Tests look at the records and at the groups' commits."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.log = MemoryLog(clock or SystemClock(), KEEP_RECORDS)
        self._groups: dict[str, MemoryGroup] = {}

    def producer(self, client_id: str) -> "MemoryProducer":
        return MemoryProducer(self.log)

    def group_consumer(self, client_id: str, group: Group) -> MemoryGroupConsumer:
        return MemoryGroupConsumer(client_id, self.group(group), group.topics, self.log)

    def reader(self, client_id: str) -> "MemoryReader":
        return MemoryReader(self.log)

    def admin(self) -> "MemoryAdmin":
        return MemoryAdmin(self)

    def group(self, group: Group) -> MemoryGroup:
        """The coordinator's side of a group. Tests read its `commits`."""
        return self._groups.setdefault(group.name, MemoryGroup(group, self.log))

    def partition(self, name: TopicPartition) -> Partition:
        """One partition. Tests delete its first records."""
        return self.log.partition(name)

    def records(self, topic: str) -> list[Record]:
        """All records of a topic, by partition and offset. For assertions."""
        partitions = [self.partition(TopicPartition(topic, number)) for number in range(self.log.count(topic))]
        return [record for part in partitions for record in part.read(part.first_offset, part.end_offset)]


class MemoryProducer:
    """Implements Producer. The log confirms each record at once, so `send` needs no bound."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def start(self) -> None:
        """There is no server to connect to."""

    async def stop(self) -> None:
        """No record waits for a confirmation."""

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        return await self._submit(TopicPartition(topic, partition), records)

    def send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        return self._submit(TopicPartition(topic, partition), (record,))

    def append(self, name: TopicPartition, records: Sequence[NewRecord]) -> asyncio.Future[int]:
        """Append records. The answer is the offset of the first, or BrokerUnavailable without such a partition."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            answer.set_result(self._log.append(name, records))
        except BrokerUnavailable as error:
            answer.set_exception(error)
            answer.exception()  # a caller need not await a `send`, so asyncio must not report its error as unretrieved
        return answer

    def _submit(self, name: TopicPartition, records: Sequence[NewRecord]) -> asyncio.Future[int]:
        largest = max(map(size_bytes, records))
        if largest > MAX_RECORD_BYTES:
            raise ConfigurationError(f"a record of {largest} bytes is above the broker's limit")
        return self.append(name, records)


class MemoryReader:
    """Implements Reader."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._fetcher = log.fetcher()

    async def start(self) -> None:
        """There is no server to connect to."""

    async def stop(self) -> None:
        self._fetcher.assign({})

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        kept = {name: self._fetcher.position(name) for name, offset in positions.items() if offset < 0}
        self._fetcher.assign({**positions, **kept})

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        return await self._fetcher.poll(max_records, timeout_ms, self._go_to_beginnings)

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        return {name: self._log.partition(name).first_offset for name in partitions}

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
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
        """There is no server to connect to."""

    async def stop(self) -> None:
        """There is no connection to close."""

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        return [topic.name for topic in topics if self._broker.log.create(topic)]

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
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

    async def topic_settings(self, name: str) -> Mapping[str, str]:
        return dict(self._broker.log.settings(name))

    async def replace_topic_settings(self, name: str, settings: Mapping[str, str]) -> None:
        self._broker.log.replace_settings(name, settings)


def size_bytes(record: NewRecord) -> int:
    """What counts against the limit of a record."""
    return len(record.key or b"") + len(record.value or b"")
