"""The loop all workers share, on the log in memory: the gate, the rounds, the commits."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client import Gauge

from tests.faults.broker import FaultyBroker
from tests.faults.drawn import CommitFault
from tests.waiting import until
from tidings import metrics
from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.errors import PoisonRecord, StoreUnavailable, UnreadableRecord
from tidings.runtime import worker as worker_module
from tidings.runtime.backoff import Backoff
from tidings.runtime.health import Health
from tidings.runtime.marks import Marks
from tidings.runtime.pacing import Spacing
from tidings.runtime.round import Round
from tidings.runtime.stage import WorkerConfig
from tidings.runtime.worker import Worker
from tidings.topics import Group, Topic
from tidings.wire.common_pb2 import Coordinates

GROUP = Group("test", ("work",))
CONFIG = WorkerConfig(log_epoch=0, session_timeout_ms=8_000, commit_every_ms=5, backoff=Backoff(1, 5))
PATIENCE_S = 20.0


@dataclass
class RecordingStage:
    """Writes down what it was given; refuses, fails or hangs on request."""

    name: str = "test"
    seen: list[tuple[int, str]] = field(default_factory=list)
    rounds: list[list[str]] = field(default_factory=list)
    confirmed_partitions: list[int] = field(default_factory=list)
    forgotten: int = 0
    fail_next: int = 0
    fail_partition: int | None = None
    hold: asyncio.Event | None = None
    prepared: asyncio.Event | None = None
    raise_for: str | None = None
    prepare_fault: Exception | None = None
    marks_seen: list[bool] = field(default_factory=list)
    takes_s: float = 0.0
    began_s: list[float] = field(default_factory=list)

    def decode(self, record: Record) -> str:
        text = (record.value or b"").decode()
        if text == "poison":
            raise PoisonRecord("on request")
        if text == "unreadable":
            raise UnreadableRecord("on request")
        return text

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        if self.prepare_fault is not None:
            raise self.prepare_fault
        if self.prepared is not None:
            await self.prepared.wait()

    async def run(self, work: Round[str]) -> None:
        self.began_s.append(time.monotonic())
        self.rounds.append([str(one.content) for some in work.arrivals.values() for one in some])
        await asyncio.sleep(self.takes_s)
        if self.hold is not None:
            await self.hold.wait()
        work.ensure_still_assigned()
        if self.raise_for in self.rounds[-1]:
            raise StoreUnavailable("on request")
        if self.fail_next:
            self.fail_next -= 1
            raise StoreUnavailable("on request")
        if self.fail_partition is not None:
            work.fail([self.fail_partition], "on request")
        for partition, arrivals in work.arrivals.items():
            for arrival in arrivals:
                source = Coordinates(partition=partition.partition, offset=arrival.record.offset)
                self.marks_seen.append(work.marks[partition].is_repeat(source))
                work.marks[partition].advance(source)
                if not work.has_failed(partition.partition):
                    self.seen.append((partition.partition, str(arrival.content)))

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        self.confirmed_partitions.extend(partition.partition for partition in partitions)

    def forget(self) -> None:
        self.forgotten += 1


async def broker_with(partitions: int = 2) -> FaultyBroker:
    broker = FaultyBroker()
    admin = broker.admin()
    await admin.create_topics([Topic("work", partitions, {})], 1)
    await admin.write_first_offsets(GROUP, {"work": partitions}, Marks().encoded())
    return broker


async def put(broker: FaultyBroker, partition: int, *texts: str) -> None:
    await broker.producer("p").produce("work", partition, [NewRecord(text.encode()) for text in texts])


@asynccontextmanager
async def working(broker: FaultyBroker, stage: RecordingStage, config: WorkerConfig = CONFIG) -> AsyncIterator[Health]:
    health, stopping = Health(), asyncio.Event()
    health.set_ready(True)
    worker = Worker(stage, broker.group_consumer("w", GROUP), config, health)
    running = asyncio.create_task(worker.run(stopping))
    try:
        yield health
    finally:
        stopping.set()
        await asyncio.wait_for(running, PATIENCE_S)


def committed(broker: FaultyBroker, partition: int) -> Committed:
    return broker.group(GROUP).commits[TopicPartition("work", partition)]


async def test_records_are_processed_in_order_and_committed_with_marks() -> None:
    broker, stage = await broker_with(), RecordingStage()
    await put(broker, 0, "a", "b", "c")
    async with working(broker, stage):
        await until(lambda: committed(broker, 0).offset == 3)
    assert stage.seen == [(0, "a"), (0, "b"), (0, "c")]
    marks = Marks.decoded(committed(broker, 0).metadata)
    assert marks.is_repeat(Coordinates(partition=0, offset=2))
    assert not marks.is_repeat(Coordinates(partition=0, offset=3))


async def test_gate_opens_after_marks_and_position_are_read_back() -> None:
    """H18, ready gate: the log hands records out before the marks are known."""
    broker, stage = await broker_with(), RecordingStage(prepared=asyncio.Event())
    marks = Marks()
    marks.advance(Coordinates(partition=0, offset=1))
    broker.group(GROUP).commits[TopicPartition("work", 0)] = Committed(1, marks.encoded())
    await put(broker, 0, "a", "b", "c")
    async with working(broker, stage) as health:
        await asyncio.sleep(0.1)
        assert stage.rounds == []
        assert health.readiness()
        broker.faults.script_loading(3)
        assert stage.prepared is not None
        stage.prepared.set()
        await until(lambda: committed(broker, 0).offset == 3)
        assert health.readiness() == ""
    assert stage.seen == [(0, "b"), (0, "c")]
    assert stage.marks_seen == [True, False]


@pytest.mark.hazard("H18")
async def test_commit_without_marks_is_retried_and_no_new_group() -> None:
    broker, stage = await broker_with(), RecordingStage()
    good = committed(broker, 0)
    broker.group(GROUP).commits[TopicPartition("work", 0)] = Committed(0, "")
    await put(broker, 0, "a")
    async with working(broker, stage):
        await asyncio.sleep(0.05)
        assert stage.rounds == []
        broker.group(GROUP).commits[TopicPartition("work", 0)] = good
        await until(lambda: stage.seen == [(0, "a")])


async def test_failed_round_is_repeated_and_not_committed() -> None:
    broker, stage = await broker_with(), RecordingStage(fail_next=3)
    await put(broker, 0, "a", "b")
    async with working(broker, stage):
        await until(lambda: committed(broker, 0).offset == 2)
    assert stage.rounds[:4] == [["a", "b"]] * 4
    assert stage.seen == [(0, "a"), (0, "b")]


async def test_failing_partition_delays_no_other() -> None:
    broker, stage = await broker_with(), RecordingStage(fail_partition=0)
    await put(broker, 0, "a")
    await put(broker, 1, "x")
    async with working(broker, stage):
        await until(lambda: committed(broker, 1).offset == 1)
        await put(broker, 1, "y")
        await until(lambda: committed(broker, 1).offset == 2)
        assert committed(broker, 0).offset == 0
        stage.fail_partition = None
        await until(lambda: committed(broker, 0).offset == 1)
    assert stage.seen == [(1, "x"), (1, "y"), (0, "a")]


async def test_partition_that_keeps_raising_runs_in_rounds_of_its_own() -> None:
    """Two replicas of one token range are down: what is loaded for one session fails, whatever else is in the round."""
    broker, stage = await broker_with(), RecordingStage(raise_for="bad")
    await put(broker, 0, "bad")
    await put(broker, 1, "x")
    async with working(broker, stage):
        await until(lambda: committed(broker, 1).offset == 1)
        await put(broker, 1, "y")
        await until(lambda: committed(broker, 1).offset == 2)
        assert committed(broker, 0).offset == 0
        stage.raise_for = None
        await until(lambda: committed(broker, 0).offset == 1)


async def test_a_fault_while_the_gate_opens_ends_the_process() -> None:
    """Law 9: anything but the three words stops it, instead of partitions that stay closed permanently."""
    broker, stage = await broker_with(), RecordingStage(prepare_fault=KeyError("as planted"))
    worker = Worker(stage, broker.group_consumer("w", GROUP), CONFIG, Health())
    with pytest.raises(KeyError, match="as planted"):
        await asyncio.wait_for(worker.run(asyncio.Event()), PATIENCE_S)


@pytest.mark.hazard("H21")
async def test_mark_never_passes_a_record_of_a_failed_round() -> None:
    broker, stage = await broker_with(1), RecordingStage(fail_partition=0)
    await put(broker, 0, "a")
    async with working(broker, stage):
        await until(lambda: len(stage.rounds) > 1)
        await put(broker, 0, "b")
        await until(lambda: ["a", "b"] in stage.rounds)
        assert not Marks.decoded(committed(broker, 0).metadata).is_repeat(Coordinates(partition=0, offset=0))
        stage.fail_partition = None
        await until(lambda: committed(broker, 0).offset == 2)
    assert not any(stage.marks_seen)


@pytest.mark.hazard("H19", "H32")
@pytest.mark.bad_input("B3")
async def test_unreadable_record_stops_only_its_partition() -> None:
    broker, stage = await broker_with(), RecordingStage()
    await put(broker, 0, "a", "unreadable", "b")
    await put(broker, 1, "x")
    async with working(broker, stage):
        await until(lambda: committed(broker, 0).offset == 1 and committed(broker, 1).offset == 1)
        await put(broker, 1, "y")
        await until(lambda: committed(broker, 1).offset == 2)
        assert committed(broker, 0).offset == 1
    assert (0, "b") not in stage.seen


@pytest.mark.bad_input("B2")
async def test_poison_reaches_the_stage_in_its_place() -> None:
    broker, stage = await broker_with(), RecordingStage()
    await put(broker, 0, "a", "poison", "b")
    async with working(broker, stage):
        await until(lambda: committed(broker, 0).offset == 3)
    assert [text for _, text in stage.seen] == ["a", "on request", "b"]


async def test_a_lost_log_tail_stops_the_partition() -> None:
    broker, stage = await broker_with(), RecordingStage()
    broker.group(GROUP).commits[TopicPartition("work", 0)] = Committed(50, Marks().encoded())
    await put(broker, 0, "a")
    await put(broker, 1, "x")
    async with working(broker, stage):
        await until(lambda: committed(broker, 1).offset == 1)
    assert committed(broker, 0).offset == 50
    assert stage.seen == [(1, "x")]


async def test_position_below_the_log_start_stops_the_partition() -> None:
    broker, stage = await broker_with(), RecordingStage()
    await put(broker, 0, "a", "b", "c")
    await put(broker, 1, "x")
    broker.partition(TopicPartition("work", 0)).delete_before(2)
    async with working(broker, stage):
        await until(lambda: committed(broker, 1).offset == 1)
        await asyncio.sleep(0.05)
    assert committed(broker, 0).offset == 0
    assert stage.seen == [(1, "x")]


@pytest.mark.hazard("H23")
async def test_a_lost_commit_means_a_replay_and_nothing_worse() -> None:
    """H23: the commit was confirmed yet not stored; the next owner starts from the one before."""
    broker, stage = await broker_with(1), RecordingStage()
    broker.faults.script_commit(CommitFault.LOST)
    await put(broker, 0, "a")
    async with working(broker, stage):
        await until(lambda: stage.seen == [(0, "a")])
        await asyncio.sleep(0.05)
    replay = RecordingStage()
    async with working(broker, replay):
        await until(lambda: replay.seen == [(0, "a")])


async def test_partition_revoked_in_mid_round_is_drained_and_committed() -> None:
    broker, stage = await broker_with(2), RecordingStage(hold=asyncio.Event())
    await put(broker, 0, "a")
    other = RecordingStage()
    async with working(broker, stage):
        await until(lambda: stage.rounds == [["a"]])
        joining = asyncio.create_task(_work_until(broker, other, lambda: other.seen == [(1, "x")]))
        await asyncio.sleep(0.02)
        assert stage.hold is not None
        stage.hold.set()
        await put(broker, 1, "x")
        await asyncio.wait_for(joining, PATIENCE_S)
    assert stage.seen == [(0, "a")]
    assert committed(broker, 0).offset == 1
    assert stage.forgotten >= 2


async def _work_until(broker: FaultyBroker, stage: RecordingStage, is_so: Callable[[], bool]) -> None:
    async with working(broker, stage):
        await until(is_so)


@pytest.mark.hazard("H22")
async def test_zombie_drops_its_round_and_commits_nothing() -> None:
    """A paused process: its partition is given away during a round; then the process continues."""
    broker, stage = await broker_with(1), RecordingStage(hold=asyncio.Event())
    await put(broker, 0, "a", "b")
    consumer = broker.group_consumer("zombie", GROUP)
    stopping = asyncio.Event()
    running = asyncio.create_task(Worker(stage, consumer, CONFIG, Health()).run(stopping))
    await until(lambda: len(stage.rounds) == 1)
    consumer.expire()
    successor = RecordingStage()
    async with working(broker, successor):
        await until(lambda: committed(broker, 0).offset == 2)
        await put(broker, 0, "c")
        await until(lambda: committed(broker, 0).offset == 3)
        assert stage.hold is not None
        stage.hold.set()
        await asyncio.sleep(0.05)
        assert committed(broker, 0).offset == 3
    stopping.set()
    await asyncio.wait_for(running, PATIENCE_S)


async def test_full_queue_pauses_its_source_until_there_is_room() -> None:
    broker, stage = await broker_with(1), RecordingStage(hold=asyncio.Event())
    async with working(broker, stage):
        for start in range(0, 4_000, 100):
            await put(broker, 0, *(str(number) for number in range(start, start + 100)))
        await asyncio.sleep(0.1)
        assert stage.hold is not None
        stage.hold.set()
        await until(lambda: committed(broker, 0).offset == 4_000)
    assert [text for _, text in stage.seen] == [str(number) for number in range(4_000)]
    assert max(len(texts) for texts in stage.rounds) <= 500


async def test_next_round_begins_after_twice_the_time_of_the_last() -> None:
    broker, stage = await broker_with(1), RecordingStage(takes_s=0.1)
    config = replace(CONFIG, spacing=Spacing(most_ms=10_000))
    async with working(broker, stage, config):
        await put(broker, 0, "a")
        await until(lambda: len(stage.rounds) == 1)
        await put(broker, 0, "b")
        await until(lambda: len(stage.rounds) == 2)
    first, second = stage.began_s
    assert second - first >= 0.195


async def test_rounds_wait_no_longer_than_the_most() -> None:
    broker, stage = await broker_with(1), RecordingStage()
    config = replace(CONFIG, spacing=Spacing(60_000, 1))
    async with working(broker, stage, config):
        for number, text in enumerate("abc", 1):
            await put(broker, 0, text)
            await until(lambda number=number: len(stage.seen) == number)  # type: ignore[misc]


async def test_neither_the_first_record_nor_a_full_round_waits() -> None:
    broker, stage = await broker_with(1), RecordingStage()
    config = replace(CONFIG, round_records=3, spacing=Spacing(60_000, 60_000))
    async with working(broker, stage, config):
        await put(broker, 0, "a")
        await until(lambda: stage.rounds == [["a"]])
        await put(broker, 0, "b", "c", "d")
        await until(lambda: stage.rounds == [["a"], ["b", "c", "d"]])


def gauge(metric: Gauge) -> float:
    """Of the stage of these tests; -1 before it is measured."""
    samples = [one for family in metric.collect() for one in family.samples if one.labels == {"stage": "test"}]
    return samples[0].value if samples else -1


@pytest.mark.parametrize("fault", ["hang", "stopped"])
async def test_backlog_grows_while_nothing_moves(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "_MEASURE_S", 0.01)
    broker = await broker_with()
    stage = RecordingStage(hold=asyncio.Event())
    await put(broker, 0, "unreadable" if fault == "stopped" else "a", "b", "c")
    async with working(broker, stage):
        await until(lambda: gauge(metrics.BACKLOG_RECORDS) == 3, "a backlog")
        before_s = gauge(metrics.BACKLOG_SECONDS)
        await until(lambda: gauge(metrics.BACKLOG_SECONDS) > before_s + 0.2, "it grows")
        assert stage.hold is not None
        stage.hold.set()
        if fault == "hang":
            await until(lambda: gauge(metrics.BACKLOG_RECORDS) == gauge(metrics.BACKLOG_SECONDS) == 0, "it is done")


async def test_stopping_ends_and_commits_the_current_round() -> None:
    broker, stage = await broker_with(1), RecordingStage()
    slow = WorkerConfig(log_epoch=0, session_timeout_ms=8_000, commit_every_ms=3_600_000)
    await put(broker, 0, "a")
    async with working(broker, stage, slow):
        await until(lambda: stage.seen == [(0, "a")])
        assert committed(broker, 0).offset == 0
    assert committed(broker, 0).offset == 1
