"""FaultyBroker: outcomes of each call, stalls, late batches, a lost tail, zombies."""

import asyncio
from collections.abc import Collection

import pytest

from tests.faults.broker import FaultyBroker
from tests.faults.drawn import CommitFault, ProduceFault
from tests.faults.log import FaultyConsumer, lose_from
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.errors import Backpressure, BrokerUnavailable
from tidings.topics import Group, Topic

GROUP = Group("g", ("t",))
FIRST = TopicPartition("t", 0)
ONE = [NewRecord(b"one")]


class Worker:
    """A listener that remembers its assignments."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []
        self.epoch = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def assigned(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("assigned", epoch, len(partitions)))
        self.epoch = epoch

    async def revoked(self, epoch: int, partitions: Collection[TopicPartition]) -> None:
        await self.gate.wait()
        self.events.append(("revoked", epoch, len(partitions)))


async def broker(timeout_s: float = 0.0, unconfirmed_records: int = 10_000) -> FaultyBroker:
    made = FaultyBroker(timeout_s=timeout_s, unconfirmed_records=unconfirmed_records)
    admin = made.admin()
    await admin.create_topics([Topic("t", 2, {})], replication=1)
    await admin.write_first_offsets(GROUP, {"t": 2}, "marks")
    return made


async def member(log: FaultyBroker, worker: Worker, name: str = "m") -> FaultyConsumer:
    joined = log.group_consumer(name, GROUP)
    await joined.start(worker)
    await settle()
    return joined


async def settle() -> None:
    """Lets every task that can run do so."""
    for _ in range(50):
        await asyncio.sleep(0)


def stored(log: FaultyBroker) -> list[bytes | None]:
    return [record.value for record in log.records("t")]


@pytest.mark.parametrize(
    ("fault", "applied"),
    [(ProduceFault.LOST, 0), (ProduceFault.UNCONFIRMED, 2), (ProduceFault.PARTIAL, 1), (ProduceFault.LATE, 0)],
)
async def test_every_produce_fault_is_an_unknown_outcome(fault: ProduceFault, applied: int) -> None:
    log = await broker()
    log.faults.script_produce(fault)
    with pytest.raises(BrokerUnavailable):
        await log.producer("p").produce("t", 0, ONE * 2)
    assert len(stored(log)) == applied


@pytest.mark.hazard("H28")
async def test_a_late_batch_lands_after_its_repeat() -> None:
    log = await broker()
    log.faults.script_produce(ProduceFault.LATE)
    producer = log.producer("p")
    with pytest.raises(BrokerUnavailable):
        await producer.produce("t", 0, [NewRecord(b"late")])
    await producer.produce("t", 0, [NewRecord(b"repeat")])
    log.land_late()
    assert sorted(value or b"" for value in stored(log)) == [b"late", b"repeat"]


async def test_stalled_partition_times_out_and_lands_at_heal() -> None:
    log = await broker()
    stalled, other = log.producer("p"), log.producer("q")
    log.stall([FIRST])
    with pytest.raises(BrokerUnavailable):
        await stalled.produce("t", 0, ONE)
    assert await other.produce("t", 1, ONE) == 0
    reader = log.reader("r")
    reader.assign({FIRST: 0})
    assert await reader.poll(10, timeout_ms=0) == []
    log.heal()
    assert [record.value for record in await reader.poll(10, timeout_ms=0)] == [b"one"]


async def test_an_error_fails_whatever_the_producer_has_in_flight() -> None:
    log = await broker(timeout_s=60.0)
    producer = log.producer("p")
    log.stall([FIRST])
    waiting = producer.send("t", 0, ONE[0])
    log.faults.script_produce(ProduceFault.LOST)
    with pytest.raises(BrokerUnavailable):
        await producer.produce("t", 1, ONE)
    with pytest.raises(BrokerUnavailable):
        await waiting


async def test_backpressure_starts_at_the_bound_and_ends_confirmed() -> None:
    log = await broker(timeout_s=60.0, unconfirmed_records=2)
    producer = log.producer("p")
    log.stall()
    answers = [producer.send("t", 0, ONE[0]) for _ in range(2)]
    with pytest.raises(Backpressure):
        producer.send("t", 0, ONE[0])
    log.heal()
    assert await asyncio.gather(*answers) == [0, 1]
    assert await producer.send("t", 0, ONE[0]) == 2


async def test_stalled_broker_answers_no_call() -> None:
    log = await broker()
    consumer = await member(log, Worker())
    log.stall()
    for call in (log.producer("p").start, log.admin().start, lambda: consumer.committed([FIRST])):
        with pytest.raises(BrokerUnavailable):
            await call()
    log.heal()
    await consumer.stop()


@pytest.mark.hazard("H18")
async def test_a_loading_coordinator_is_an_error_and_not_a_new_group() -> None:
    log = await broker()
    consumer = await member(log, Worker())
    log.faults.script_loading(2)
    with pytest.raises(BrokerUnavailable):
        await consumer.committed([FIRST])
    with pytest.raises(BrokerUnavailable):
        await log.admin().write_first_offsets(GROUP, {"t": 2}, "again")
    assert await consumer.committed([FIRST]) == {FIRST: Committed(0, "marks")}
    await consumer.stop()


@pytest.mark.hazard("H23")
@pytest.mark.parametrize(
    ("fault", "answer", "offset"),
    [(CommitFault.LOST, True, 0), (CommitFault.FAILED, None, 0), (CommitFault.UNCONFIRMED, None, 7)],
)
async def test_a_commit_can_be_lost_in_each_way(fault: CommitFault, answer: bool | None, offset: int) -> None:
    log = await broker()
    worker = Worker()
    consumer = await member(log, worker)
    log.faults.script_commit(fault)
    if answer is None:
        with pytest.raises(BrokerUnavailable):
            await consumer.commit(worker.epoch, {FIRST: Committed(7, "seven")})
    else:
        assert await consumer.commit(worker.epoch, {FIRST: Committed(7, "seven")}) is answer
    assert (await consumer.committed([FIRST]))[FIRST].offset == offset
    await consumer.stop()


@pytest.mark.hazard("H22")
async def test_zombie_continues_to_read_and_commits_nothing() -> None:
    log = await broker()
    sleeper, heir = Worker(), Worker()
    zombie = await member(log, sleeper, "zombie")
    zombie.expire()
    successor = await member(log, heir, "successor")
    assert sleeper.events == [("assigned", 1, 2)]
    assert heir.events == [("assigned", 1, 2)]
    await log.producer("p").produce("t", 0, ONE)
    assert len(await zombie.poll(10, timeout_ms=0)) == len(await successor.poll(10, timeout_ms=0)) == 1
    assert not await zombie.commit(sleeper.epoch, {FIRST: Committed(1, "zombie")})
    assert await successor.commit(heir.epoch, {FIRST: Committed(1, "heir")})
    await zombie.rejoin()
    await settle()
    assert sleeper.events[1:] == [("revoked", 1, 2), ("assigned", 2, 1)]
    assert heir.events[1:] == [("revoked", 1, 2), ("assigned", 2, 1)]
    await zombie.stop()
    await successor.stop()


async def test_member_hanging_in_revoked_delays_others_until_expiry() -> None:
    log = await broker()
    hanging, waiting = Worker(), Worker()
    first = await member(log, hanging, "first")
    hanging.gate.clear()
    second = log.group_consumer("second", GROUP)
    joining = asyncio.create_task(second.start(waiting))
    await settle()
    assert waiting.events == []
    first.expire()
    await joining
    await settle()
    assert waiting.events == [("assigned", 1, 2)]
    hanging.gate.set()
    await second.stop()
    await first.stop()


async def test_a_lost_tail_gives_its_offsets_again() -> None:
    log = await broker()
    producer = log.producer("p")
    await producer.produce("t", 0, [NewRecord(b"first")] * 5)
    lose_from(log.partition(FIRST), 3)
    assert await producer.produce("t", 0, [NewRecord(b"second")]) == 3
    assert stored(log) == [b"first"] * 3 + [b"second"]
