"""From what an operator has to the stored message: by its id, its place, or its sender's id of it.

All calls raise StoreUnavailable. A log that does not answer makes its facts unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tidings import ids
from tidings.broker.base import Record, TopicPartition
from tidings.codec import decode_command
from tidings.errors import BrokerUnavailable, ColdUnavailable, PoisonRecord, UnknownRules
from tidings.store import history, session_tails
from tidings.store.base import ColdRows, KeyBucket, SessionSegment, Store
from tidings.store.directory import FIRST_ROWS, segments_down_to
from tidings.store.rows import KeyRow, MessageRow
from tidings.store.segment_rows import SegmentRow
from tidings.topics import MESSAGES_INBOUND, PERSISTER
from tidings.tracing.lines import (
    TTL,
    Line,
    Outcome,
    Trace,
    ended,
    first_few,
    kept_by,
    log_fact,
    progress,
    stored_fact,
    unknown,
)
from tidings.tracing.log_view import LogView
from tidings.tracing.subjects import ByKey, ByMessageId, ByPlace, Subject
from tidings.wire.inbound_pb2 import Command

# Of the sender, when its message is searched for without a session. Each is one small read.
_MOST_SESSIONS = 1_000
# Unconfirmed commands that are searched. More of them are an outage, in which a trace waits like everything else.
_MOST_WAITING = 2_000
_OTHER_WAYS = "name it by session and seq, or by sender and client_msg_id"


@dataclass(frozen=True, slots=True)
class Found:
    """A message that has a seq. `message` is None if it cannot be read, and `problem` says why.

    `is_hot`: its row is in the tables, perhaps next to its object. `record`: its command, if a trace has read it.
    `notes`: lines that say how it was found.
    """

    session_id: str
    seq: int
    segment: SegmentRow
    message: MessageRow | None
    problem: str
    is_hot: bool
    record: Record | None
    notes: Sequence[Line]


class Finder:
    """Finds one message over the tables and the log."""

    def __init__(self, store: Store, log: LogView, cold: ColdRows | None) -> None:
        """`cold`: reads archived messages; without it their content is unknown."""
        self._store = store
        self._log = log
        self._cold = cold

    async def find(self, subject: Subject) -> Found | Trace:
        """The message, or a trace that ends with the reason why there is none."""
        match subject:
            case ByMessageId(message_id):
                return await self._by_message_id(message_id)
            case ByPlace(session_id, seq):
                return await self._at(session_id, seq)
            case _:
                return await self._by_key(subject)

    # -- by place ----------------------------------------------------------------------------------

    async def _at(self, session_id: str, seq: int, record: Record | None = None, *notes: Line) -> Found | Trace:
        newest = (await self._store.segments([session_id], FIRST_ROWS)).get(session_id, ())
        head = (await session_tails.heads(self._store, [session_id])).get(session_id)
        if head is None:
            return ended(Outcome.NOT_FOUND, *notes, stored_fact("stored", f"{session_id} has no messages"))
        if seq > head.seq:
            text = f"{session_id} ends at seq {head.seq}; commands that wait for the persister have no seq yet"
            return ended(Outcome.NOT_FOUND, *notes, stored_fact("stored", text))
        directory = await segments_down_to(self._store, newest, seq, lambda row: row.first_seq <= seq)
        segment = [row for row in directory if row.first_seq <= seq][-1]
        if seq <= (segment.purged_seq or 0):
            text = f"removed for good: messages up to seq {segment.purged_seq} reached the end of their life"
            return ended(Outcome.NOT_FOUND, *notes, stored_fact("stored", text, place=session_id))
        hot = await self._store.messages(SessionSegment(session_id, segment.segment), seq, seq)
        message, problem = hot[0] if hot else None, ""
        if message is None:
            found, failed = await history.readable_rows_at(self._store, {session_id: [seq]}, self._cold)
            message = found.get((session_id, seq))
            problem = _problem(failed.get(session_id)) if message is None else ""
        if message is None and segment.cold is None and not problem:
            text = f"LOST: seq {seq} is below the head, {head.seq}, and no replica has its row; see the runbook"
            return ended(Outcome.NOT_FOUND, *notes, stored_fact("stored", text, place=session_id))
        return Found(session_id, seq, segment, message, problem, bool(hot), record, notes)

    # -- by message id -----------------------------------------------------------------------------

    async def _by_message_id(self, message_id: int) -> Found | Trace:
        epoch, partition, offset = ids.split_message_id(message_id)
        name = TopicPartition(MESSAGES_INBOUND, partition)
        refusal = self._impossible(epoch, partition)
        if refusal is not None:
            return refusal
        try:
            record, confirmed = await self._record(name, offset)
        except BrokerUnavailable as error:
            return ended(Outcome.UNKNOWN, unknown("received", f"Kafka does not answer: {error}; {_OTHER_WAYS}"))
        if isinstance(record, Trace):
            return record
        try:
            command = decode_command(record.value)
        except PoisonRecord as error:
            text = f"no message: the command cannot be decoded ({error}); `tidings dlq list` has it once it is decided"
            return ended(Outcome.NOT_FOUND, _received(record, text, epoch))
        except UnknownRules as error:
            text = f"the partition stops at this command: {error}"
            return ended(Outcome.WAITING, _received(record, text, epoch))
        return await self._of_command(message_id, record, command, confirmed)

    def _impossible(self, epoch: int, partition: int) -> Trace | None:
        """The answer for an id that this deployment cannot have given, or of which no topic has a record any more."""
        if epoch > self._log.epoch:
            text = f"the id is of epoch {epoch}, and this deployment is at epoch {self._log.epoch}"
            return ended(Outcome.NOT_FOUND, unknown("received", text))
        if epoch < self._log.epoch:
            text = f"the id is of epoch {epoch}, whose topics are gone; no table is by message_id: {_OTHER_WAYS}"
            return ended(Outcome.UNKNOWN, unknown("received", text))
        if partition >= self._log.sizes.session_partitions:
            text = f"{MESSAGES_INBOUND} has no partition {partition}, so no message has this id"
            return ended(Outcome.NOT_FOUND, unknown("received", text))
        return None

    async def _record(self, name: TopicPartition, offset: int) -> tuple[Record | Trace, int | None]:
        """The command at an offset, and the first offset that the persister has not confirmed, read before it.

        A later read of the tables therefore sees whatever a confirmed command has stored.
        """
        place = f"{name.topic} partition {name.partition} offset {offset}"
        commits = await self._log.committed(PERSISTER, [name])
        confirmed = commits[name].offset if name in commits else None
        first, end = await self._log.bounds(name)
        if offset >= end:
            text = f"no command has this id: the partition ends at offset {end}"
            return ended(Outcome.NOT_FOUND, log_fact("received", text, name.topic, place=place)), confirmed
        record = await self._log.record(name, offset) if offset >= first else None
        if record is None:
            text = f"the topic keeps {kept_by(name.topic)}, and no table is by message_id: {_OTHER_WAYS}"
            return ended(Outcome.UNKNOWN, unknown("received", text, place=place)), confirmed
        return record, confirmed

    async def _of_command(
        self, message_id: int, record: Record, command: Command, confirmed: int | None
    ) -> Found | Trace:
        epoch = self._log.epoch
        if command.HasField("close_segment"):
            text = "no message: the archiver asked for the end of a quiet session's segment"
            return ended(Outcome.NOT_FOUND, _received(record, text, epoch))
        key = await self._key(command.session_id, command.sender_id, command.client_msg_id)
        if key is None:
            return self._undecided(record, command, confirmed)
        if key.message_id == message_id:
            return await self._at(command.session_id, key.seq, record)
        earlier = f"message {key.message_id}, seq {key.seq} of {command.session_id}"
        if key.digest != command.digest:
            text = f"no message: its client_msg_id is that of {earlier}, with other content (conflict)"
            return ended(Outcome.NOT_FOUND, _received(record, text, epoch))
        note = _received(record, f"a repeat, which was answered with {earlier}; that one follows", epoch)
        return await self._at(command.session_id, key.seq, None, note)

    def _undecided(self, record: Record, command: Command, confirmed: int | None) -> Trace:
        """The answer for a command without a key row."""
        what = f"{command.WhichOneof('action')} of {command.sender_id} in {command.session_id}"
        received = _received(record, what, self._log.epoch)
        if confirmed is None:
            why = "the persister has no commit for this partition; run `tidings init`"
            return ended(Outcome.UNKNOWN, received, unknown("persister", why))
        if record.offset >= confirmed:
            text = f"not confirmed: the persister stands at offset {confirmed}, {record.offset - confirmed} before it"
            return ended(Outcome.WAITING, received, progress("persister", text))
        text = (
            f"no message: the persister, now at offset {confirmed}, has decided it and stored nothing."
            " It was refused or changed nothing, and only the gateway got the answer"
        )
        return ended(Outcome.NOT_FOUND, received, progress("persister", text))

    # -- by key ------------------------------------------------------------------------------------

    async def _by_key(self, subject: ByKey) -> Found | Trace:
        sender_id, client_msg_id = subject.sender_id, subject.client_msg_id
        sessions = [subject.session_id]
        if not subject.session_id:
            rows = await self._store.user_sessions(sender_id)
            sessions = [row.session_id for row in rows[:_MOST_SESSIONS]]
        buckets = {KeyBucket.of(session_id, client_msg_id): [(sender_id, client_msg_id)] for session_id in sessions}
        keys = sorted(await self._store.keys(buckets), key=lambda row: row.at) if buckets else []
        if not keys:
            return await self._waiting(subject, len(sessions))
        others = [f"{row.session_id} seq {row.seq}" for row in keys[1:]]
        notes = [stored_fact("key", f"the same id is also in {first_few(others, 3)}", kept=TTL)] if others else []
        return await self._at(keys[0].session_id, keys[0].seq, None, *notes)

    async def _waiting(self, subject: ByKey, searched: int) -> Trace:
        """The answer for an id without a key row: it may wait in the log.

        Without a session the search is not complete, because fanout lists the sessions of a user after the message.
        """
        count = self._log.sizes.session_partitions
        partitions = [ids.partition_of(subject.session_id, count)] if subject.session_id else range(count)
        where = subject.session_id or f"{searched} sessions of the sender; a new session may not be listed yet: name it"
        missing = stored_fact("key", f"no message with this client_msg_id in {where}", kept=TTL)
        try:
            records, is_all = await self._log.unconfirmed(partitions, _MOST_WAITING)
        except BrokerUnavailable as error:
            return ended(Outcome.UNKNOWN, missing, unknown("received", f"Kafka does not answer: {error}"))
        for record in records:
            if _is_of(record, subject):
                text = "received, and not confirmed by the persister"
                return ended(Outcome.WAITING, missing, _received(record, text, self._log.epoch))
        text = f"not among {len(records)} commands that wait for the persister; a refused command leaves no row"
        line = log_fact("received", text, MESSAGES_INBOUND)
        return ended(Outcome.NOT_FOUND if is_all and subject.session_id else Outcome.UNKNOWN, missing, line)

    async def _key(self, session_id: str, sender_id: str, client_msg_id: str) -> KeyRow | None:
        rows = await self._store.keys({KeyBucket.of(session_id, client_msg_id): [(sender_id, client_msg_id)]})
        return rows[0] if rows else None


def _problem(failed: ColdUnavailable | None) -> str:
    return str(failed) if failed is not None else ""


def _is_of(record: Record, subject: ByKey) -> bool:
    try:
        command = decode_command(record.value)
    except (PoisonRecord, UnknownRules):
        return False
    return (command.sender_id, command.client_msg_id) == (subject.sender_id, subject.client_msg_id) and (
        not subject.session_id or command.session_id == subject.session_id
    )


def _received(record: Record, text: str, epoch: int) -> Line:
    place = f"{record.topic} partition {record.partition} offset {record.offset}, epoch {epoch}"
    return log_fact("received", text, record.topic, place=place, at_ms=record.at_ms)
