"""MemoryBroker beyond the contract tests: time by a given clock, and the assignment of partitions."""

from tidings.broker.base import NewRecord, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.broker.memory_group import assign_by_range
from tidings.topics import Topic


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


async def test_log_time_is_the_clocks() -> None:
    clock = Hand()
    log = MemoryBroker(clock)
    await log.admin().create_topics([Topic("t", 1, {})], replication=1)
    producer = log.producer("p")
    await producer.produce("t", 0, [NewRecord(b"one")])
    clock.now_ms = 500
    await producer.produce("t", 0, [NewRecord(b"one")])
    assert [record.at_ms for record in log.records("t")] == [1_000, 500]


def test_range_assignment_keeps_topics_together_and_is_balanced() -> None:
    plan = assign_by_range(["b", "a", "c"], {"x": 8, "y": 8})
    assert sorted(name for names in plan.values() for name in names) == [
        TopicPartition(topic, number) for topic in ("x", "y") for number in range(8)
    ]
    for names in plan.values():
        assert {n.partition for n in names if n.topic == "x"} == {n.partition for n in names if n.topic == "y"}
        assert 2 <= sum(name.topic == "x" for name in names) <= 3
