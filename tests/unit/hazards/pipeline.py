"""The whole pipeline on the log and the tables in memory, with several owners of every stage."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from services.fanout.deliver_worker import DeliverStage
from services.fanout.expand_worker import ExpandStage
from services.fanout.presence_reader import PresenceReader
from services.persister.worker import PersisterStage
from services.receipts.worker import ReceiptsStage
from tests.faults.broker import FaultyBroker
from tests.faults.drawn import LogFaults, StoreFaults
from tests.faults.store import FaultyStore
from tests.simulation.virtual_time import VirtualClock
from tests.unit.hazards.owners import Owner, Ports, Witness
from tests.unit.persister.builders import command
from tidings import ids, topics
from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.runtime.hints import HintSender
from tidings.runtime.initialise import initialise
from tidings.runtime.marks import Marks
from tidings.runtime.pacing import Spacing
from tidings.runtime.stage import WorkerConfig
from tidings.topics import DELIVER, EXPAND, PERSISTER, RECEIPTS, Group, TopicSizes
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.inbound_pb2 import Command
from tidings.wire.presence_pb2 import Presence, PresenceKey
from tidings.wire.push_pb2 import Push, SendAck, SendError
from tidings.wire.receipts_pb2 import Receipt

EPOCH = 0
SESSION = "d:alice:bob"
# Simulated seconds: a scenario that has not come to its end by then never will.
PATIENCE_S = 200.0
_LOOK_S = 0.05


def post(
    client_msg_id: str,
    text: str = "hello",
    sender: str = "alice",
    session_id: str = SESSION,
    *,
    segment_messages: int = 10_000,
    bucket_rows: int = 5_000,
    recipients_per_part: int = 1_000,
) -> Command:
    """A text message on its way, with the limits that a gateway stamped on it."""
    sent = command(client_msg_id, text, sender, session_id, segment_messages)
    sent.stamps.bucket_rows = bucket_rows
    sent.stamps.recipients_per_part = recipients_per_part
    return sent


class Pipeline:
    """Log, tables, and who works on them."""

    def __init__(
        self, sizes: TopicSizes, log_faults: LogFaults | None = None, store_faults: StoreFaults | None = None
    ) -> None:
        self.clock = VirtualClock()
        self.sizes = sizes
        self.broker = FaultyBroker(self.clock, log_faults)
        self.store = FaultyStore(self.clock, store_faults)
        self.witness = Witness()
        self.owners: list[Owner] = []
        self._started = 0

    # -- processes ---------------------------------------------------------------------------------

    def persister(self) -> Owner:
        """One more process with this stage."""
        ports = self._ports()
        hints = HintSender(ports.hints_producer, PersisterStage.name, self.sizes.push_partitions)
        owner = self._owner(
            PersisterStage(ports.store, ports.producer, hints, EPOCH, self.sizes.session_partitions), PERSISTER, ports
        )
        owner.hints = hints
        return owner.start()

    def expand(self) -> Owner:
        """One more process with this stage."""
        ports = self._ports()
        hints = HintSender(ports.hints_producer, ExpandStage.name, self.sizes.push_partitions)
        presence = PresenceReader(self.broker.reader("gateways"))
        stage = ExpandStage(ports.store, ports.producer, hints, presence, self.sizes.user_partitions)
        owner = self._owner(stage, EXPAND, ports)
        owner.hints = hints
        owner.beside.append(asyncio.create_task(presence.run(asyncio.Event())))
        return owner.start()

    def deliver(self) -> Owner:
        """One more process with this stage."""
        ports = self._ports()
        hints = HintSender(ports.hints_producer, DeliverStage.name, self.sizes.push_partitions)
        presence = PresenceReader(self.broker.reader("presence"))
        owner = self._owner(DeliverStage(ports.store, hints, presence, EPOCH), DELIVER, ports)
        owner.hints = hints
        presence.wake = owner.worker.wake
        owner.beside.append(asyncio.create_task(presence.run(asyncio.Event())))
        return owner.start()

    def receipts(self) -> Owner:
        """One more process with this stage."""
        ports = self._ports()
        stage = ReceiptsStage(ports.store, ports.producer, EPOCH, self.sizes.user_partitions)
        owner = self._owner(stage, RECEIPTS, ports, linger_ms=250)
        stage.wake = owner.worker.wake
        return owner.start()

    def fanout(self) -> None:
        """Expand and deliver."""
        self.expand()
        self.deliver()

    def everybody(self) -> None:
        """One process of every stage that a message passes."""
        self.persister()
        self.fanout()

    def _ports(self) -> Ports:
        return Ports(self.store, self.broker.producer("stage"), self.broker.producer("hints"), self.witness)

    def _owner(self, stage: object, group: Group, ports: Ports, linger_ms: int = 0) -> Owner:
        self._started += 1
        config = WorkerConfig(EPOCH, session_timeout_ms=8_000, spacing=Spacing(linger_ms=linger_ms))
        consumer = self.broker.group_consumer(f"owner-{self._started}", group)
        owner = Owner(stage, consumer, ports, config)  # type: ignore[arg-type]
        self.owners.append(owner)
        return owner

    # -- what clients and gateways do --------------------------------------------------------------

    def publish(self, *commands: Command) -> None:
        """Gateways append commands; what they carry is whole and in order."""
        for sent in commands:
            partition = ids.partition_of(sent.session_id, self.sizes.session_partitions)
            self.append(topics.MESSAGES_INBOUND, partition, sent.SerializeToString())

    def say(self, user_id: str, delivered_seq: int = 0, read_seq: int = 0, session_id: str = SESSION) -> None:
        """A user says how far the session is held and read."""
        receipt = Receipt(session_id=session_id, user_id=user_id, delivered_seq=delivered_seq, read_seq=read_seq)
        partition = ids.partition_of(session_id, self.sizes.session_partitions)
        self.append(topics.RECEIPTS_INBOUND, partition, receipt.SerializeToString())

    def start_gateway(self, gateway: int) -> int:
        """A gateway's start record; its epoch."""
        event = GatewayEvent(gateway=gateway, state=GatewayEvent.STATE_STARTED)
        return self.append(topics.GATEWAYS, 0, event.SerializeToString(), str(gateway).encode())

    def presence(self, user_id: str, connection_id: str, gateway: int, epoch: int, *, gone: bool = False) -> None:
        """A gateway announces a connection, or its end. One device a user."""
        state = Presence.STATE_GONE if gone else Presence.STATE_HERE
        value = Presence(gateway_epoch=epoch, connection_id=connection_id, state=state)
        key = PresenceKey(user_id=user_id, device_id="phone", gateway=gateway)
        partition = ids.partition_of(user_id, self.sizes.user_partitions)
        self.append(topics.PRESENCE, partition, value.SerializeToString(), key.SerializeToString())

    def append(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> int:
        """A record that has arrived, whatever faults the stages meet; its offset."""
        return self.broker.log.append(TopicPartition(topic, partition), [NewRecord(value, key)])

    # -- what there is to see ----------------------------------------------------------------------

    def pushes(self, gateway: int = 0) -> list[Push]:
        """All that one gateway was told."""
        part = self.broker.partition(TopicPartition(topics.PUSH, gateway))
        return [Push.FromString(record.value or b"") for record in part.read(0, part.end_offset)]

    def acks(self) -> list[SendAck]:
        """Every ack ever sent."""
        gateways = range(self.sizes.push_partitions)
        return [push.send_ack for one in gateways for push in self.pushes(one) if push.HasField("send_ack")]

    def errors(self) -> list[SendError]:
        """Every refusal ever sent."""
        gateways = range(self.sizes.push_partitions)
        return [push.send_error for one in gateways for push in self.pushes(one) if push.HasField("send_error")]

    def records(self, topic: str) -> Sequence[Record]:
        """All records of a topic, by partition and offset."""
        return self.broker.records(topic)

    def dump(self) -> dict[str, list[object]]:
        """Every row of every table."""
        tables = ("messages", "message_keys", "segments", "segments_by_month", "groups", "group_members")
        inboxes = ("inbox", "inbox_buckets", "user_sessions", "receipts")
        return {table: list(self.store.rows(table)) for table in (*tables, *inboxes)}

    def committed(self, group: Group, topic: str, partition: int = 0) -> int:
        """The offset up to which the group has come for good."""
        return self.broker.group(group).commits[TopicPartition(topic, partition)].offset

    def lags(self, group: Group) -> bool:
        """Something on the group's topics is not committed yet."""
        commits = self.broker.group(group).commits
        return any(commits[name].offset < self.broker.partition(name).end_offset for name in commits)

    def rewind(self, group: Group) -> None:
        """As `tidings init` left it: the next owner starts at offset 0 without any marks."""
        commits = self.broker.group(group).commits
        commits.update({name: Committed(0, Marks().encoded()) for name in commits})

    # -- waiting -----------------------------------------------------------------------------------

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let simulated time go by until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not is_so():
                for owner in self.owners:
                    owner.check()
                await asyncio.sleep(_LOOK_S)

    async def settled(self, *groups: Group) -> None:
        """These groups, or those a message passes, are at the end of their topics, and the last hints are out."""
        groups = groups or (PERSISTER, EXPAND, DELIVER)
        await self.until(lambda: not any(self.lags(group) for group in groups))
        await asyncio.sleep(3)


@asynccontextmanager
async def pipeline(
    *,
    sessions: int = 1,
    users: int = 1,
    log_faults: LogFaults | None = None,
    store_faults: StoreFaults | None = None,
) -> AsyncIterator[Pipeline]:
    """An empty deployment with its topics and first offsets; whoever still runs at the end is ended."""
    sizes = TopicSizes(session_partitions=sessions, user_partitions=users, push_partitions=2)
    line = Pipeline(sizes, log_faults, store_faults)
    await initialise(line.broker.admin(), sizes, 1)
    try:
        yield line
    finally:
        for owner in line.owners:
            await owner.bury()
