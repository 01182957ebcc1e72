"""Processes of the four stages, driven round by round, and the consumer groups that share their partitions out.

A round is the stage's own coroutine over a real Round, fed from real Lanes.
Each call to the outside goes through the process's gate, where the schedule
may stop it: for good (a crash), or until it wakes up as a zombie.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from services.fanout.deliver_worker import DeliverStage
from services.fanout.expand_worker import ExpandStage
from services.fanout.presence_reader import PresenceReader
from services.persister.worker import PersisterStage
from services.receipts.worker import ReceiptsStage
from tests.simulation.world import EPOCH, SIZES, World, pumped
from tidings.broker.base import Committed, NewRecord, Producer, Reader, Record, TopicPartition
from tidings.errors import PoisonRecord, Retryable
from tidings.ids import Position
from tidings.runtime.hints import HintSender
from tidings.runtime.lanes import Admission, Arrival, Gate, Lane
from tidings.runtime.marks import Marks
from tidings.runtime.round import Round
from tidings.runtime.stage import Stage
from tidings.store.base import Store, TaggedRow
from tidings.topics import DELIVER, DELIVERIES, EXPAND, PERSISTER, PUSH, RECEIPTS
from tidings.wire.deliveries_pb2 import Delivery
from tidings.wire.push_pb2 import Push, Resync

_PATIENCE_MS = 4_000
# Target partition, then source partition, offset and part.
Place = tuple[int, int, int, int]
STAGES = {"persister": PERSISTER, "expand": EXPAND, "deliver": DELIVER, "receipts": RECEIPTS}


class Stop:
    """Where a process stands when the schedule has stopped it."""

    def __init__(self) -> None:
        self.is_parked = False
        self._calls_left: int | None = None
        self._go_on = asyncio.Event()
        self._go_on.set()

    def after(self, calls: int) -> None:
        """At the call after so many more."""
        self._calls_left = calls

    def never(self) -> None:
        """Not any more."""
        self._calls_left = None

    def now(self) -> None:
        """At the next call."""
        self._calls_left = 0

    def wake(self) -> None:
        """SIGCONT."""
        self._calls_left, self.is_parked = None, False
        self._go_on.set()

    async def passed(self) -> None:
        """Returns when the process runs."""
        if self._calls_left is not None:
            self._calls_left -= 1
            if self._calls_left < 0:
                self.is_parked = True
                self._go_on.clear()
        await self._go_on.wait()


class StoreOf:
    """The tables as one process reaches them."""

    def __init__(self, world: World, stop: Stop) -> None:
        self._world, self._stop = world, stop

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        """See Store. A stop after it is a write whose answer never came."""
        await self._stop.passed()
        self._world.witness.see(rows)
        unconfirmed = await self._world.store.write(rows)
        self._world.confirmed.see(rows, unconfirmed)
        await self._stop.passed()
        return unconfirmed

    def __getattr__(self, name: str) -> Any:
        read = getattr(self._world.store, name)

        async def through(*args: Any) -> Any:
            await self._stop.passed()
            answer = await read(*args)
            await self._stop.passed()
            return answer

        return through


class ProducerOf:
    """The log as one process appends to it. H36: one caller per target partition at a time."""

    def __init__(self, world: World, stop: Stop) -> None:
        self._producer, self._stop = world.broker.producer("stage"), stop
        # Coordinates on `deliveries` of the round in hand, and of the rounds that were confirmed in this assignment.
        self._emitted: list[Place] = []
        self._confirmed: set[Place] = set()
        self._busy: set[tuple[str, int]] = set()

    async def produce(self, topic: str, partition: int, records: Sequence[NewRecord]) -> int:
        """See Producer."""
        assert (topic, partition) not in self._busy, f"two produce calls at once for {topic}-{partition}"
        self._busy.add((topic, partition))
        try:
            await self._stop.passed()
            if topic == DELIVERIES:
                self._emitted += [place for one in records for place in _place_of(partition, one)]
            offset = await self._producer.produce(topic, partition, records)
            await self._stop.passed()
            return offset
        finally:
            self._busy.discard((topic, partition))

    def confirm(self, sources: Collection[int]) -> None:
        """Law 4: what a confirmed round has emitted is never emitted again by the same assignment."""
        places = {place for place in self._emitted if place[1] in sources}
        again = places & self._confirmed
        assert not again, f"law 4: emitted again although a mark stands above it: {sorted(again)[:3]}"
        self._confirmed |= places
        self._emitted.clear()

    def forget(self) -> None:
        """Another assignment."""
        self._emitted.clear()
        self._confirmed.clear()


def _place_of(partition: int, record: NewRecord) -> list[Place]:
    delivery = Delivery.FromString(record.value or b"")
    source = delivery.inbox_item.source
    return [(partition, source.partition, source.offset, source.part)] if delivery.HasField("inbox_item") else []


class Hints:
    """Stands for HintSender: now and then a hint is lost, and the next one to that gateway is a resync; or doubled."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lossy: set[int] = set()

    def send(self, gateway: int, push: Push) -> None:
        """See HintSender."""
        if push.HasField("send_ack"):
            self._world.confirmed.check_ack(push.send_ack)
        chance = self._world.chance.random()
        if chance < self._world.trouble:
            self._lossy.add(gateway)
            return
        if gateway in self._lossy:
            self._lossy.discard(gateway)
            resync = Push(gateway_epoch=push.gateway_epoch, resync=Resync())
            self._world.append(PUSH, gateway, resync.SerializeToString())
        self._world.append(PUSH, gateway, push.SerializeToString())
        if chance > 1 - self._world.trouble / 2:
            self._world.append(PUSH, gateway, push.SerializeToString())


class ReaderOf:
    """Stands for the presence reader's Reader: history is read at once, news when the schedule says so."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._positions: dict[TopicPartition, int] = {}
        self.reader: PresenceReader | None = None

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Reader."""
        self._positions = {
            place: self._positions.get(place, 0) if offset < 0 else offset for place, offset in positions.items()
        }
        self.read_on()

    def read_on(self) -> None:
        """Apply all that is there, gateways first."""
        assert self.reader is not None
        for place in sorted(self._positions):
            for record in self._world.read(*place, self._positions[place]):
                self._positions[place] = record.offset + 1
                self.reader._apply(record)

    def position(self, partition: TopicPartition) -> int:
        """See Reader."""
        return self._positions[partition]

    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """See Reader."""
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """See Reader."""
        return {place: self._world.end(*place) for place in sorted(partitions)}


class Process:
    """One process with one stage."""

    def __init__(self, world: World, stage: str, number: int) -> None:
        self.world = world
        self.name = f"{stage}-{number}"
        self.stop = Stop()
        self.reading = ReaderOf(world)
        self.presence = PresenceReader(cast(Reader, self.reading))
        self.reading.reader = self.presence
        self.producer = ProducerOf(world, self.stop)
        self.stage = self._make(stage)
        self.commits = world.groups[STAGES[stage].name]
        self.lanes: dict[TopicPartition, Lane[Any]] = {}
        self.generation = -1
        self.task: asyncio.Task[None] | None = None
        self.stopped_partitions: list[str] = []
        self._alive_ms = 0

    def _make(self, stage: str) -> Stage[Any]:
        store = cast(Store, StoreOf(self.world, self.stop))
        producer = cast(Producer, self.producer)
        hints = cast(HintSender, Hints(self.world))
        match stage:
            case "persister":
                return cast(Stage[Any], PersisterStage(store, producer, hints, EPOCH, SIZES.session_partitions))
            case "expand":
                return cast(Stage[Any], ExpandStage(store, producer, hints, self.presence, SIZES.user_partitions))
            case "deliver":
                return cast(Stage[Any], DeliverStage(store, hints, self.presence, EPOCH))
            case _:
                return cast(Stage[Any], ReceiptsStage(store, producer, EPOCH, SIZES.user_partitions))

    # -- the assignment ----------------------------------------------------------------------------

    def revoke(self) -> None:
        """Everything is taken back; a round that is under way belongs to nobody."""
        self.commit()
        self.generation = -1
        self.lanes.clear()
        self.stage.forget()

    def assign(self, generation: int, partitions: Iterable[TopicPartition]) -> None:
        """These are ours now; their gates are closed."""
        self.stage.forget()
        self.producer.forget()
        self.generation, self._alive_ms = generation, self.world.clock.now_ms
        self.lanes = {partition: Lane(partition, generation) for partition in partitions}

    async def open(self) -> None:
        """The ready gate: position and marks in one answer, or an error to try again after (H18)."""
        closed = [name for name, lane in self.lanes.items() if lane.gate is Gate.LOADING]
        if not closed or self.world.log_faults.is_loading():
            return
        generation = self.generation
        try:
            await self.stage.prepare(sorted(self.lanes))
        except Retryable:
            return
        if generation == self.generation:
            for name in closed:
                committed = self.commits.stored[name]
                self.lanes[name].open(committed.offset, Marks.decoded(committed.metadata))

    def commit(self) -> None:
        """Offset and marks together, for every partition with progress. A zombie's is refused."""
        lanes = [lane for lane in self.lanes.values() if lane.wants_commit]
        positions = {lane.partition: Committed(lane.confirmed_offset, lane.marks.encoded()) for lane in lanes}
        if lanes and self.commits.commit(self.generation, positions):
            for lane in lanes:
                lane.committed_offset = lane.confirmed_offset

    # -- the round ---------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """A round is under way, perhaps stopped in its middle."""
        return self.task is not None and not self.task.done()

    @property
    def is_idle(self) -> bool:
        """Everything that the log holds for it is confirmed."""
        return not self.is_busy and all(
            lane.confirmed_offset == self.world.end(*lane.partition) for lane in self.lanes.values()
        )

    def begin(self, most_records: int) -> None:
        """Take in what has arrived, up to so many records a partition, and begin a round."""
        if self.is_busy or self.stop.is_parked:
            return
        for lane in self.lanes.values():
            self._admit(lane, most_records - lane.queued_records)
        self.task = asyncio.create_task(self._round(most_records), name=self.name)

    def _admit(self, lane: Lane[Any], most: int) -> None:
        if lane.gate is not Gate.READY or most <= 0:
            return
        for record in self.world.read(*lane.partition, lane.next_offset, most):
            if lane.admission(record) is Admission.TAKEN:
                lane.put(Arrival(record, self._decoded(record)))

    def _decoded(self, record: Record) -> Any:
        try:
            return self.stage.decode(record)
        except PoisonRecord as error:
            return error

    async def _round(self, most_records: int) -> None:
        await self.open()
        generation, lanes = self.generation, dict(self.lanes)
        arrivals = {name: lane.head(most_records, 2**20) for name, lane in lanes.items() if lane.has_work(0.0)}
        marks = {name: lanes[name].marks for name in arrivals}
        ready = {name: lane for name, lane in lanes.items() if lane.was_opened}
        positions = {name: Position(EPOCH, lane.confirmed_offset) for name, lane in ready.items()}
        self._alive_ms = self.world.clock.now_ms

        def is_still_assigned() -> bool:
            waited_ms, self._alive_ms = self.world.clock.now_ms - self._alive_ms, self.world.clock.now_ms
            return generation == self.generation and waited_ms <= _PATIENCE_MS

        work: Round[Any] = Round(arrivals, marks, positions, is_still_assigned)
        try:
            await self.stage.run(work)
        except Retryable as error:
            work.fail({name.partition for name in arrivals}, f"{type(error).__name__}: {error}")
        if generation == self.generation:
            self._confirm(work)

    def _confirm(self, work: Round[Any]) -> None:
        done = [name for name in work.arrivals if not work.has_failed(name.partition)]
        self.stage.confirmed(done)
        self.producer.confirm({name.partition for name in done})
        for name in done:
            self.lanes[name].confirm(len(work.arrivals[name]), work.marks[name])
        for name, reason in work.stopped.items():
            self.lanes[name].stop()
            self.lanes[name].abandon()
            self.stopped_partitions.append(f"{self.name} stopped {name.topic}-{name.partition}: {reason}")

    async def settle(self) -> None:
        """Let the round run to its end, or to where it is stopped; what ended it wrongly is raised."""
        await pumped(lambda: not self.is_busy or self.stop.is_parked)
        if self.task is not None and self.task.done():
            self.task.result()
            self.task = None


class Members:
    """The members of one consumer group. Rebalances are eager, as the worker asks for."""

    def __init__(self, world: World, stage: str) -> None:
        self.world, self.stage = world, stage
        self.commits = world.groups[STAGES[stage].name]
        self.members: list[Process] = []
        self._started = 0

    def start(self) -> Process:
        """One more process."""
        self._started += 1
        process = Process(self.world, self.stage, self._started)
        self.join(process)
        return process

    def join(self, process: Process) -> None:
        """A new one, or a zombie that has noticed."""
        for one in (*self.members, process):
            one.revoke()
        self.members.append(process)
        self._share()

    def drop(self, process: Process) -> None:
        """Its session ran out; nobody tells it."""
        self.members.remove(process)
        for one in self.members:
            one.revoke()
        self._share()

    def _share(self) -> None:
        self.commits.generation += 1
        numbers = {partition.partition for partition in self.commits.partitions}
        for index, process in enumerate(self.members):
            # Two topics of one group are co-partitioned: a number goes to one member.
            mine = {number for number in numbers if number % len(self.members) == index}
            owned = [name for name in self.commits.partitions if name.partition in mine]
            process.assign(self.commits.generation, owned)
