"""What `tidings init` does to the log: topics, and the groups' first offsets. Over the port; may be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass

from tidings.broker.base import Admin
from tidings.errors import ConfigurationError
from tidings.policy.marks import Marks, fits_metadata
from tidings.topics import GROUPS, Topic, TopicSizes, declared


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
