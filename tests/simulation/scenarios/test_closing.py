"""The closing of quiet sessions: replays, next owners, and messages that come at the same time."""

import pytest

from tests.simulation.scenario import Scenario, partitions_stopped, post, produces_to, scenario, writes_of
from tests.unit.persister.builders import SESSION, stamps
from tidings.broker.base import Committed, TopicPartition
from tidings.runtime.marks import Marks
from tidings.store.base import SessionSegment
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentClosedRow, SegmentRow
from tidings.topics import MESSAGES_INBOUND, MESSAGES_PERSISTED, PERSISTER
from tidings.wire.inbound_pb2 import CloseSegment, Command


def closing(segment: int, last_seq: int) -> Command:
    asked = CloseSegment(segment=segment, last_seq=last_seq)
    return Command(stamps=stamps(), session_id=SESSION, close_segment=asked)


def directory(line: Scenario) -> dict[int, int | None]:
    """The last seq of each segment, None while it is open."""
    return {row.segment: row.last_seq for row in line.rows(SegmentRow)}


async def moved(line: Scenario, segment: int) -> None:
    """Every hot row of a segment is deleted, as the archiver does."""
    await MemoryArchiveTables(line.store).drop_messages(SessionSegment(SESSION, segment), None, 2**62)


@pytest.mark.promise("G3")
@scenario("persister", "fanout")
async def test_next_owner_continues_a_moved_session(line: Scenario) -> None:
    await line.stored(post("m1"), post("m2"), closing(1, 2))
    assert directory(line) == {1: 2}
    line.owners[0].kill()
    await moved(line, 1)
    line.store.calls.clear()
    line.start("persister")
    await line.stored(post("m3"), post("m4"))
    assert [(row.segment, row.seq, row.count) for row in line.rows(MessageRow)] == [(2, 3, 3), (2, 4, 4)]
    assert directory(line) == {1: 2, 2: None}
    assert line.store.calls["messages"] == line.store.calls["newest_messages"] == 0


@pytest.mark.promise("G2")
@scenario("persister", "fanout")
async def test_repeat_after_the_move_has_the_first_seq(line: Scenario) -> None:
    await line.stored(post("m1"), post("m2"), closing(1, 2))
    line.owners[0].kill()
    await moved(line, 1)
    line.start("persister")
    await line.stored(post("m2"))
    assert [ack.seq for ack in line.acks()] == [1, 2, 2]
    assert line.rows(MessageRow) == []


@pytest.mark.hazard("H3", "H38")
@scenario()
async def test_unconfirmed_closing_decides_nothing(line: Scenario) -> None:
    """The closing is stored, its round is not confirmed, and the next owner decides the round again."""
    first = line.start("persister")
    await line.stored(post("m0"))
    first.stop_before(produces_to(MESSAGES_PERSISTED))
    line.publish(post("m1"), closing(1, 2), post("m2"))
    await first.dies()
    assert directory(line) == {1: 2, 2: None}
    line.start("persister", "fanout")
    await line.checked(post("m3"))
    assert [(row.segment, row.seq) for row in line.rows(MessageRow)] == [(1, 1), (1, 2), (2, 3), (2, 4)]


@pytest.mark.hazard("H10")
@scenario()
async def test_closing_is_written_after_its_messages(line: Scenario) -> None:
    first = line.start("persister", stop_before=writes_of(SegmentClosedRow))
    line.publish(post("m1"), closing(1, 1), post("m2"))
    await first.stopped()
    assert [row.seq for row in line.rows(MessageRow)] == [1]
    first.kill()
    line.start("persister", "fanout")
    await line.checked()
    assert directory(line) == {1: 1, 2: None}


@scenario("persister", "fanout")
async def test_message_before_the_closing_keeps_it_open(line: Scenario) -> None:
    await line.stored(post("m1"))
    await line.checked(post("m2"), closing(1, 1), post("m3"))
    assert directory(line) == {1: None}


@scenario("persister", "fanout")
async def test_session_that_is_only_closed_does_not_begin(line: Scenario) -> None:
    await line.checked(closing(1, 1), post("m1"))
    assert [(row.segment, row.seq) for row in line.rows(MessageRow)] == [(1, 1)]


@pytest.mark.hazard("H38")
@scenario()
async def test_replay_below_a_move_stops_its_partition(line: Scenario) -> None:
    """No archiver moves what the persister has not confirmed. If an operator rewinds it, no seq is given twice."""
    first = line.start("persister")
    await line.stored(post("m0"), post("m1"), closing(1, 2))
    await moved(line, 1)
    first.kill()
    line.broker.group(PERSISTER).commits[TopicPartition(MESSAGES_INBOUND, 0)] = Committed(1, Marks().encoded())
    line.start("persister")
    await line.until(lambda: partitions_stopped("persister") == 1)
    assert line.rows(MessageRow) == []
