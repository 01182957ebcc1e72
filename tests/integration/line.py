"""The three services behind the gateway, in this process, on the real servers, with tables of their own."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from deploy.local.embedded import Services, embedded
from deploy.local.stack import Stack
from tests.contract.broker.watching import Watch, until
from tidings import ids
from tidings.broker.base import Broker, Committed, NewRecord, Record, TopicPartition
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.media.memory import MemoryMediaStore
from tidings.runtime.health import Health
from tidings.runtime.marks import Marks
from tidings.runtime.settings import KafkaSettings
from tidings.runtime.start import started
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_cluster import connect
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import migrate
from tidings.topics import DEAD_LETTERS, GROUPS, Group, declared
from tidings.wire.dead_letters_pb2 import DeadLetter

PATIENCE_S = 120.0
Rows = dict[str, list[tuple[Any, ...]]]


class Line:
    """The log, tables in a keyspace of their own, and what an operator does to them."""

    def __init__(self, servers: Stack, tables: CassandraConfig) -> None:
        self.kafka = KafkaSettings(bootstrap=servers.bootstrap)
        self.broker: Broker = KafkaBroker(KafkaConfig.of(self.kafka))
        self.tables, self.store = tables, CassandraStore(tables)
        self.counts = {topic.name: topic.partitions for topic in declared(self.kafka.sizes())}

    @asynccontextmanager
    async def services(self) -> AsyncIterator[None]:
        """Running until the block ends, then cleanly stopped."""
        await migrate(self.tables)
        services = Services(self.broker, self.store, MemoryMediaStore(), kafka=self.kafka)
        async with started(self.store), embedded(services, Health(), asyncio.Event()):
            yield

    async def publish(self, topic: str, session_id: str, *values: bytes) -> None:
        producer = self.broker.producer("test")
        async with started(producer):
            partition = ids.partition_of(session_id, self.kafka.session_partitions)
            await producer.produce(topic, partition, [NewRecord(value) for value in values])

    async def settled(self) -> None:
        """Every group has committed up to the ends of its topics."""
        admin, reader = self.broker.admin(), self.broker.reader("test")
        async with started(admin, reader), asyncio.timeout(PATIENCE_S):
            for group in (*GROUPS, *GROUPS):  # twice: a later stage's end moves while an earlier one is waited for
                names = [TopicPartition(topic, n) for topic in group.topics for n in range(self.counts[topic])]
                while _lags(await admin.committed(group, names), await reader.end_offsets(names)):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)

    async def rewind(self) -> None:
        """Every group stands at offset 0 without marks, as `tidings init` left it."""
        for group in GROUPS:
            watch, member = Watch(), self.broker.group_consumer("rewind", group)
            await member.start(watch)
            names = frozenset(TopicPartition(topic, n) for topic in group.topics for n in range(self.counts[topic]))
            await until(lambda watch=watch, names=names: watch.held == names, member)  # type: ignore[misc]
            assert await member.commit(watch.epoch, {name: Committed(0, Marks().encoded()) for name in names})
            await member.stop()

    async def skip(self, group: Group, place: TopicPartition) -> None:
        """What an operator does about a record that cannot be read: the group continues after it."""
        admin = self.broker.admin()
        async with started(admin):
            stands = (await admin.committed(group, [place]))[place]
        watch, member = Watch(), self.broker.group_consumer("skip", group)
        await member.start(watch)
        await until(lambda: place in watch.held, member)
        assert await member.commit(watch.epoch, {place: Committed(stands.offset + 1, stands.metadata)})
        await member.stop()

    async def dump(self) -> Rows:
        """Every row of every table, with its values."""
        return await asyncio.to_thread(self._dump)

    def _dump(self) -> Rows:
        session = connect(self.tables)
        try:
            tables = session.cluster.metadata.keyspaces[self.tables.keyspace].tables
            return {
                name: sorted(map(tuple, session.execute(f"SELECT * FROM {self.tables.keyspace}.{name}")), key=repr)
                for name in tables
            }
        finally:
            session.cluster.shutdown()

    async def dead_letters(self) -> list[DeadLetter]:
        reader = self.broker.reader("test")
        names = [TopicPartition(DEAD_LETTERS, number) for number in range(self.counts[DEAD_LETTERS])]
        async with started(reader), asyncio.timeout(PATIENCE_S):
            ends = await reader.end_offsets(names)
            reader.assign(dict(await reader.beginning_offsets(names)))
            records: list[Record] = []
            while any(reader.position(name) < end for name, end in ends.items()):
                records += await reader.poll(500, 200)
        return [DeadLetter.FromString(record.value or b"") for record in records]


def _lags(committed: Mapping[TopicPartition, Committed], ends: Mapping[TopicPartition, int]) -> bool:
    return any(committed[name].offset < end for name, end in ends.items())
