"""The archiver's commands on the log, and what the persister has confirmed."""

from tests.fakes.clock import FakeClock
from tests.unit.persister.builders import stamps
from tidings.broker.base import Committed, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.cold.closing import KafkaClosingLog
from tidings.ids import Position, partition_of
from tidings.runtime.initialise import initialise
from tidings.store.segment_rows import SegmentRow
from tidings.topics import MESSAGES_INBOUND, PERSISTER, TopicSizes
from tidings.wire.inbound_pb2 import CloseSegment, Command

SESSIONS = [f"d:user-{number}:zoe" for number in range(6)]


async def made() -> tuple[MemoryBroker, KafkaClosingLog]:
    broker = MemoryBroker(FakeClock(1))
    await initialise(broker.admin(), TopicSizes(2, 2, 2), 1)
    return broker, KafkaClosingLog(broker.producer("archiver"), broker.admin(), stamps(), 3, 2)


async def test_commands_are_on_the_partitions_of_their_sessions() -> None:
    broker, closing = await made()
    asked = [(SegmentRow(name, 4, 1, 202605, 0, 1), 9) for name in SESSIONS]
    assert not await closing.close(asked, within_s=0.1)
    records = broker.records(MESSAGES_INBOUND)
    commands = {Command.FromString(one.value or b"").session_id: one.partition for one in records}
    assert commands == {name: partition_of(name, 2) for name in SESSIONS}
    first = Command.FromString(records[0].value or b"")
    assert first.close_segment == CloseSegment(segment=4, last_seq=9)
    assert not first.HasField("origin")


async def test_confirmed_is_what_the_persister_has_committed() -> None:
    broker, closing = await made()
    broker.group(PERSISTER).commits[TopicPartition(MESSAGES_INBOUND, 1)] = Committed(7, "")
    assert await closing.confirmed() == [Position(3, 0), Position(3, 7)]
