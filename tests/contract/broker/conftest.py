"""One stage per test, on the memory adapters and on a real Kafka: fresh topics, a fresh group, everything stopped."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from deploy.local.stack import Stack
from tests.faults.broker import FaultyBroker
from tidings.broker.base import AssignmentListener, Broker, GroupConsumer, Producer, Reader, TopicPartition
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.broker.memory import MemoryBroker
from tidings.topics import Group, Topic

MARKS = "marks:0"
ALL = 10  # partitions of a stage


class Stoppable(Protocol):
    """Any part of a broker."""

    async def stop(self) -> None: ...


@dataclass
class Stage:
    """Two topics of five partitions (odd: else every assignor co-partitions), a group on both, and what was started."""

    broker: Broker
    delete_before: Callable[[TopicPartition, int], Awaitable[None]]
    left: str = field(default_factory=lambda: f"left-{uuid.uuid4().hex}")
    right: str = field(default_factory=lambda: f"right-{uuid.uuid4().hex}")
    started: list[Stoppable] = field(default_factory=list)

    @property
    def group(self) -> Group:
        """Reads both topics."""
        return Group(f"group-of-{self.left}", (self.left, self.right))

    @property
    def sizes(self) -> dict[str, int]:
        """Partitions of each topic."""
        return {self.left: 5, self.right: 5}

    def at(self, partition: int) -> TopicPartition:
        """A partition of the left topic."""
        return TopicPartition(self.left, partition)

    async def prepare(self) -> None:
        """What `tidings init` does."""
        admin = self.broker.admin()
        await admin.start()
        self.started.append(admin)
        topics = [Topic(name, size, {"message.timestamp.type": "LogAppendTime"}) for name, size in self.sizes.items()]
        assert set(await admin.create_topics(topics, replication=1)) == set(self.sizes)
        await admin.write_first_offsets(self.group, self.sizes, MARKS)

    async def producer(self) -> Producer:
        """Started, and stopped by the fixture."""
        producer = self.broker.producer("contract-producer")
        await producer.start()
        self.started.append(producer)
        return producer

    async def reader(self) -> Reader:
        """Started, and stopped by the fixture."""
        reader = self.broker.reader("contract-reader")
        await reader.start()
        self.started.append(reader)
        return reader

    async def member(self, listener: AssignmentListener, client_id: str = "contract-member") -> GroupConsumer:
        """Joined, and stopped by the fixture."""
        member = self.broker.group_consumer(client_id, self.group)
        self.started.append(member)
        await member.start(listener)
        return member

    async def stop(self) -> None:
        """Everything, newest first."""
        while self.started:
            await self.started.pop().stop()


def on_memory(broker: MemoryBroker) -> Stage:
    """The memory adapter, or the one with faults, of which none is set."""

    async def delete_before(partition: TopicPartition, offset: int) -> None:
        broker.partition(partition).delete_before(offset)

    return Stage(broker, delete_before)


def on_kafka(servers: Stack) -> Stage:
    """The Kafka adapter, on the broker that all tests share."""

    async def delete_before(partition: TopicPartition, offset: int) -> None:
        client = AIOKafkaAdminClient(bootstrap_servers=servers.bootstrap)
        await client.start()
        await client.delete_records({KafkaTopicPartition(*partition): RecordsToDelete(before_offset=offset)})
        await client.close()

    return Stage(KafkaBroker(KafkaConfig(servers.bootstrap)), delete_before)


@pytest.fixture(params=["memory", "faulty", "kafka"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """A prepared stage on each adapter in turn."""
    if request.param == "kafka":
        stage = on_kafka(request.getfixturevalue("servers"))
    else:
        stage = on_memory(MemoryBroker() if request.param == "memory" else FaultyBroker())
    await stage.prepare()
    yield stage
    await stage.stop()
