"""The log, as a port. Adapters: broker/kafka.py and broker/memory.py; one contract suite for both."""

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
    """A record as read. `at_ms` is the broker's append time: log time."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to append."""

    value: bytes | None
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed for a partition: the next offset to read, and its metadata (the marks)."""

    offset: int
    metadata: str


class Producer(Protocol):
    """Appends to the log, acks=all.

    After any error the adapter has thrown its connection away and built a new
    one before the next call is served (FIELD-NOTES: its sequence numbers are
    out of step for good); what was in flight fails with it, outcome unknown.
    """

    async def start(self) -> None:
        """Connect; raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Flush for a bounded time and close."""
        ...

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """Append in explicit batches, one after the other; the offset of the first record.

        Returns when the broker has confirmed all of them. Raises
        BrokerUnavailable (outcome unknown) after `timeout` seconds of the
        adapter or at an error. One caller per target partition at a time.
        Raises ConfigurationError for a record that the log never takes (size).
        """
        ...

    def send(self, topic: str, partition: int, record: NewRecord) -> Awaitable[int]:
        """Hand one record over without waiting; awaiting the answer gives its offset.

        Records of one partition keep the order of the calls. Raises
        Backpressure at once when the bound of unconfirmed records or bytes is
        reached; the awaitable raises BrokerUnavailable (outcome unknown) or
        ConfigurationError as `produce` does, and need not be awaited.
        """
        ...


class AssignmentListener(Protocol):
    """Is told of assignments. `epoch` rises with every assignment of this member."""

    async def assigned(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """These partitions are ours now. Records may be handed out before this returns: gate them."""
        ...

    async def revoked(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """All partitions of that epoch are taken back; others may own them once this returns.

        Commits of that epoch are taken until then. `assigned` of that epoch is over, or was cancelled by `stop`.
        """
        ...


class GroupConsumer(Protocol):
    """A member of a consumer group. Rebalances are eager: all is revoked, then assigned anew."""

    async def start(self, listener: AssignmentListener) -> None:
        """Join; raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Leave the group, so that others take over at once. `revoked` is called before."""
        ...

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """What has arrived, in order within each partition. Keeps the membership alive.

        Raises PositionOutOfRange with the attribute `partitions` for those whose position the log
        no longer holds (they are left out of later polls until `seek`), BrokerUnavailable otherwise.
        A partition whose group has no committed offset gives nothing until `seek`: `committed` tells why.
        What a listener's callback raised is raised here, now and at every later poll.
        """
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from there; what was fetched before is forgotten. Nothing happens where it is not assigned."""
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch no more of these; throws away what was fetched ahead. Lost at a rebalance."""
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch these again."""
        ...

    async def committed(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """Offset and metadata in one answer, for every partition asked for.

        Raises BrokerUnavailable when the coordinator is loading, answers with
        an error, or leaves one out: that is never "a new group" (H18).
        """
        ...

    async def commit(self, epoch: int, positions: Mapping[TopicPartition, Committed]) -> bool:
        """Commit for an assignment; False when it is no longer the current one (nothing was sent).

        Raises BrokerUnavailable when it can be tried again.
        """
        ...

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last record of each."""
        ...


class Reader(Protocol):
    """Reads chosen partitions without a group."""

    async def start(self) -> None:
        """Connect; raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read these from these offsets on, instead of whatever was read before.

        Partitions that were assigned already and ask for the offset -1 go on where they are.
        """
        ...

    async def poll(self, max_records: int, timeout_ms: int) -> Sequence[Record]:
        """What has arrived; an offset out of range goes on at the log's beginning."""
        ...

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The first offset that the log still holds of each."""
        ...

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """The offset after the last record of each."""
        ...

    def position(self, partition: TopicPartition) -> int:
        """The offset of the next record that poll would give."""
        ...


class Admin(Protocol):
    """What `tidings init` and the start checks need."""

    async def start(self) -> None:
        """Connect; raises BrokerUnavailable."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    async def create_topics(self, topics: Sequence[Topic], replication: int) -> Sequence[str]:
        """Create those that are missing; the names of those created."""
        ...

    async def partition_counts(self, names: Collection[str]) -> Mapping[str, int]:
        """Partitions of each existing topic; missing ones are left out."""
        ...

    async def write_first_offsets(
        self, group: Group, sizes: Mapping[str, int], metadata: str
    ) -> Sequence[TopicPartition]:
        """Commit offset 0 with `metadata` where the group has no commit; those written.

        Raises BrokerUnavailable when the group cannot be read for certain.
        """
        ...

    async def committed(
        self, group: Group, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """As in GroupConsumer, for operators; partitions without a commit are left out."""
        ...


class Broker(Protocol):
    """Makes the parts above. Only composition roots hold one."""

    def producer(self, client_id: str) -> Producer:
        """A producer of its own: it fails and is rebuilt alone."""
        ...

    def group_consumer(self, client_id: str, group: Group) -> GroupConsumer:
        """A new member of the group."""
        ...

    def reader(self, client_id: str) -> Reader:
        """A reader without a group."""
        ...

    def admin(self) -> Admin:
        """Administration."""
        ...
