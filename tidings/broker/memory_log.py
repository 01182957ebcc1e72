"""The memory adapter's log: partitions with offsets and broker time, and the fetcher that reads them."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice

from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.clock import Clock
from tidings.errors import BrokerUnavailable
from tidings.topics import Topic


class Partition:
    """Records in order. Offsets rise by one per append; retention and compaction leave gaps, as on a broker."""

    def __init__(self, name: TopicPartition, keep_records: int, is_compacted: bool) -> None:
        self.name = name
        self.first_offset = 0
        self.end_offset = 0
        self.watchers: dict[Callable[[], None], None] = {}  # in the order of coming, so that a seed is one run
        self.keeps_given_times = False  # message.timestamp.type=CreateTime
        self._keep_records = keep_records
        self._is_compacted = is_compacted
        self._records: list[Record] = []

    def append(self, records: Sequence[NewRecord], at_ms: int) -> int:
        """Append records and call the watchers. Returns the offset of the first record."""
        first = self.end_offset
        for offset, record in enumerate(records, start=first):
            given_ms = record.at_ms if self.keeps_given_times else None
            time_ms = at_ms if given_ms is None else given_ms
            self._records.append(Record(*self.name, offset, time_ms, record.key, record.value))
        self.end_offset += len(records)
        if len(self._records) > 2 * self._keep_records:  # twice, so that trimming costs O(1) per record
            self._trim()
        for wake in tuple(self.watchers):
            wake()
        return first

    def read(self, offset: int, max_records: int) -> list[Record]:
        """Up to `max_records` records at or above the offset."""
        if offset >= self.end_offset:
            return []
        start = bisect_left(self._records, offset, key=lambda record: record.offset)
        return list(islice(self._records, start, start + max_records))

    def holds(self, offset: int) -> bool:
        """Whether a fetch at this offset is in range."""
        return self.first_offset <= offset <= self.end_offset

    def delete_before(self, offset: int) -> None:
        """Let the log begin at `offset`, as retention does."""
        self._records = self.read(offset, len(self._records))
        self.first_offset = max(self.first_offset, min(offset, self.end_offset))

    def _trim(self) -> None:
        if not self._is_compacted:
            return self.delete_before(self._records[-self._keep_records].offset)
        newest = {record.key: record for record in self._records}
        self._records = sorted(newest.values(), key=lambda record: record.offset)
        return None


class MemoryLog:
    """All topics."""

    def __init__(self, clock: Clock, keep_records: int) -> None:
        self._clock = clock
        self._keep_records = keep_records
        self._topics: dict[str, list[Partition]] = {}
        self._settings: dict[str, Mapping[str, str]] = {}

    def create(self, topic: Topic) -> bool:
        """Create a topic. False if it exists already."""
        if topic.name in self._topics:
            return False
        is_compacted = "compact" in topic.settings.get("cleanup.policy", "")
        self._topics[topic.name] = [
            Partition(TopicPartition(topic.name, number), self._keep_records, is_compacted)
            for number in range(topic.partitions)
        ]
        self.replace_settings(topic.name, topic.settings)
        return True

    def settings(self, topic: str) -> Mapping[str, str]:
        """The settings of a topic. Raises BrokerUnavailable if it does not exist."""
        if topic not in self._settings:
            raise BrokerUnavailable(f"the log has no topic {topic}; `tidings init` creates it")
        return self._settings[topic]

    def replace_settings(self, topic: str, settings: Mapping[str, str]) -> None:
        """Replace the settings of a topic. Only message.timestamp.type has an effect: without it, time is the clock's.

        Raises BrokerUnavailable if the topic does not exist.
        """
        if topic not in self._topics:
            raise BrokerUnavailable(f"the log has no topic {topic}; `tidings init` creates it")
        self._settings[topic] = dict(settings)
        for partition in self._topics[topic]:
            partition.keeps_given_times = settings.get("message.timestamp.type") == "CreateTime"

    def count(self, topic: str) -> int:
        """The number of partitions of the topic; 0 if it does not exist."""
        return len(self._topics.get(topic, ()))

    def has(self, name: TopicPartition) -> bool:
        """Whether the partition exists."""
        return 0 <= name.partition < self.count(name.topic)

    def partition(self, name: TopicPartition) -> Partition:
        """The partition. Raises BrokerUnavailable if it does not exist, as a client without metadata does."""
        if not self.has(name):
            raise BrokerUnavailable(
                f"the log has no partition {name.topic}-{name.partition}; `tidings init` creates it"
            )
        return self._topics[name.topic][name.partition]

    def append(self, name: TopicPartition, records: Sequence[NewRecord]) -> int:
        """Append records with the broker's time. Returns the offset of the first record."""
        return self.partition(name).append(records, self._clock.wall_ms())

    def end_offsets(self, names: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record of each."""
        return {name: self.partition(name).end_offset for name in names}

    def fetcher(self) -> "Fetcher":
        """A new reader of this log, without partitions."""
        return Fetcher(self)


class Fetcher:
    """Reads a set of partitions in fair turns. Appends resume a waiting `poll`."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._reported: set[TopicPartition] = set()
        self._turn = 0
        self._news = asyncio.Event()
        self.wake = self._news.set

    def assign(self, positions: Mapping[TopicPartition, int | None]) -> None:
        """Read these partitions and no others. None: no records until a `seek`. Ends all pauses."""
        for name in self._positions:
            self._log.partition(name).watchers.pop(self.wake, None)
        self._positions = dict(sorted(positions.items()))
        self._paused.clear()
        self._reported.clear()
        for name in self._positions:
            self._log.partition(name).watchers[self.wake] = None
        self.wake()

    def seek(self, name: TopicPartition, offset: int) -> None:
        """Read on from `offset`. Does nothing if the partition is not assigned (any more)."""
        if name in self._positions:
            self._positions[name] = offset
            self._reported.discard(name)
            self.wake()

    def position(self, name: TopicPartition) -> int:
        """The offset of the next record; -1 if the partition has no position."""
        position = self._positions.get(name)
        return -1 if position is None else position

    def pause(self, names: Collection[TopicPartition]) -> None:
        """Stop reading these partitions."""
        self._paused.update(names)

    def resume(self, names: Collection[TopicPartition]) -> None:
        """Read these partitions again."""
        self._paused.difference_update(names)
        self.wake()

    def readable(self) -> list[tuple[TopicPartition, int | None]]:
        """The partitions that are not paused, with their positions."""
        return [(name, position) for name, position in self._positions.items() if name not in self._paused]

    def out_of_range(self) -> list[TopicPartition]:
        """The partitions whose position the log does not hold. Each is reported once until its next `seek`."""
        found = [
            name
            for name, position in self.readable()
            if position is not None and name not in self._reported and not self._log.partition(name).holds(position)
        ]
        self._reported.update(found)
        return found

    def take(self, max_records: int) -> list[Record]:
        """The records at hand, in order within each partition. Each call begins with another partition."""
        readable = self.readable()
        self._turn += 1
        start = self._turn % len(readable) if readable else 0
        taken: list[Record] = []
        for name, position in readable[start:] + readable[:start]:
            if position is None or not self._log.partition(name).holds(position):
                continue
            records = self._log.partition(name).read(position, max_records - len(taken))
            if records:
                self._positions[name] = records[-1].offset + 1
                taken += records
        return taken

    async def poll(self, max_records: int, timeout_ms: int, check: Callable[[], None]) -> list[Record]:
        """The records at hand, or the first that arrive within the time. Each pass calls `check`, which may raise."""
        await asyncio.sleep(0)  # a caller that always finds records must let other tasks run
        deadline = asyncio.get_running_loop().time() + timeout_ms / 1000
        while True:
            self._news.clear()
            check()
            records = self.take(max_records)
            if records or timeout_ms <= 0:
                return records
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                return []
