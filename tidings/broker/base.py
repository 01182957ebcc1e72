"""The log as a port. Adapters: broker/kafka.py and broker/memory.py. One contract suite tests both."""

from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tidings.topics import Group, Topic


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read. `at_ms`: the broker's append time, which is log time."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to append. `at_ms` counts only while the topic's message.timestamp.type is CreateTime (`tidings seed`).

    A record without it then has the time of the producer's clock.
    """

    value: bytes | None
    key: bytes | None = None
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """A group's commit for a partition: the next offset to read, and its metadata (the marks)."""

    offset: int
    metadata: str


class Producer(Protocol):
    """Appends to the log, acks=all.

    After any error the adapter resets: it closes its connection, and opens a new
    one before it serves the next call. The reason is that the old connection's
    sequence numbers are out of step for good (FIELD-NOTES). Records in flight
    fail with the old connection, outcome unknown.
    """

    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Flush for a bounded time and close."""
        ...

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """Append in explicit batches, one after the other. Returns the offset of the first record.

        Returns when the broker has confirmed all of them. Raises
        BrokerUnavailable (outcome unknown) at an error or after the adapter's
        time-out. Raises ConfigurationError for a record that is too large for
        the log. One caller per target partition at a time.
        """
        ...

    def send(self, topic: str, partition: int, record: NewRecord) -> Awaitable[int]:
        """Queue one record without waiting. The awaitable gives its offset.

        Records of one partition keep the order of the calls. Raises
        Backpressure at once when the bound of unconfirmed records or bytes is
        reached. The awaitable raises BrokerUnavailable (outcome unknown) or
        ConfigurationError as `produce` does. The caller need not await it.
        """
        ...


class AssignmentListener(Protocol):
    """Receives the assignments of a group member. `epoch` rises with every assignment of this member."""

    async def assigned(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """These partitions are assigned to this member. `poll` may return their records before this call returns."""
        ...

    async def revoked(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """All partitions of that epoch are revoked. Other members may own them once this call returns.

        Until then commits of that epoch are accepted. `assigned` of that epoch has returned, or `stop` cancelled it.
        """
        ...


class GroupConsumer(Protocol):
    """A member of a consumer group. Rebalances are eager: all partitions are revoked and then assigned again."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join. Raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Call `revoked` and leave the group, so that other members take over at once."""
        ...

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """The records that have arrived, in order within each partition. Keeps the membership alive.

        Raises PositionOutOfRange, with the attribute `partitions`, if the log no longer holds the position
        of some partitions. Later polls leave them out until `seek`. Raises BrokerUnavailable otherwise.
        A partition without a committed offset gives no records until `seek`; `committed` raises the reason.
        An error of a listener's callback is raised here, now and at every later poll.
        """
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset` and drop prefetched records. Does nothing if the partition is not assigned."""
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Stop fetching these partitions and drop their prefetched records. A rebalance ends all pauses."""
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch these partitions again."""
        ...

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """Offset and metadata of every given partition, in one answer.

        Raises BrokerUnavailable if the coordinator is loading, answers with an
        error, or leaves a partition out. None of these means "a new group" (H18).
        """
        ...

    async def commit(self, epoch: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        """Commit for an assignment. False if it is no longer the current one, or if the broker refuses its generation.

        Raises BrokerUnavailable if the caller can try again.
        """
        ...

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last record of each."""
        ...


class Reader(Protocol):
    """Reads chosen partitions without a group."""

    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from these offsets on, and no other partitions.

        A partition that was assigned already and has the offset -1 continues at its current position.
        """
        ...

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """The records that have arrived. A partition whose offset is out of range continues at its beginning."""
        ...

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The first offset of each partition that the log still holds."""
        ...

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last record of each."""
        ...

    def position(self, partition: TopicPartition) -> int:
        """The offset of the next record that `poll` returns."""
        ...


class Admin(Protocol):
    """The operations of `tidings init` and of the checks at the start."""

    async def start(self) -> None:
        """Connect. Raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        """Create the missing topics, and return their names."""
        ...

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
        """The number of partitions of each existing topic. Missing topics are left out."""
        ...

    async def write_first_offsets(
        self, group: Group, sizes: Mapping[str, int], metadata: str
    ) -> Sequence[TopicPartition]:
        """Commit offset 0 with `metadata` for partitions without a commit, and return these partitions.

        Raises BrokerUnavailable if the group's commits cannot be read for certain.
        """
        ...

    async def committed(
        self, group: Group, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """Like GroupConsumer.committed, but partitions without a commit are left out. For operators."""
        ...

    async def topic_settings(self, name: str) -> Mapping[str, str]:
        """The settings that the topic itself has, without the broker's defaults. Raises BrokerUnavailable."""
        ...

    async def replace_topic_settings(self, name: str, settings: Mapping[str, str]) -> None:
        """Give the topic exactly these settings. All others become the broker's defaults.

        `topic_settings` shows them when this returns, but appends may follow the old ones for a moment.
        Raises ConfigurationError if the broker refuses a setting, and BrokerUnavailable.
        """
        ...


class Broker(Protocol):
    """Makes the parts above. Only composition roots hold a broker."""

    def producer(self, client_id: str) -> Producer:
        """A new producer with its own connection, so that it fails and resets alone."""
        ...

    def group_consumer(self, client_id: str, group: Group) -> GroupConsumer:
        """A new member of the group."""
        ...

    def reader(self, client_id: str) -> Reader:
        """A reader without a group."""
        ...

    def admin(self) -> Admin:
        """A new admin client."""
        ...
