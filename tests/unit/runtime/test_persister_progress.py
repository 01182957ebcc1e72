"""Waiting for the persister."""

from tests.simulation.virtual_time import VirtualClock, simulated
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.runtime.initialise import initialise
from tidings.runtime.persister_progress import persister_has_passed, persister_passes
from tidings.topics import MESSAGES_INBOUND, PERSISTER, TopicSizes

ONE, OTHER = (TopicPartition(MESSAGES_INBOUND, number) for number in (0, 1))


async def broker_with(commits: dict[TopicPartition, int]) -> MemoryBroker:
    """Two partitions, of which the first holds a record."""
    broker = MemoryBroker(VirtualClock())
    await initialise(broker.admin(), TopicSizes(2, 2, 2), 1)
    await broker.producer("test").produce(*ONE, [NewRecord(b"x")])
    broker.group(PERSISTER).commits.update({name: Committed(offset, "") for name, offset in commits.items()})
    return broker


@simulated
async def test_everything_confirmed_is_passed_at_once() -> None:
    broker = await broker_with({ONE: 1})
    assert await persister_has_passed(broker.admin(), broker.reader("test"), 2, 0.0)


@simulated
async def test_unconfirmed_record_is_waited_for_within_the_time() -> None:
    clock, broker = VirtualClock(), await broker_with({ONE: 0})
    assert not await persister_has_passed(broker.admin(), broker.reader("test"), 2, 5.0)
    assert 5_000 <= clock.monotonic_ms() <= 6_000


@simulated
async def test_partition_without_a_commit_is_not_passed() -> None:
    broker = await broker_with({ONE: 1})
    del broker.group(PERSISTER).commits[OTHER]
    assert await persister_passes(broker.admin(), {ONE: 1}, 0.0)
    assert not await persister_passes(broker.admin(), {ONE: 1, OTHER: 0}, 0.0)
