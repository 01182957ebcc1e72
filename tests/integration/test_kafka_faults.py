"""The Kafka adapter while its broker hangs or is gone: it comes back by itself, and keeps no more than before."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator

import pytest

from deploy.local.stack import SERVERS_ONLY, Stack
from tests.servers import Stacks
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.errors import Backpressure, BrokerUnavailable
from tidings.topics import Group, Topic

KAFKA = "kafka-0"
OUTAGE_S = 12.0  # longer than the request time-out (5 s) and than the session time-out (8 s)
PATIENCE_S = 90.0
HEALTHY_RECORDS = 300


@pytest.fixture(scope="module")
def kafka(stacks: Stacks) -> Iterator[Stack]:
    """A broker of our own, because we harm it."""
    stack = stacks.make("kafka-faults", SERVERS_ONLY)
    stack.start(KAFKA)
    stack.wait_ready([KAFKA])
    yield stack
    stack.kill(KAFKA)


class Traffic:
    """A writer that repeats what is not confirmed, and a group member that seeks and commits as a worker does."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        broker = KafkaBroker(KafkaConfig(bootstrap))
        self.topic = topic
        self.group = Group(f"readers-of-{topic}", (topic,))
        self.admin = broker.admin()
        self.producer = broker.producer("faulty-writer")
        self.member = broker.group_consumer("faulty-reader", self.group)
        self.confirmed: list[int] = []
        self.read: list[int] = []
        self.errors = 0
        self.epoch = 0
        self._next = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def assigned(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """Seek to the commit, as often as the coordinator makes us ask."""
        while True:
            try:
                positions = await self.member.committed(partitions)
                break
            except BrokerUnavailable:
                self.errors += 1
                await asyncio.sleep(0.2)
        for name, place in positions.items():
            self.member.seek(name, place.offset)
        self.epoch = epoch

    async def revoked(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        """Nothing is kept between assignments."""

    async def start(self) -> None:
        await self.admin.start()
        await self.admin.create_topics(
            [Topic(self.topic, 2, {"message.timestamp.type": "LogAppendTime"})], replication=1
        )
        await self.admin.write_first_offsets(self.group, {self.topic: 2}, "")
        await self.producer.start()
        await self.member.start(self)
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._follow())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.member.stop()
        await self.producer.stop()
        await self.admin.stop()

    async def until_flowing(self) -> None:
        """So many more records are confirmed, and all that are confirmed are read."""
        target = len(self.confirmed) + HEALTHY_RECORDS
        async with asyncio.timeout(PATIENCE_S):
            while len(self.confirmed) < target or not set(self.confirmed) <= set(self.read):
                self._raise_failures()
                await asyncio.sleep(0.1)

    def _raise_failures(self) -> None:
        for task in self._tasks:
            if task.done():
                task.result()

    async def _write(self) -> None:
        while True:
            numbers = range(self._next, self._next + 10)
            self._next += 10
            for number in numbers:
                await self._write_one(number)

    async def _write_one(self, number: int) -> None:
        while True:
            try:
                await self.producer.send(self.topic, number % 2, NewRecord(str(number).encode()))
            except (BrokerUnavailable, Backpressure):
                self.errors += 1
            else:
                self.confirmed.append(number)
                return

    async def _follow(self) -> None:
        while True:
            try:
                records = await self.member.poll(500, timeout_ms=100)
                self.read += [int(record.value or b"") for record in records]
                ends = {TopicPartition(each.topic, each.partition): each.offset + 1 for each in records}
                await self.member.commit(self.epoch, {name: Committed(at, "marks") for name, at in ends.items()})
            except BrokerUnavailable:
                self.errors += 1
                await asyncio.sleep(0.1)


async def ticks(count: int) -> AsyncIterator[None]:
    """So many moments, a little apart."""
    for _ in range(count):
        await asyncio.sleep(0.02)
        yield


@pytest.mark.parametrize("fault", ["hangs", "is killed"])
async def test_flow_returns_by_itself_and_nothing_confirmed_is_lost(kafka: Stack, fault: str) -> None:
    traffic = Traffic(kafka.bootstrap, fault.replace(" ", "-"))
    await traffic.start()
    await traffic.until_flowing()
    tasks_before = max([len(asyncio.all_tasks()) async for _ in ticks(50)])
    if fault == "hangs":
        kafka.pause(KAFKA)
        await asyncio.sleep(OUTAGE_S)
        kafka.resume(KAFKA)
    else:
        kafka.kill(KAFKA)
        await asyncio.sleep(OUTAGE_S)
        kafka.start(KAFKA)
    await traffic.until_flowing()
    assert traffic.errors > 0
    fewest = min([len(asyncio.all_tasks()) async for _ in ticks(50)])  # requests in flight come and go
    assert fewest <= tasks_before
    await traffic.stop()


async def test_starts_without_a_broker_fail_in_bounded_time(kafka: Stack) -> None:
    kafka.kill(KAFKA)
    broker = KafkaBroker(KafkaConfig(kafka.bootstrap, request_timeout_s=1.0))
    producer, reader, admin = broker.producer("nobody"), broker.reader("nobody"), broker.admin()
    listener = Traffic(kafka.bootstrap, "nothing")
    member = broker.group_consumer("nobody", listener.group)
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            for start in (producer.start, reader.start, admin.start, lambda: member.start(listener)):
                with pytest.raises(BrokerUnavailable):
                    await start()
        with pytest.raises(BrokerUnavailable):
            await producer.send("nothing", 0, NewRecord(b"lost"))
        for part in (producer, reader, admin, member):
            await part.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
