"""Reads dead letters, explains them, and sends them again. Over the broker port."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError, Message

from tidings.broker.base import Admin, Broker, NewRecord, Reader, Record, TopicPartition
from tidings.errors import ConfigurationError
from tidings.runtime.start import started
from tidings.topics import DEAD_LETTERS, GROUPS, MESSAGES_INBOUND, RECEIPTS_INBOUND
from tidings.wire.dead_letters_pb2 import DeadLetter
from tidings.wire.inbound_pb2 import Command
from tidings.wire.receipts_pb2 import Receipt

KINDS: dict[str, type[Message]] = {MESSAGES_INBOUND: Command, RECEIPTS_INBOUND: Receipt}
PER_PARTITION = 1_000  # the newest of each partition are listed; older ones can be read by name
POLL_MS = 200
POLLS = 50  # in a row without a record: 10 s
HEX_BYTES_A_LINE = 16
ACCEPTED = "it was accepted"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter and its place on `dead-letters`. `copies` may be above 1, as a repeated round writes it again."""

    partition: int
    offset: int
    content: DeadLetter
    copies: int = 1

    @property
    def name(self) -> str:
        """The name of the letter in the verbs."""
        return f"{self.partition}/{self.offset}"

    @property
    def source(self) -> tuple[str, int, int, int]:
        """The original record: topic, epoch, partition, offset. It is the same in every copy of a letter."""
        return self.content.topic, self.content.epoch, self.content.partition, self.content.offset


async def newest_letters(broker: Broker, partitions: int) -> Sequence[Letter]:
    """Up to 1,000 letters of each partition, by the time of their records. Copies of a letter are counted as one.

    Raises BrokerUnavailable.
    """
    reader = broker.reader("tidings-dlq")
    async with started(reader):
        names = [TopicPartition(DEAD_LETTERS, number) for number in range(partitions)]
        first, end = await reader.beginning_offsets(names), await reader.end_offsets(names)
        wanted = {name: max(first[name], end[name] - PER_PARTITION) for name in names if end[name] > first[name]}
        records = await _read(reader, wanted, {name: end[name] for name in wanted})
    letters: dict[tuple[str, int, int, int], Letter] = {}
    for record in records:
        letter = _letter(record)
        first_copy = letters.get(letter.source)
        letters[letter.source] = replace(first_copy, copies=first_copy.copies + 1) if first_copy else letter
    return sorted(letters.values(), key=lambda letter: letter.content.at_ms)


async def letter_at(broker: Broker, partition: int, offset: int) -> Letter:
    """The letter at a place. Raises ConfigurationError if there is none."""
    reader = broker.reader("tidings-dlq")
    name = TopicPartition(DEAD_LETTERS, partition)
    async with started(reader):
        first, end = (await reader.beginning_offsets([name]))[name], (await reader.end_offsets([name]))[name]
        records = await _read(reader, {name: offset}, {name: offset + 1}) if first <= offset < end else []
    for record in records:
        if record.offset == offset:
            return _letter(record)
    raise ConfigurationError(f"there is no dead letter {partition}/{offset}; `tidings dlq list` shows what there is")


async def _read(reader: Reader, start: dict[TopicPartition, int], end: dict[TopicPartition, int]) -> Sequence[Record]:
    """All records from `start` up to `end`. Returns after 10 s without a record."""
    found: list[Record] = []
    reader.assign(start)
    quiet = 0
    while quiet < POLLS and any(reader.position(name) < end[name] for name in start):
        records = await reader.poll(500, POLL_MS)
        quiet = 0 if records else quiet + 1
        found.extend(
            record for record in records if record.offset < end[TopicPartition(record.topic, record.partition)]
        )
    return found


def _letter(record: Record) -> Letter:
    try:
        return Letter(record.partition, record.offset, DeadLetter.FromString(record.value or b""))
    except DecodeError:
        # The record is foreign or of a later version. It is shown and not hidden.
        unreadable = DeadLetter(
            topic=DEAD_LETTERS,
            partition=record.partition,
            offset=record.offset,
            reason="this record of dead-letters is itself not readable",
            value=record.value or b"",
            at_ms=record.at_ms,
        )
        return Letter(record.partition, record.offset, unreadable)


def explained(letter: Letter) -> Iterator[str]:
    """A letter as lines: coordinates, reason, the bytes, and their decoded content."""
    content = letter.content
    yield f"record   {content.topic} partition {content.partition} offset {content.offset}, epoch {content.epoch}"
    yield f"reason   {content.reason}"
    yield f"key      {content.key!r}"
    yield f"value    {len(content.value)} bytes"
    yield from _hex_lines(content.value)
    yield from _decoded(content)


def _hex_lines(value: bytes) -> Iterator[str]:
    for start in range(0, len(value), HEX_BYTES_A_LINE):
        part = value[start : start + HEX_BYTES_A_LINE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"  {start:06x}  {part.hex(' '):<{3 * HEX_BYTES_A_LINE}} {text}"


def _decoded(content: DeadLetter) -> Iterator[str]:
    kind = KINDS.get(content.topic)
    if kind is None:
        return
    try:
        message = kind.FromString(content.value)
    except DecodeError:
        yield f"not readable as {kind.DESCRIPTOR.name}"
        return
    yield f"read as {kind.DESCRIPTOR.name}:"
    for line in str(message).splitlines():
        yield f"  {line}"


async def replay(broker: Broker, letter: Letter) -> int:
    """Append the original bytes to the partition that they came from. Returns their new offset.

    Raises ConfigurationError for a letter from a topic that has no dead letters.
    """
    content = letter.content
    if content.topic not in KINDS:
        raise ConfigurationError(f"{letter.name} came from {content.topic!r}, which is not sent again")
    producer = broker.producer("tidings-dlq")
    async with started(producer):
        record = NewRecord(content.value, content.key or None)
        return await producer.produce(content.topic, content.partition, [record])


async def outcome(broker: Broker, source: TopicPartition, offset: int, partitions: int) -> str:
    """The outcome of a record that was sent again, when its consumer group has passed it, or after 10 s."""
    admin = broker.admin()
    async with started(admin):
        is_passed = await _passed(admin, source, offset)
    if not is_passed:
        return "its service has not read it yet; `make status` shows whether the service runs"
    for letter in await newest_letters(broker, partitions):
        if letter.source[0] == source.topic and letter.source[2:] == (source.partition, offset):
            return f"put aside again, as {letter.name}: {letter.content.reason}"
    return ACCEPTED


async def _passed(admin: Admin, source: TopicPartition, offset: int) -> bool:
    group = next(group for group in GROUPS if source.topic in group.topics)
    for _ in range(POLLS):
        committed = (await admin.committed(group, [source])).get(source)
        if committed is not None and committed.offset > offset:
            return True
        await asyncio.sleep(POLL_MS / 1000)
    return False
