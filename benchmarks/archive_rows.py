"""Fills the tables for the archive benchmark.

The rows are written with `Store.write`, not through Kafka, because a million messages through the persister would take
a quarter of an hour. Each has the columns that the persister writes. They are of epoch 0, and the stack runs with epoch
1, so all of them are confirmed.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from cli.seeding.words import text
from services.gateway.protocol.group_commands import made_client_msg_id
from tidings import ids
from tidings.codec import KINDS
from tidings.store.base import Store, TaggedRow
from tidings.store.rows import MessageRow, Row
from tidings.store.segment_rows import MOST_MESSAGES, SegmentByMonthRow, SegmentRow

SEGMENT_ROWS = MOST_MESSAGES
_SHARDS = 16
_REPLY_SHARE = 0.05
_REPLY_BACK = 20
# Between two messages of a session, the partition of the log has messages of other sessions.
_OFFSETS_APART = 200
# One mutation. Some at a time keep Cassandra busy while the next rows are drawn.
_CALL_ROWS = 500
_CALLS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Part:
    """So many messages of one month, in segments of 10,000, the last of which may have fewer."""

    month: int
    messages: int


@dataclass(frozen=True, slots=True)
class FilledSession:
    """A direct session of two users, with messages 1 to `messages`."""

    session_id: str
    users: tuple[str, str]
    parts: tuple[Part, ...]

    @property
    def messages(self) -> int:
        """Its newest seq."""
        return sum(part.messages for part in self.parts)


def session(name: str, *parts: Part, shard: int | None = None) -> FilledSession:
    """A session with a name that no other one has. `shard`: the part of the archiver's index that lists it."""
    for number in itertools.count():
        users = (f"{name}-{number}-a", f"{name}-{number}-b")
        session_id = ids.direct_session(*users)
        if shard is None or ids.partition_of(session_id, _SHARDS) == shard:
            return FilledSession(session_id, users, parts)
    raise AssertionError("unreachable")


async def fill(store: Store, sessions: Sequence[FilledSession]) -> int:
    """Write all rows. Returns the number of messages. Raises RuntimeError if a row is not confirmed."""
    calls = _calls(sessions)
    await asyncio.gather(*(_write(store, calls) for _ in range(_CALLS_AT_ONCE)))
    return sum(one.messages for one in sessions)


async def _write(store: Store, calls: Iterator[list[TaggedRow]]) -> None:
    for rows in calls:
        if await store.write(rows):
            raise RuntimeError("rows of the fixture were not confirmed")


def _calls(sessions: Sequence[FilledSession]) -> Iterator[list[TaggedRow]]:
    rows: list[TaggedRow] = []
    for one in sessions:
        for row in _rows_of(one):
            rows.append(TaggedRow(0, row))
            if len(rows) == _CALL_ROWS:
                yield rows
                rows = []
    yield rows


def _rows_of(one: FilledSession) -> Iterator[Row]:
    draw = random.Random(one.session_id)
    segment = last_seq = offset = 0
    for part in one.parts:
        step_ms = (ids.month_end_ms(part.month) - ids.month_begin_ms(part.month)) // (part.messages + 1)
        for number in range(part.messages):
            offset += draw.randint(1, _OFFSETS_APART)
            seq = last_seq + number + 1
            if number % SEGMENT_ROWS == 0:
                segment += 1
                yield SegmentRow(one.session_id, segment, seq, part.month, 0, offset)
                shard = ids.partition_of(one.session_id, _SHARDS)
                yield SegmentByMonthRow(part.month, shard, one.session_id, segment)
            at_ms = ids.month_begin_ms(part.month) + number * step_ms + draw.randrange(max(1, step_ms))
            yield _message(draw, one, (segment, seq, offset), at_ms)
        last_seq += part.messages


def _message(draw: random.Random, one: FilledSession, place: tuple[int, int, int], at_ms: int) -> MessageRow:
    segment, seq, offset = place
    is_reply = seq > _REPLY_BACK and draw.random() < _REPLY_SHARE
    return MessageRow(
        session_id=one.session_id,
        segment=segment,
        seq=seq,
        message_id=ids.message_id(0, 0, offset),
        sender_id=draw.choice(one.users),
        client_msg_id=made_client_msg_id(at_ms - draw.randint(5, 250), draw.randbytes(10)),
        kind=KINDS["text"],
        body=orjson.dumps({"text": text(draw)}),
        at=at_ms,
        count=seq,
        log_epoch=0,
        log_offset=offset,
        reply_to=seq - draw.randint(1, _REPLY_BACK) if is_reply else None,
    )
