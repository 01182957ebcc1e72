"""From decisions to rows, records and answers. Pure.

The order in which rows are written is part of the promise: directory before
the first message of a segment, a segment's rows before the next directory row,
and a user's own last message as a watermark before another's message can hide it.
"""

from dataclasses import dataclass, field

from services.persister.decisions import Accepted, Decision, LeftOutIds, Rejected, Repeated, Unchanged
from services.persister.sequence import decide
from services.persister.state import Draft, key_bucket
from tidings import ids
from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.codec import COUNTABLE_KINDS
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.outbox import Outbox
from tidings.store.base import TaggedRow
from tidings.store.rows import (
    MODE_READ,
    MODE_WRITE,
    KeyRow,
    MessageRow,
    SegmentByMonthRow,
    SegmentRow,
    SentRow,
)
from tidings.topics import MESSAGES_PERSISTED
from tidings.wire import common_pb2
from tidings.wire.common_pb2 import Coordinates, Message, Refusal
from tidings.wire.inbound_pb2 import Command
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.push_pb2 import LeftOut, Push, SendAck, SendError

# A mode as the tables number it, and as the wire does.
_MODES = {0: common_pb2.MODE_UNSPECIFIED, MODE_WRITE: common_pb2.MODE_WRITE, MODE_READ: common_pb2.MODE_READ}


@dataclass(slots=True)
class Effects:
    """All that one round asks for."""

    outbox: Outbox = field(default_factory=Outbox)
    answers: list[tuple[int, int, Push]] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    _writes: OrderedWrites = field(default_factory=OrderedWrites)
    _messages: list[tuple[str, tuple[str, int], TaggedRow]] = field(default_factory=list)
    # By session and sender, the newest countable message of each.
    _sent: dict[str, dict[str, TaggedRow]] = field(default_factory=dict)
    # Sessions in which the round has other messages than countable ones of a single sender.
    _mixed: set[str] = field(default_factory=set)

    def in_order(self) -> OrderedWrites:
        """All rows of the round.

        The versions of a group come before its messages: whoever can read a message that removes somebody, or one
        after it, finds the removal in the tables too (G10). Law 5 makes those of the future harmless to who decides.
        So do the sent watermarks where a message of another can hide the own last one (G9; ADR 23). Of a single
        sender every message is the own last one for as long as it is the head.
        """
        self._write_sent()
        for session_id, mutation, row in self._messages:
            self._writes.follow(session_id, ("versions", session_id))
            self._writes.then(session_id, mutation, row)
        self._messages.clear()
        return self._writes

    def _write_sent(self) -> None:
        for session_id, sent in self._sent.items():
            for row in sent.values():
                if session_id in self._mixed:
                    self._writes.then(("versions", session_id), "versions", row)
                else:
                    self._writes.beside(row)
        self._sent.clear()

    def take(self, draft: Draft, command: Command, record: Record, epoch: int) -> None:
        """Decide one command and add what follows from it."""
        decision = decide(draft, command, record, epoch)
        if isinstance(decision, Accepted):
            self._store(decision, command, record, epoch)
        self._answer(decision, command, record)
        self.outcomes.append(_outcome(decision))

    def _store(self, accepted: Accepted, command: Command, record: Record, epoch: int) -> None:
        tag, session_id = record.partition, command.session_id
        if accepted.opens_segment:
            for row in _directory(accepted, command, record, epoch):
                self._messages.append((session_id, ("directory", accepted.segment), TaggedRow(tag, row)))
        message = TaggedRow(tag, _message_row(accepted, command, record, epoch))
        self._messages.append((session_id, ("messages", accepted.segment), message))
        self._writes.beside(TaggedRow(tag, _key_row(accepted, command, record, epoch)))
        self._store_versions(accepted, tag)
        self._note_sent(accepted, command, tag)
        persisted = _persisted(accepted, command, record, epoch)
        target = TopicPartition(MESSAGES_PERSISTED, record.partition)
        self.outbox.add(tag, target, NewRecord(persisted.SerializeToString()))

    def _store_versions(self, accepted: Accepted, tag: int) -> None:
        """Both tables make one mutation a session."""
        change = accepted.entry.change
        for row in (*change.members, *((change.group,) if change.group else ())):
            self._writes.then(("versions", row.session_id), "versions", TaggedRow(tag, row))

    def _note_sent(self, accepted: Accepted, command: Command, tag: int) -> None:
        """System messages are nobody's own last one (G9), but hide the one before."""
        session_id, sender_id = command.session_id, command.sender_id
        sent = self._sent.setdefault(session_id, {})
        if accepted.entry.kind in COUNTABLE_KINDS:
            sent[sender_id] = TaggedRow(tag, SentRow(session_id, sender_id, accepted.stored.seq, accepted.count))
        if accepted.entry.kind not in COUNTABLE_KINDS or len(sent) > 1:
            self._mixed.add(session_id)

    def _answer(self, decision: Decision, command: Command, record: Record) -> None:
        if not command.HasField("origin"):
            return
        push = Push(gateway_epoch=command.origin.gateway_epoch)
        if isinstance(decision, Rejected):
            push.send_error.CopyFrom(_send_error(decision, command))
        elif isinstance(decision, Unchanged):
            push.send_ack.CopyFrom(_nothing_ack(decision, command))
        else:
            push.send_ack.CopyFrom(_send_ack(decision, command))
        self.answers.append((record.partition, command.origin.gateway, push))


def _outcome(decision: Decision) -> str:
    if isinstance(decision, Rejected):
        return decision.code
    if isinstance(decision, Unchanged):
        return "unchanged"
    return "duplicate" if isinstance(decision, Repeated) else "stored"


def _directory(
    accepted: Accepted, command: Command, record: Record, epoch: int
) -> tuple[SegmentRow, SegmentByMonthRow]:
    session_id, segment, month = command.session_id, accepted.segment, accepted.month
    shard = ids.partition_of(session_id, command.stamps.month_shards)
    return (
        SegmentRow(session_id, segment, accepted.segment_first_seq, month, epoch, record.offset),
        SegmentByMonthRow(month, shard, session_id, segment),
    )


def _message_row(accepted: Accepted, command: Command, record: Record, epoch: int) -> MessageRow:
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


def _key_row(accepted: Accepted, command: Command, record: Record, epoch: int) -> KeyRow:
    bucket, stored = key_bucket(command.session_id, command.client_msg_id), accepted.stored
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


def _persisted(accepted: Accepted, command: Command, record: Record, epoch: int) -> Persisted:
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
    """seq 0: nothing was stored, and the same command is decided anew when it comes again."""
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
