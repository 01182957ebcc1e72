"""What `tidings init` does to the log, over the memory broker: what it creates, refuses and repeats."""

import pytest

from tidings.broker.base import Committed, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.clock import SystemClock
from tidings.errors import ConfigurationError
from tidings.runtime.initialise import initialise, log_time_ms
from tidings.runtime.marks import Marks
from tidings.topics import GROUPS, PERSISTER, TopicSizes, declared

SIZES = TopicSizes(4, 3, 2)


async def test_every_declared_topic_is_created_with_its_partitions() -> None:
    admin = MemoryBroker().admin()
    done = await initialise(admin, SIZES, 1)
    counts = await admin.partition_counts([topic.name for topic in declared(SIZES)])
    assert counts == {topic.name: topic.partitions for topic in declared(SIZES)}
    assert set(done.topics_created) == set(counts)


async def test_every_group_begins_at_offset_0_with_empty_marks() -> None:
    admin = MemoryBroker().admin()
    await initialise(admin, SIZES, 1)
    counts = {topic.name: topic.partitions for topic in declared(SIZES)}
    for group in GROUPS:
        wanted = [TopicPartition(topic, number) for topic in group.topics for number in range(counts[topic])]
        there = await admin.committed(group, wanted)
        assert dict(there) == dict.fromkeys(wanted, Committed(0, Marks().encoded()))


async def test_second_run_changes_nothing_and_says_so() -> None:
    broker = MemoryBroker()
    await initialise(broker.admin(), SIZES, 1)
    far = Committed(7, Marks({0: (0, 6, 0)}).encoded())
    broker.group(PERSISTER).commits[TopicPartition("messages.inbound", 0)] = far
    done = await initialise(broker.admin(), SIZES, 1)
    assert done.lines() == ["topics: all there", "first offsets: all there"]
    assert broker.group(PERSISTER).commits[TopicPartition("messages.inbound", 0)] == far


async def test_another_partition_count_is_refused_before_any_change() -> None:
    admin = MemoryBroker().admin()
    await admin.create_topics([topic for topic in declared(TopicSizes(5, 3, 2)) if topic.name == "messages.inbound"], 1)
    with pytest.raises(ConfigurationError, match=r"messages.inbound has 5 partitions, configured are 4.*raise TIDINGS"):
        await initialise(admin, SIZES, 1)
    assert set(await admin.partition_counts([topic.name for topic in declared(SIZES)])) == {"messages.inbound"}


async def test_more_partitions_than_a_commit_has_marks_for_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="TIDINGS_KAFKA_SESSION_PARTITIONS"):
        await initialise(MemoryBroker().admin(), TopicSizes(session_partitions=1024), 1)


async def test_the_time_is_that_of_the_log_which_stamps_messages() -> None:
    broker = MemoryBroker()
    await initialise(broker.admin(), SIZES, 1)
    before_ms = SystemClock().wall_ms()
    assert before_ms <= await log_time_ms(broker) <= SystemClock().wall_ms()
