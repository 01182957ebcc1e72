"""What a trace reads from the log."""

import pytest

from tests.unit.persister.builders import command
from tidings.broker.base import Committed, NewRecord, Record, TopicPartition
from tidings.broker.memory import MemoryAdmin, MemoryBroker
from tidings.errors import BrokerUnavailable
from tidings.runtime.initialise import initialise
from tidings.runtime.marks import Marks
from tidings.topics import EXPAND, MESSAGES_INBOUND, MESSAGES_PERSISTED, PERSISTER, TopicSizes
from tidings.tracing.log_view import log_view
from tidings.wire.common_pb2 import Coordinates

SIZES = TopicSizes(2, 2, 2)
INBOUND = TopicPartition(MESSAGES_INBOUND, 1)
PERSISTED = TopicPartition(MESSAGES_PERSISTED, 1)


async def broker_with(commands: int) -> MemoryBroker:
    broker = MemoryBroker()
    await initialise(broker.admin(), SIZES, 1)
    values = [command(f"m{number}").SerializeToString() for number in range(commands)]
    if values:
        await broker.producer("test").produce(*INBOUND, [NewRecord(value) for value in values])
    return broker


async def test_a_single_record_is_read_at_its_offset() -> None:
    broker = await broker_with(5)
    async with log_view(broker, 0, SIZES) as log:
        assert await log.bounds(INBOUND) == (0, 5)
        record = await log.record(INBOUND, 3)
        assert isinstance(record, Record)
        assert record.offset == 3
        broker.partition(INBOUND).delete_before(4)
        assert await log.bounds(INBOUND) == (4, 5)
        assert await log.record(INBOUND, 3) is None


async def test_unconfirmed_commands_are_read_up_to_a_bound() -> None:
    broker = await broker_with(5)
    broker.group(PERSISTER).commits[INBOUND] = Committed(2, Marks().encoded())
    async with log_view(broker, 0, SIZES) as log:
        records, is_all = await log.unconfirmed([0, 1], 100)
        assert ([record.offset for record in records], is_all) == ([2, 3, 4], True)
        records, is_all = await log.unconfirmed([0, 1], 2)
        assert ([record.offset for record in records], is_all) == ([2, 3], False)
        del broker.group(PERSISTER).commits[TopicPartition(MESSAGES_INBOUND, 0)]
        assert not (await log.unconfirmed([0, 1], 100))[1]


async def test_marks_say_whether_a_group_has_finished() -> None:
    broker = await broker_with(0)
    marks = Marks()
    marks.advance(Coordinates(partition=1, offset=7))
    broker.group(EXPAND).commits[PERSISTED] = Committed(3, marks.encoded())

    async def finished(offset: int, partition: int = 1) -> bool | None:
        source = Coordinates(partition=partition, offset=offset)
        async with log_view(broker, 0, SIZES) as log:
            return (await log.has_finished(EXPAND, [PERSISTED], source))[PERSISTED]

    assert [await finished(7), await finished(8), await finished(0, partition=0)] == [True, False, False]
    broker.group(EXPAND).commits[PERSISTED] = Committed(3, "")
    assert await finished(7) is None
    del broker.group(EXPAND).commits[PERSISTED]
    assert await finished(7) is None


async def test_a_log_that_is_away_is_an_error_of_each_question(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_admin: MemoryAdmin) -> None:
        raise BrokerUnavailable("connection refused")

    broker = await broker_with(1)
    monkeypatch.setattr(MemoryAdmin, "start", refuse)
    async with log_view(broker, 0, SIZES) as log:
        with pytest.raises(BrokerUnavailable, match="connection refused"):
            await log.bounds(INBOUND)
        with pytest.raises(BrokerUnavailable, match="connection refused"):
            await log.committed(PERSISTER, [INBOUND])


async def test_a_log_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.tracing.log_view._WITHIN_S", 0.05)
    monkeypatch.setattr("tidings.tracing.log_view._POLL_MS", 1)
    broker = await broker_with(1)
    async with log_view(broker, 0, SIZES) as log:
        with pytest.raises(BrokerUnavailable, match="no answer within"):
            await log.record(INBOUND, 1)
        with pytest.raises(BrokerUnavailable, match="no answer within"):
            await log.bounds(INBOUND)
