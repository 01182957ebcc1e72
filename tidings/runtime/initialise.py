"""What `tidings init` does to the log: topics, and the groups' first offsets. Over the port; may be repeated."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from tidings.broker.base import Admin, Broker, NewRecord, TopicPartition
from tidings.errors import BrokerUnavailable, ConfigurationError
from tidings.runtime.marks import Marks, fits_metadata
from tidings.runtime.start import started
from tidings.topics import GROUPS, PUSH, Topic, TopicSizes, declared
from tidings.wire.push_pb2 import Push

# A record that was confirmed is there to be read; a reader's first answer takes a second on a busy machine.
_READ_BACK_S = 10.0
# No gateway has this epoch: each drops the record unread.
_NO_GATEWAY = -1


@dataclass(frozen=True, slots=True)
class Initialised:
    """What was missing and is there now."""

    topics_created: tuple[str, ...]
    offsets_written: Mapping[str, int]

    def lines(self) -> list[str]:
        """For people."""
        names = ", ".join(self.topics_created)
        written = sum(self.offsets_written.values())
        return [
            f"topics: {len(self.topics_created)} created ({names})" if names else "topics: all there",
            f"first offsets: {written} written" if written else "first offsets: all there",
        ]


async def initialise(admin: Admin, sizes: TopicSizes, replication: int) -> Initialised:
    """Create missing topics, then write the first offsets, with empty marks, where a group has none (law 4).

    Raises ConfigurationError, before anything is changed, when a topic has another number of partitions or
    the marks of so many would not fit into a commit; BrokerUnavailable when it can be tried again.
    """
    if not fits_metadata(sizes.session_partitions):
        raise ConfigurationError(
            f"{sizes.session_partitions} session partitions are too many: their marks do not fit into a commit's"
            " metadata; lower TIDINGS_KAFKA_SESSION_PARTITIONS"
        )
    topics = declared(sizes)
    await _refuse_other_counts(admin, topics)
    created = await admin.create_topics(topics, replication)
    await _refuse_other_counts(admin, topics)  # somebody may have created them while we did
    counts = {topic.name: topic.partitions for topic in topics}
    empty = Marks().encoded()
    written = {group.name: len(await admin.write_first_offsets(group, counts, empty)) for group in GROUPS}
    return Initialised(tuple(created), written)


async def log_time_ms(broker: Broker) -> int:
    """The time now by the clock that stamps messages, which is the broker's: that of a record made for it.

    Raises BrokerUnavailable when it can be tried again.
    """
    producer, reader = broker.producer("init"), broker.reader("init")
    async with started(producer, reader):
        record = NewRecord(Push(gateway_epoch=_NO_GATEWAY).SerializeToString())
        offset = await producer.produce(PUSH, 0, [record])
        reader.assign({TopicPartition(PUSH, 0): offset})
        try:
            async with asyncio.timeout(_READ_BACK_S):
                while not (records := await reader.poll(1, 1_000)):
                    pass
        except TimeoutError:
            raise BrokerUnavailable(f"a record on {PUSH} cannot be read back") from None
        return records[0].at_ms


async def _refuse_other_counts(admin: Admin, topics: tuple[Topic, ...]) -> None:
    there = await admin.partition_counts([topic.name for topic in topics])
    wrong = [
        f"{topic.name} has {there[topic.name]} partitions, configured are {topic.partitions}"
        for topic in topics
        if there.get(topic.name, topic.partitions) != topic.partitions
    ]
    if wrong:
        raise ConfigurationError(
            "; ".join(wrong) + ". The count of a topic is chosen once: set TIDINGS_KAFKA_SESSION_PARTITIONS,"
            " _USER_PARTITIONS and _PUSH_PARTITIONS back to what the broker has; to change it, drain the topics,"
            " delete them, raise TIDINGS_KAFKA_EPOCH by one everywhere, and run `tidings init` again"
        )
