"""The part of `tidings init` for Kafka: topics, and the groups' first offsets. It may be repeated."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from tidings.broker.base import Admin, Broker, NewRecord, TopicPartition
from tidings.errors import BrokerUnavailable, ConfigurationError
from tidings.runtime.marks import Marks, fits_metadata
from tidings.runtime.start import started
from tidings.topics import GROUPS, MESSAGES_INBOUND, PUSH, TIME_SETTING, Topic, TopicSizes, declared
from tidings.wire.push_pb2 import Push

# A confirmed record can be read at once, but the first answer to a reader takes a second on a busy machine.
_READ_BACK_S = 10.0
# No gateway has this epoch, so every gateway drops the record.
_NO_GATEWAY = -1


@dataclass(frozen=True, slots=True)
class Initialised:
    """The topics and first offsets that this run has created.

    `log_time_restored`: `messages.inbound` had kept the times of a `tidings seed` that was killed.
    """

    topics_created: tuple[str, ...]
    offsets_written: Mapping[str, int]
    log_time_restored: bool = False

    def lines(self) -> list[str]:
        """The result as lines for a terminal."""
        names = ", ".join(self.topics_created)
        written = sum(self.offsets_written.values())
        seeded = [
            f"{MESSAGES_INBOUND}: the times are the broker's again; run `tidings seed --restore` for its retention"
        ]
        return [
            f"topics: {len(self.topics_created)} created ({names})" if names else "topics: all there",
            f"first offsets: {written} written" if written else "first offsets: all there",
            *(seeded if self.log_time_restored else ()),
        ]


async def initialise(admin: Admin, sizes: TopicSizes, replication: int) -> Initialised:
    """Create missing topics, then write first offsets with empty marks where a group has none.

    Law 4 (every stage drops what it has seen) needs marks from the first commit on. Raises ConfigurationError before
    any change if a topic has another number of partitions, or if the marks do not fit into a commit.
    Raises BrokerUnavailable if the caller can try again.
    """
    if not fits_metadata(sizes.session_partitions):
        raise ConfigurationError(
            f"{sizes.session_partitions} session partitions are too many: their marks do not fit into a commit's"
            " metadata; lower TIDINGS_KAFKA_SESSION_PARTITIONS"
        )
    topics = declared(sizes)
    await _refuse_other_counts(admin, topics)
    created = await admin.create_topics(topics, replication)
    await _refuse_other_counts(admin, topics)  # another process may have created them at the same time
    counts = {topic.name: topic.partitions for topic in topics}
    empty = Marks().encoded()
    written = {group.name: len(await admin.write_first_offsets(group, counts, empty)) for group in GROUPS}
    inbound = next(topic for topic in topics if topic.name == MESSAGES_INBOUND)
    return Initialised(tuple(created), written, await use_log_time(admin, inbound))


async def use_log_time(admin: Admin, topic: Topic) -> bool:
    """Let the topic have the broker's times, as declared: law 1 (the log decides). Returns whether it had others.

    All other settings stay as they are. Raises BrokerUnavailable.
    """
    settings = await admin.topic_settings(topic.name)
    if settings.get(TIME_SETTING) == topic.settings[TIME_SETTING]:
        return False
    await admin.replace_topic_settings(topic.name, {**settings, TIME_SETTING: topic.settings[TIME_SETTING]})
    return True


async def log_time_ms(broker: Broker) -> int:
    """The current log time, which is the broker's: the timestamp of a record that is appended for it.

    Raises BrokerUnavailable if the caller can try again.
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
            "; ".join(wrong) + ". The count of a topic is chosen once. Set TIDINGS_KAFKA_SESSION_PARTITIONS,"
            " _USER_PARTITIONS and _PUSH_PARTITIONS back to what the broker has. To change it, drain the topics,"
            " delete them, raise TIDINGS_KAFKA_EPOCH by one everywhere, and run `tidings init` again"
        )
