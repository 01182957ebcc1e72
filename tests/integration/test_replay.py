"""The log read again from its beginning, into the same tables, on the real servers: nothing changes."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from deploy.local.stack import Stack
from services.fanout import service as fanout
from services.fanout.settings import FanoutSettings
from services.persister import service as persister
from services.persister.settings import PersisterSettings
from services.receipts import service as receipts
from services.receipts.settings import ReceiptsSettings
from tests.contract.broker.watching import Watch, until
from tests.unit.persister.builders import command, uuid7
from tidings import ids
from tidings.broker.base import Broker, Committed, NewRecord, Record, TopicPartition
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.cli.initialise import initialise
from tidings.clock import SystemClock
from tidings.policy.marks import Marks
from tidings.runtime.health import Health
from tidings.runtime.settings import KafkaSettings
from tidings.runtime.start import started
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_cluster import connect
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import migrate
from tidings.topics import DEAD_LETTERS, GROUPS, MESSAGES_INBOUND, RECEIPTS_INBOUND, declared
from tidings.wire.dead_letters_pb2 import DeadLetter
from tidings.wire.receipts_pb2 import Receipt

PATIENCE_S = 120.0
POISON = b"\xff\xff poison"
Rows = dict[str, list[tuple[Any, ...]]]


class Deployment:
    """The log, tables in a keyspace of their own, and the three services behind the gateway, in this process."""

    def __init__(self, servers: Stack) -> None:
        self.kafka = KafkaSettings(bootstrap=servers.bootstrap)
        self.broker: Broker = KafkaBroker(KafkaConfig.of(self.kafka))
        self.tables = CassandraConfig(port=servers.ports.cassandra, keyspace=f"replay_{uuid.uuid4().hex[:8]}")
        self.store = CassandraStore(self.tables)
        self.counts = {topic.name: topic.partitions for topic in declared(self.kafka.sizes())}

    async def prepare(self) -> None:
        await migrate(self.tables)
        admin = self.broker.admin()
        async with started(admin):
            await initialise(admin, self.kafka.sizes(), 1)

    @asynccontextmanager
    async def services(self) -> AsyncIterator[None]:
        """Running until the block ends, then cleanly stopped."""
        stopping, health = asyncio.Event(), Health()
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [
            lambda: persister.serve(PersisterSettings(kafka=self.kafka), self.broker, self.store, health, stopping),
            lambda: fanout.serve(FanoutSettings(kafka=self.kafka), self.broker, self.store, health, stopping),
            lambda: receipts.serve(ReceiptsSettings(kafka=self.kafka), self.broker, self.store, health, stopping),
        ]
        async with started(self.store), asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work())
            yield
            stopping.set()

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


async def test_a_replay_from_offset_0_into_the_same_tables_changes_nothing_and_poison_costs_no_seq(
    servers: Stack,
) -> None:
    line = Deployment(servers)
    await line.prepare()
    name = uuid.uuid4().hex[:8]
    sessions = [ids.direct_session(f"{name}-a", f"{name}-{other}") for other in "bcd"]
    poisoned = sessions[0]
    sent = [_command(session_id, number) for number in range(40) for session_id in sessions]
    async with line.services():
        for session_id in sessions:
            values = [value for its_session, value in sent if its_session == session_id]
            await line.publish(MESSAGES_INBOUND, session_id, *values[:20])
            await line.publish(
                MESSAGES_INBOUND, session_id, *([POISON] if session_id == poisoned else []), *values[10:]
            )
            await line.settled()
            said = Receipt(session_id=session_id, user_id=f"{name}-a", delivered_seq=30, read_seq=12)
            await line.publish(RECEIPTS_INBOUND, session_id, said.SerializeToString())
        await line.settled()
    before = await line.dump()
    assert len(before["messages"]) == len(sent)
    assert len(before["inbox"]) == 2 * len(sent)
    assert before["receipts"]
    letters = [letter for letter in await line.dead_letters() if letter.value == POISON]
    assert [(letter.topic, bool(letter.reason)) for letter in letters] == [(MESSAGES_INBOUND, True)]
    await line.rewind()
    async with line.services():
        await line.settled()
    assert await line.dump() == before


def _lags(committed: Mapping[TopicPartition, Committed], ends: Mapping[TopicPartition, int]) -> bool:
    return any(committed[name].offset < end for name, end in ends.items())


def _command(session_id: str, number: int) -> tuple[str, bytes]:
    client_msg_id = uuid7(SystemClock().wall_ms(), number) if number % 2 else f"id{number}"
    sender = ids.direct_users(session_id)[number % 2]
    sent = command(client_msg_id, f"text {number}", sender, session_id, segment_messages=7)
    sent.stamps.bucket_rows = 11
    return session_id, sent.SerializeToString()
