"""The memory adapter's log: partitions with offsets and broker time, and what reads along them."""

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
        self.watchers: set[Callable[[], None]] = set()
        self._keep_records = keep_records
        self._is_compacted = is_compacted
        self._records: list[Record] = []

    def append(self, records: Sequence[NewRecord], at_ms: int) -> int:
        """The offset of the first; wakes whoever watches."""
        first = self.end_offset
        for offset, record in enumerate(records, start=first):
            self._records.append(Record(*self.name, offset, at_ms, record.key, record.value))
        self.end_offset += len(records)
        if len(self._records) > 2 * self._keep_records:  # twice: so that trimming costs O(1) a record
            self._trim()
        for wake in tuple(self.watchers):
            wake()
        return first

    def read(self, offset: int, max_records: int) -> list[Record]:
        """Up to so many records at or above the offset."""
        if offset >= self.end_offset:
            return []
        start = bisect_left(self._records, offset, key=lambda record: record.offset)
        return list(islice(self._records, start, start + max_records))

    def holds(self, offset: int) -> bool:
        """True where a fetch at this offset is not out of range."""
        return self.first_offset <= offset <= self.end_offset

    def delete_before(self, offset: int) -> None:
        """What retention does: the log begins at `offset`."""
        self._records = self.read(offset, len(self._records))
        self.first_offset = max(self.first_offset, min(offset, self.end_offset))

    def lose_from(self, offset: int) -> None:
        """What an unclean election does: the log's tail from `offset` on is gone, and offsets are given again."""
        self._records = [record for record in self._records if record.offset < offset]
        self.end_offset = max(self.first_offset, min(offset, self.end_offset))

    def _trim(self) -> None:
        if not self._is_compacted:
            return self.delete_before(self._records[-self._keep_records].offset)
        newest = {record.key: record for record in self._records}
        self._records = sorted(newest.values(), key=lambda record: record.offset)
        return None


class MemoryLog:
    """All topics, and whether they can be reached."""

    def __init__(self, clock: Clock, keep_records: int, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._keep_records = keep_records
        self._topics: dict[str, list[Partition]] = {}
        self._stalled: set[TopicPartition] = set()
        self._answers = asyncio.Event()
        self._answers.set()

    def create(self, topic: Topic) -> bool:
        """False when it is there already."""
        if topic.name in self._topics:
            return False
        is_compacted = "compact" in topic.settings.get("cleanup.policy", "")
        self._topics[topic.name] = [
            Partition(TopicPartition(topic.name, number), self._keep_records, is_compacted)
            for number in range(topic.partitions)
        ]
        return True

    def count(self, topic: str) -> int:
        """Partitions of the topic; 0 when there is no such topic."""
        return len(self._topics.get(topic, ()))

    def has(self, name: TopicPartition) -> bool:
        """True when it was created."""
        return 0 <= name.partition < self.count(name.topic)

    def partition(self, name: TopicPartition) -> Partition:
        """Raises BrokerUnavailable for one that does not exist, as a client without metadata does."""
        if not self.has(name):
            raise BrokerUnavailable(
                f"the log has no partition {name.topic}-{name.partition}; `tidings init` creates it"
            )
        return self._topics[name.topic][name.partition]

    def append(self, name: TopicPartition, records: Sequence[NewRecord]) -> int:
        """The offset of the first record; all carry the broker's time."""
        return self.partition(name).append(records, self._clock.wall_ms())

    def end_offsets(self, names: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record of each."""
        return {name: self.partition(name).end_offset for name in names}

    def is_stalled(self, name: TopicPartition) -> bool:
        """True when neither produce nor fetch gets an answer there."""
        return name in self._stalled or not self._answers.is_set()

    def stall(self, names: Collection[TopicPartition] | None) -> None:
        """These partitions, or (None) the whole broker, answer nothing until `heal`."""
        if names is None:
            self._answers.clear()
        else:
            self._stalled.update(names)

    def heal(self) -> None:
        """Everything answers again."""
        self._stalled.clear()
        self._answers.set()
        for partitions in self._topics.values():
            for partition in partitions:
                for wake in tuple(partition.watchers):
                    wake()

    async def reached(self) -> None:
        """Returns once the broker answers; raises BrokerUnavailable after the time-out."""
        if self._answers.is_set():
            return
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._answers.wait()
        except TimeoutError:
            raise BrokerUnavailable("the memory broker is stalled") from None


class Fetcher:
    """Reads along a set of partitions, fair between them. Woken by appends; it never polls."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._told: set[TopicPartition] = set()
        self._turn = 0
        self._news = asyncio.Event()
        self.wake = self._news.set

    def assign(self, positions: Mapping[TopicPartition, int | None]) -> None:
        """Read these instead; None: nothing until a `seek`. Ends all pauses."""
        for name in self._positions:
            self._log.partition(name).watchers.discard(self.wake)
        self._positions = dict(sorted(positions.items()))
        self._paused.clear()
        self._told.clear()
        for name in self._positions:
            self._log.partition(name).watchers.add(self.wake)
        self.wake()

    def seek(self, name: TopicPartition, offset: int) -> None:
        """Nothing happens for a partition that is not assigned: a rebalance was faster."""
        if name in self._positions:
            self._positions[name] = offset
            self._told.discard(name)
            self.wake()

    def position(self, name: TopicPartition) -> int:
        """The offset of the next record; -1 where there is none."""
        position = self._positions.get(name)
        return -1 if position is None else position

    def pause(self, names: Collection[TopicPartition]) -> None:
        """Leave these out."""
        self._paused.update(names)

    def resume(self, names: Collection[TopicPartition]) -> None:
        """Take these in again."""
        self._paused.difference_update(names)
        self.wake()

    def out_of_range(self) -> list[TopicPartition]:
        """Those whose position the log does not hold, each told once until the next `seek`."""
        found = [
            name
            for name, position in self._readable()
            if position is not None and name not in self._told and not self._log.partition(name).holds(position)
        ]
        self._told.update(found)
        return found

    def take(self, max_records: int) -> list[Record]:
        """What is there, in order within each partition; another partition comes first each time."""
        readable = self._readable()
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
        """What is there, or else what comes first within the time. `check` is asked at each look, and may raise."""
        await asyncio.sleep(0)  # a caller that always finds something must not keep the loop to itself
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

    def _readable(self) -> list[tuple[TopicPartition, int | None]]:
        return [
            (name, position)
            for name, position in self._positions.items()
            if name not in self._paused and not self._log.is_stalled(name)
        ]
