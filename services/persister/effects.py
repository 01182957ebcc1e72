"""Turns decisions into rows, records and answers. Pure.

The order of the writes is part of the promise. A directory row comes before the
first message of its segment. A segment's rows come before the next directory row.
A user's sent watermark comes before another user's message can hide the last own message.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from services.persister.decisions import (
    Accepted,
    Closed,
    Decision,
    LeftOpen,
    LeftOutIds,
    Rejected,
    Repeated,
    Unchanged,
)
from tidings import ids
from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.codec import COUNTABLE_KINDS
from tidings.runtime.ordered_writes import Mutation, OrderedWrites
from tidings.runtime.outbox import Outbox
from tidings.store.base import KeyBucket, TaggedRow
from tidings.store.media_rows import MediaRefRow
from tidings.store.rows import MODE_READ, MODE_WRITE, KeyRow, MessageRow, Row, SentRow
from tidings.store.segment_rows import SegmentByMonthRow, SegmentClosedRow, SegmentRow
from tidings.topics import MESSAGES_PERSISTED
from tidings.wire import common_pb2
from tidings.wire.common_pb2 import Coordinates, Message, Refusal
from tidings.wire.inbound_pb2 import Command
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.push_pb2 import LeftOut, Push, SendAck, SendError

# From the tables' number of a mode to the wire's.
_MODES = {0: common_pb2.MODE_UNSPECIFIED, MODE_WRITE: common_pb2.MODE_WRITE, MODE_READ: common_pb2.MODE_READ}


class _VersionsOf(NamedTuple):
    """The key under which the versions of a session are ordered. Its messages are ordered under the session_id."""

    session_id: str


_VERSIONS = Mutation("versions")


class _Placed(NamedTuple):
    """An accepted command with its record and epoch. Its rows and records are built from these."""

    accepted: Accepted
    command: Command
    record: Record
    epoch: int

    def row(self, row: Row) -> TaggedRow:
        """Tag a row with the command's source partition."""
        return TaggedRow(self.record.partition, row)


class Answer(NamedTuple):
    """An ack or a refusal for the gateway that the command came from."""

    session_id: str
    source_partition: int
    gateway: int
    push: Push


@dataclass(slots=True)
class Effects:
    """Everything that one round writes, emits and answers."""

    outbox: Outbox = field(default_factory=Outbox)
    answers: list[Answer] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    _writes: OrderedWrites = field(default_factory=OrderedWrites)
    _messages: list[tuple[str, Mutation, TaggedRow]] = field(default_factory=list)
    # The sent watermark of the newest countable message, by session and sender.
    _sent: dict[str, dict[str, TaggedRow]] = field(default_factory=dict)
    # Sessions whose messages in this round are not all countable, or not all of one sender.
    _mixed: set[str] = field(default_factory=set)

    def add(self, decision: Decision, command: Command, record: Record, epoch: int) -> None:
        """Add the rows, records and answer of one decided command."""
        if isinstance(decision, Accepted):
            self._add_rows(_Placed(decision, command, record, epoch))
        elif isinstance(decision, Closed):
            self._add_end(decision, command, record, epoch)
        self._add_answer(decision, command, record)
        self.outcomes.append(_outcome(decision))

    def ordered_writes(self) -> OrderedWrites:
        """All rows of the round. Call it after the last `add`.

        The versions of a group come before its messages. So a reader that finds the message which removes a user, or
        a later one, also finds the removal (G10). The persister ignores versions of a later offset by law 5
        (a replay ignores later rows). Sent watermarks also come first where another user's message can hide the last
        own message (G9, ADR 23). In a session with a single sender no other message can hide it.
        """
        self._write_sent()
        for session_id, mutation, row in self._messages:
            self._writes.start_after(session_id, _VersionsOf(session_id))
            self._writes.append_ordered(session_id, mutation, row)
        self._messages.clear()
        return self._writes

    def answers_after(self, wave: int) -> Sequence[Answer]:
        """The answers for sessions whose last rows are in this wave, in log order."""
        return [answer for answer in self.answers if self._writes.last_wave(answer.session_id) == wave]

    def _write_sent(self) -> None:
        for session_id, sent in self._sent.items():
            for row in sent.values():
                if session_id in self._mixed:
                    self._writes.append_ordered(_VersionsOf(session_id), _VERSIONS, row)
                else:
                    self._writes.append_unordered(row)
        self._sent.clear()

    def _add_end(self, closed: Closed, command: Command, record: Record, epoch: int) -> None:
        """Write the tail of a closed segment after its messages, and before the directory row of the next segment."""
        tail = (closed.last_seq, closed.last_count, closed.last_at)
        row = SegmentClosedRow(command.session_id, closed.segment, *tail, epoch, record.offset)
        mutation = Mutation("directory", closed.segment)
        self._messages.append((command.session_id, mutation, TaggedRow(record.partition, row)))

    def _add_rows(self, placed: _Placed) -> None:
        accepted, session_id, source_partition = placed.accepted, placed.command.session_id, placed.record.partition
        if accepted.opens_segment:
            for row in _directory(placed):
                self._messages.append((session_id, Mutation("directory", accepted.segment), placed.row(row)))
        message = (session_id, Mutation("rows", accepted.segment), placed.row(_message_row(placed)))
        self._messages.append(message)
        self._writes.append_unordered(placed.row(_key_row(placed)))
        for media_id in accepted.entry.media_ids:
            # A side row like the key: the ack waits for it (law 6), so an acked message never loses its upload.
            self._writes.append_unordered(placed.row(MediaRefRow(media_id, session_id, accepted.stored.seq)))
        self._add_versions(placed)
        self._add_sent(placed)
        target = TopicPartition(MESSAGES_PERSISTED, source_partition)
        self.outbox.add(source_partition, target, NewRecord(_persisted(placed).SerializeToString()))

    def _add_versions(self, placed: _Placed) -> None:
        """Member and group versions of a session share one mutation, because their tables share the partition key."""
        change = placed.accepted.entry.change
        for row in (*change.members, *((change.group,) if change.group else ())):
            self._writes.append_ordered(_VersionsOf(row.session_id), _VERSIONS, placed.row(row))

    def _add_sent(self, placed: _Placed) -> None:
        """A system message is not its sender's last own message (G9), but it can hide an earlier one."""
        accepted, session_id, sender_id = placed.accepted, placed.command.session_id, placed.command.sender_id
        sent = self._sent.setdefault(session_id, {})
        if accepted.entry.kind in COUNTABLE_KINDS:
            sent[sender_id] = placed.row(SentRow(session_id, sender_id, accepted.stored.seq, accepted.count))
        if accepted.entry.kind not in COUNTABLE_KINDS or len(sent) > 1:
            self._mixed.add(session_id)

    def _add_answer(self, decision: Decision, command: Command, record: Record) -> None:
        if not command.HasField("origin"):
            return
        push = Push(gateway_epoch=command.origin.gateway_epoch)
        if isinstance(decision, Rejected):
            push.send_error.CopyFrom(_send_error(decision, command))
        elif isinstance(decision, Unchanged):
            push.send_ack.CopyFrom(_nothing_ack(decision, command))
        elif isinstance(decision, Accepted | Repeated):
            push.send_ack.CopyFrom(_send_ack(decision, command))
        self.answers.append(Answer(command.session_id, record.partition, command.origin.gateway, push))


def _outcome(decision: Decision) -> str:
    if isinstance(decision, Rejected):
        return decision.code
    if isinstance(decision, Unchanged):
        return "unchanged"
    if isinstance(decision, Closed | LeftOpen):
        return "segment_closed" if isinstance(decision, Closed) else "segment_left_open"
    return "duplicate" if isinstance(decision, Repeated) else "stored"


def _directory(placed: _Placed) -> tuple[SegmentRow, SegmentByMonthRow]:
    accepted, command, record, epoch = placed
    session_id, segment, month = command.session_id, accepted.segment, accepted.month
    shard = ids.partition_of(session_id, command.stamps.month_shards)
    return (
        SegmentRow(session_id, segment, accepted.segment_first_seq, month, epoch, record.offset),
        SegmentByMonthRow(month, shard, session_id, segment),
    )


def _message_row(placed: _Placed) -> MessageRow:
    accepted, command, record, epoch = placed
    entry, stored = accepted.entry, accepted.stored
    return MessageRow(
        session_id=command.session_id,
        segment=accepted.segment,
        seq=stored.seq,
        message_id=stored.message_id,
        sender_id=command.sender_id,
        client_msg_id=command.client_msg_id,
        kind=entry.kind,
        body=entry.body,
        at=stored.at,
        count=accepted.count,
        log_epoch=epoch,
        log_offset=record.offset,
        reply_to=entry.reply_to or None,
        mentions=tuple(entry.mentions) or None,
    )


def _key_row(placed: _Placed) -> KeyRow:
    accepted, command, record, epoch = placed
    bucket, stored = KeyBucket.of(command.session_id, command.client_msg_id), accepted.stored
    return KeyRow(
        session_id=bucket.session_id,
        key_month=bucket.key_month,
        shard=bucket.shard,
        sender_id=command.sender_id,
        client_msg_id=command.client_msg_id,
        seq=stored.seq,
        message_id=stored.message_id,
        digest=stored.digest,
        at=stored.at,
        log_epoch=epoch,
        log_offset=record.offset,
    )


def _persisted(placed: _Placed) -> Persisted:
    accepted, command, record, epoch = placed
    entry, stored, change = accepted.entry, accepted.stored, accepted.entry.change
    message = Message(
        message_id=stored.message_id,
        session_id=command.session_id,
        seq=stored.seq,
        sender_id=command.sender_id,
        client_msg_id=command.client_msg_id,
        at_ms=stored.at,
        kind=entry.kind,
        body=entry.body,
        reply_to=entry.reply_to,
        mentions=entry.mentions,
        count=accepted.count,
    )
    return Persisted(
        source=Coordinates(epoch=epoch, partition=record.partition, offset=record.offset),
        stamps=command.stamps,
        message=message,
        mode=_MODES[change.mode],
        mode_from=_MODES[change.mode_from],
        mode_to=_MODES[change.mode_to],
        joined_ids=change.joined_ids,
        left_ids=change.left_ids,
        dissolves=change.dissolves,
        named_ids=change.named_ids,
    )


def _send_ack(decision: Accepted | Repeated, command: Command) -> SendAck:
    stored = decision.stored
    return SendAck(
        origin=command.origin,
        session_id=command.session_id,
        client_msg_id=command.client_msg_id,
        message_id=stored.message_id,
        seq=stored.seq,
        at_ms=stored.at,
        duplicate=isinstance(decision, Repeated),
        left_out=_left_out(decision.entry.change.left_out) if isinstance(decision, Accepted) else (),
    )


def _nothing_ack(decision: Unchanged, command: Command) -> SendAck:
    """An ack with seq 0: nothing was stored, so a repeat of the command is decided again."""
    return SendAck(
        origin=command.origin,
        session_id=command.session_id,
        client_msg_id=command.client_msg_id,
        left_out=_left_out(decision.left_out),
    )


def _left_out(users: LeftOutIds) -> list[LeftOut]:
    return [LeftOut(user_id=user_id, code=code) for user_id, code in users]


def _send_error(rejected: Rejected, command: Command) -> SendError:
    return SendError(
        origin=command.origin,
        session_id=command.session_id,
        client_msg_id=command.client_msg_id,
        refusal=Refusal(code=rejected.code, text=rejected.text),
    )
