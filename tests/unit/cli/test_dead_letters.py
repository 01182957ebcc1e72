"""Dead letters over the memory broker: what is listed, shown and sent again."""

import asyncio

import pytest

from cli import dead_letters
from cli.dead_letters import Letter, explained, letter_at, newest_letters, outcome, replay
from tidings.broker.base import Committed, NewRecord, TopicPartition
from tidings.broker.memory import MemoryBroker
from tidings.errors import ConfigurationError
from tidings.runtime.initialise import initialise
from tidings.runtime.marks import Marks
from tidings.topics import DEAD_LETTERS, MESSAGES_INBOUND, PERSISTER, TopicSizes
from tidings.wire.dead_letters_pb2 import DeadLetter
from tidings.wire.inbound_pb2 import Command, Post

SIZES = TopicSizes(2, 2, 2)
INBOUND = TopicPartition(MESSAGES_INBOUND, 1)


def dead(offset: int, value: bytes = b"\xff\x00poison", topic: str = MESSAGES_INBOUND, at_ms: int = 5) -> DeadLetter:
    return DeadLetter(
        topic=topic, epoch=0, partition=1, offset=offset, reason="not readable", key=b"k", value=value, at_ms=at_ms
    )


async def broker_with(*letters: DeadLetter | bytes) -> MemoryBroker:
    broker = MemoryBroker()
    await initialise(broker.admin(), SIZES, 1)
    producer = broker.producer("test")
    for letter in letters:
        value = letter if isinstance(letter, bytes) else letter.SerializeToString()
        await producer.produce(DEAD_LETTERS, 1, [NewRecord(value)])
    return broker


async def test_letters_are_listed_by_time_and_copies_are_counted() -> None:
    broker = await broker_with(dead(7, at_ms=20), dead(3, at_ms=10), dead(7, at_ms=20))
    letters = await newest_letters(broker, SIZES.session_partitions)
    found = [(letter.name, letter.content.offset, letter.copies) for letter in letters]
    assert found == [("1/1", 3, 1), ("1/0", 7, 2)]


async def test_a_record_that_is_no_letter_is_shown_rather_than_hidden() -> None:
    broker = await broker_with(b"\xff\xff\xff")
    (letter,) = await newest_letters(broker, SIZES.session_partitions)
    assert "itself not readable" in letter.content.reason
    with pytest.raises(ConfigurationError, match="not sent again"):
        await replay(broker, letter)


async def test_a_place_without_a_letter_is_refused_with_a_hint() -> None:
    broker = await broker_with(dead(3))
    assert (await letter_at(broker, 1, 0)).content.offset == 3
    with pytest.raises(ConfigurationError, match="no dead letter 1/1; `tidings dlq list`"):
        await letter_at(broker, 1, 1)


def test_a_letter_is_shown_decoded_or_in_bytes() -> None:
    command = Command(session_id="d:a:b", post=Post(body=b"\x1b[2J"))
    lines = list(explained(Letter(1, 0, dead(3, command.SerializeToString()))))
    assert "record   messages.inbound partition 1 offset 3, epoch 0" in lines
    assert '  session_id: "d:a:b"' in lines
    assert not any("\x1b" in line for line in lines)
    broken = list(explained(Letter(1, 0, dead(3))))
    assert broken[-1] == "not readable as Command"
    assert any(line.startswith("  000000  ff 00 70 6f") and line.endswith("..poison") for line in broken)


async def test_a_replay_appends_the_original_bytes_to_their_partition() -> None:
    broker = await broker_with(dead(3))
    offset = await replay(broker, await letter_at(broker, 1, 0))
    (record,) = broker.records(MESSAGES_INBOUND)
    assert (record.partition, record.offset, record.key, record.value) == (1, offset, b"k", b"\xff\x00poison")


async def test_outcome_of_a_replay_is_printed() -> None:
    broker = await broker_with(dead(3))
    broker.group(PERSISTER).commits[INBOUND] = Committed(9, Marks().encoded())
    assert await outcome(broker, INBOUND, 8, SIZES.session_partitions) == "it was accepted"
    await broker.producer("persister").produce(DEAD_LETTERS, 1, [NewRecord(dead(8).SerializeToString())])
    text = await outcome(broker, INBOUND, 8, SIZES.session_partitions)
    assert text == "put aside again, as 1/1: not readable"


async def test_unread_replay_is_reported_after_a_bounded_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "POLL_MS", 0)
    broker = await broker_with(dead(3))
    async with asyncio.timeout(10):
        assert "its service has not read it yet" in await outcome(broker, INBOUND, 0, SIZES.session_partitions)
