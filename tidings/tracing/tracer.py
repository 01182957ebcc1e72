"""The stages of one message, from the gateway to its readers. Reads only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from tidings import ids
from tidings.broker.base import Record, TopicPartition
from tidings.errors import BrokerUnavailable
from tidings.store.base import ColdRows, KeyBucket, Store
from tidings.store.rows import InboxRow, MessageRow, ReceiptRow
from tidings.topics import (
    DELIVER,
    DELIVERIES,
    EXPAND,
    MESSAGES_INBOUND,
    MESSAGES_PERSISTED,
    PERSISTER,
    PUSH,
    RECEIPTS,
    RECEIPTS_INBOUND,
)
from tidings.tracing.audience import Audience, audience_of
from tidings.tracing.finding import Finder, Found
from tidings.tracing.inbox_search import Missing, inbox_row
from tidings.tracing.lines import (
    TTL,
    Line,
    Outcome,
    Trace,
    first_few,
    kept_by,
    log_fact,
    progress,
    stored_fact,
    unknown,
)
from tidings.tracing.log_view import LogView
from tidings.tracing.subjects import Subject
from tidings.wire.common_pb2 import Coordinates
from tidings.wire.inbound_pb2 import Command

SHOWN = 10
# Of one group, in one trace: those of 20,000 members, and of former ones.
_MOST_WATERMARKS = 30_000
_PAGE_WATERMARKS = 1_000
# `at` is never more than the bound of a client_msg_id's time above the time of the delivery (ARCHITECTURE, Identity).
_AT_EARLY_MS = 10 * 60_000
# Between the clocks of two brokers.
_CLOCKS_MS = 10_000
_MEDIA = re.compile(rb"/v1/media/([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class _Place:
    """A message that was read, and the coordinates of its command."""

    message: MessageRow
    source: Coordinates
    record: Record | None


class Tracer:
    """Follows messages over the tables and the log."""

    def __init__(self, store: Store, log: LogView, cold: ColdRows | None = None) -> None:
        """`cold`: reads archived messages; without it their content is unknown."""
        self._store = store
        self._log = log
        self._finder = Finder(store, log, cold)

    async def trace(self, subject: Subject, recipient: str = "") -> Trace:
        """All stages of the message. With `recipient` the later ones are about this user alone.

        Raises StoreUnavailable. A log that does not answer makes single lines unknown.
        """
        found = await self._finder.find(subject)
        if isinstance(found, Trace):
            return found
        place = await self._place_of(found)
        audience = await audience_of(self._store, found.session_id, found.seq, found.message)
        inboxes = [one for one in audience.inboxes if recipient in ("", one)]
        lines = [*found.notes, *await self._received(found, place), *_stored(found)]
        if place is not None:
            lines += [await self._persister(place), await self._key(place.message)]
        lines += [_fan_out(audience), *_recipient(audience, recipient)]
        if place is not None:
            lines += await self._confirmed(place, inboxes)
            lines += await self._inboxes(place, inboxes)
        else:
            lines.append(unknown("inbox", "the time of the message is needed to find its rows"))
        lines.append(unknown("pushed", f"pushes are hints: no table has them, and {PUSH} keeps {kept_by(PUSH)}"))
        lines += await self._watermarks(found, audience, recipient)
        lines += await self._waiting_receipts(found.session_id)
        lines += await self._media(found)
        return Trace(Outcome.STORED, tuple(lines))

    async def _place_of(self, found: Found) -> _Place | None:
        message = found.message
        if message is None:
            return None
        _, partition, _ = ids.split_message_id(message.message_id)
        source = Coordinates(epoch=message.log_epoch, partition=partition, offset=message.log_offset)
        record = found.record
        if record is None and message.log_epoch == self._log.epoch:
            try:
                record = await self._log_record(TopicPartition(MESSAGES_INBOUND, partition), message.log_offset)
            except BrokerUnavailable:
                record = None
        return _Place(message, source, record)

    async def _log_record(self, name: TopicPartition, offset: int) -> Record | None:
        first, end = await self._log.bounds(name)
        return await self._log.record(name, offset) if first <= offset < end else None

    # -- stages up to the tables -------------------------------------------------------------------

    async def _received(self, found: Found, place: _Place | None) -> list[Line]:
        if place is None:
            return [unknown("received", f"the message cannot be read: {found.problem}")]
        where = _named(place.source)
        if place.record is not None:
            text = _gateway_of(place.record)
            return [log_fact("received", text, MESSAGES_INBOUND, place=where, at_ms=place.record.at_ms)]
        text = "coordinates of the command, from the message's row"
        why = f"the command is not in the topic any more (kept {kept_by(MESSAGES_INBOUND)})"
        try:
            await self._log.bounds(TopicPartition(MESSAGES_INBOUND, place.source.partition))
        except BrokerUnavailable as error:
            why = f"Kafka does not answer: {error}"
        return [stored_fact("received", text, place=where), unknown("received", f"time and gateway: {why}")]

    async def _persister(self, place: _Place) -> Line:
        if place.source.epoch != self._log.epoch:
            return _older_epoch("persister", place)
        name = TopicPartition(MESSAGES_INBOUND, place.source.partition)
        try:
            commit = (await self._log.committed(PERSISTER, [name])).get(name)
        except BrokerUnavailable as error:
            return unknown("persister", f"Kafka does not answer: {error}")
        if commit is None:
            return unknown("persister", "the group has no commit; run `tidings init`")
        is_past = commit.offset > place.source.offset
        text = (
            "confirmed: the commit is past the command" if is_past else "the row is stored, the commit is not past it"
        )
        return progress("persister", f"{text}, at offset {commit.offset}")

    async def _key(self, message: MessageRow) -> Line:
        bucket = KeyBucket.of(message.session_id, message.client_msg_id)
        rows = await self._store.keys({bucket: [(message.sender_id, message.client_msg_id)]})
        text = f"client_msg_id {message.client_msg_id} of {message.sender_id}"
        if rows:
            place = f"message_keys month {bucket.key_month} shard {bucket.shard}"
            return stored_fact("key", text, place=place, at_ms=rows[0].at, kept=TTL)
        return stored_fact("key", f"{text}: no row, because keys expire", kept=TTL)

    # -- fanout ------------------------------------------------------------------------------------

    async def _confirmed(self, place: _Place, inboxes: Sequence[str]) -> list[Line]:
        """How far the stages behind the persister have come, by their marks."""
        if place.source.epoch != self._log.epoch:
            return [_older_epoch(stage, place) for stage in ("expand", "deliver", "receipts")]
        persisted = [TopicPartition(MESSAGES_PERSISTED, place.source.partition)]
        partitions = {ids.partition_of(user_id, self._log.sizes.user_partitions) for user_id in inboxes}
        deliveries = [TopicPartition(DELIVERIES, number) for number in sorted(partitions)]
        lines = []
        for stage, group, names in (
            ("expand", EXPAND, persisted),
            ("deliver", DELIVER, deliveries),
            ("receipts", RECEIPTS, persisted),
        ):
            if not names:
                continue
            try:
                finished = await self._log.has_finished(group, names, place.source)
            except BrokerUnavailable as error:
                lines.append(unknown(stage, f"Kafka does not answer: {error}"))
                continue
            lines.append(_marks(stage, {name.partition: done for name, done in finished.items()}, names[0].topic))
        return lines

    async def _inboxes(self, place: _Place, inboxes: Sequence[str]) -> list[Line]:
        message, record = place.message, place.record
        not_before_ms = record.at_ms - _CLOCKS_MS if record is not None else message.at - _AT_EARLY_MS
        lines = []
        for user_id in inboxes[:SHOWN]:
            found = await inbox_row(self._store, user_id, message.session_id, message.seq, not_before_ms)
            lines.append(self._inbox(user_id, found))
        if len(inboxes) > SHOWN:
            text = f"{len(inboxes) - SHOWN} more inboxes are not looked at; ask for one recipient"
            lines.append(unknown("inbox", text))
        return lines

    def _inbox(self, user_id: str, found: InboxRow | Missing) -> Line:
        if isinstance(found, InboxRow):
            partition = ids.partition_of(user_id, self._log.sizes.user_partitions)
            delivery = (
                f"{DELIVERIES} partition {partition} offset {found.delivery_offset}, epoch {found.delivery_epoch}"
            )
            place = f"bucket {found.bucket}, inbox_seq {found.inbox_seq}"
            return stored_fact("inbox", f"{user_id}: by {delivery}", place=place, at_ms=found.delivery_at, kept=TTL)
        if found is Missing.TOO_FAR:
            return unknown("inbox", f"{user_id}: {found}")
        return stored_fact("inbox", f"{user_id}: {found}", kept=TTL)

    # -- readers -----------------------------------------------------------------------------------

    async def _watermarks(self, found: Found, audience: Audience, recipient: str) -> list[Line]:
        """The users that have received and read the message. The author does not count."""
        author = found.message.sender_id if found.message else ""
        others = [recipient] if recipient else [user_id for user_id in audience.inboxes if user_id != author]
        of, is_counted = f" of {len(others)}", bool(recipient) or audience.mode == "write"
        if is_counted and len(others) <= _PAGE_WATERMARKS:
            rows = await self._receipts_of(found.session_id, others)
        else:
            rows, is_complete = await self._all_receipts(found.session_id)
            rows = [row for row in rows if row.user_id != author]
            of = ", later members included" if is_complete else f", of the first {_MOST_WATERMARKS} watermarks"
        read = [row for row in rows if row.read_seq >= found.seq]
        received = [row.user_id for row in rows if max(row.delivered_seq, row.read_seq) >= found.seq]
        lines = [_delivered(received, audience, of), stored_fact("read", f"{len(read)}{of}")]
        for row in sorted(read, key=lambda row: row.user_id)[:SHOWN]:
            text = f"{row.user_id}: the watermark is at seq {row.read_seq} since then, and was below it before"
            lines.append(stored_fact("read", text, at_ms=row.read_at or None))
        return lines

    async def _receipts_of(self, session_id: str, users: Sequence[str]) -> list[ReceiptRow]:
        return list((await self._store.receipts([(session_id, user_id) for user_id in users])).values())

    async def _all_receipts(self, session_id: str) -> tuple[list[ReceiptRow], bool]:
        rows: list[ReceiptRow] = []
        while len(rows) < _MOST_WATERMARKS:
            after = rows[-1].user_id if rows else ""
            page = await self._store.receipt_page(session_id, after, _PAGE_WATERMARKS)
            rows += page
            if len(page) < _PAGE_WATERMARKS:
                return rows, True
        return rows, False

    async def _waiting_receipts(self, session_id: str) -> list[Line]:
        """Acks have no coordinates of their message, so only their number is known."""
        name = TopicPartition(RECEIPTS_INBOUND, ids.partition_of(session_id, self._log.sizes.session_partitions))
        try:
            commits = await self._log.committed(RECEIPTS, [name])
            _, end = await self._log.bounds(name)
        except BrokerUnavailable as error:
            return [unknown("read", f"acks that wait for receipts: Kafka does not answer: {error}")]
        waiting = end - commits[name].offset if name in commits else 0
        place = f"{name.topic} partition {name.partition}"
        text = f"acks of this and other sessions that receipts has not confirmed: {waiting}"
        return [log_fact("read", text, RECEIPTS_INBOUND, place=place)] if waiting else []

    async def _media(self, found: Found) -> list[Line]:
        if found.message is None:
            return [unknown("media", "the message cannot be read")]
        media_ids = sorted({one.decode() for one in _MEDIA.findall(found.message.body)})[:SHOWN]
        rows = await self._store.media(media_ids) if media_ids else {}
        lines = []
        for media_id in media_ids:
            row = rows.get(media_id)
            if row is None:
                lines.append(stored_fact("media", f"{media_id}: the upload has no row"))
                continue
            refs = await self._store.media_refs_in(media_id, [found.session_id])
            newest = f"referred to by seq {refs[0].seq}" if refs else "no reference in this session"
            text = f"{media_id}: {row.size} bytes of {row.owner_id}, {newest}"
            lines.append(stored_fact("media", text, place=row.object_key, at_ms=row.uploaded_at))
        return lines


def _named(source: Coordinates) -> str:
    return f"{MESSAGES_INBOUND} partition {source.partition} offset {source.offset}, epoch {source.epoch}"


def _gateway_of(record: Record) -> str:
    try:
        command = Command.FromString(record.value or b"")
    except DecodeError:
        return "the record at these coordinates cannot be decoded"
    if not command.HasField("origin"):
        return f"command of {command.sender_id}, not of a gateway"
    return f"command of {command.sender_id} through gateway {command.origin.gateway}"


def _stored(found: Found) -> list[Line]:
    message, segment = found.message, found.segment
    at_ms = message.at if message else None
    number = f"seq {found.seq} of {found.session_id}"
    text = f"{number}, message {message.message_id} of {message.sender_id}" if message else number
    lines = [stored_fact("decided", text, place=f"segment {segment.segment}", at_ms=at_ms)]
    if segment.cold is None:
        return [*lines, stored_fact("stored", "hot", place=f"messages segment {segment.segment}")]
    row = segment.cold.first_row + found.seq - segment.first_seq
    copy = ", with a copy in the tables" if found.is_hot else ""
    place = f"{segment.cold.object_key} row {row}"
    lines.append(stored_fact("stored", f"cold: archived{copy}", place=place, at_ms=segment.cold.moved_at or None))
    return [*lines, unknown("stored", f"content: {found.problem}")] if found.problem else lines


def _fan_out(audience: Audience) -> Line:
    if not audience.mode:
        return unknown("fan-out", audience.text)
    users = f": {first_few(audience.inboxes, SHOWN)}" if audience.inboxes else ""
    rest = "" if audience.is_complete else " (the list is not complete)"
    return stored_fact("fan-out", f"{audience.text}{users}{rest}")


def _recipient(audience: Audience, recipient: str) -> list[Line]:
    if not recipient or recipient in audience.inboxes or audience.mode == "read":
        return []
    if audience.is_complete:
        return [stored_fact("fan-out", f"{recipient} is no recipient as of this seq")]
    return [unknown("fan-out", f"whether {recipient} is a recipient")]


def _delivered(received: Sequence[str], audience: Audience, of: str) -> Line:
    if audience.mode == "read":
        return unknown("delivered", "not kept in read diffusion: acks end at the gateway")
    users = f": {first_few(received, SHOWN)}" if received else ""
    return stored_fact("delivered", f"{len(received)}{of}{users}")


def _marks(stage: str, finished: dict[int, bool | None], topic: str) -> Line:
    numbers = {answer: [number for number, one in finished.items() if one is answer] for answer in (True, False, None)}
    if numbers[None]:
        return unknown(stage, f"no readable marks of {topic} partition {_listed(numbers[None])}")
    if numbers[False]:
        text = f"has not confirmed it in {topic} partition {_listed(numbers[False])}"
        return progress(stage, text)
    return progress(stage, f"confirmed past it in {topic} partition {_listed(numbers[True])}")


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:SHOWN]))
    return shown if len(numbers) <= SHOWN else f"{shown} and {len(numbers) - SHOWN} more"


def _older_epoch(stage: str, place: _Place) -> Line:
    return unknown(stage, f"the command is of epoch {place.source.epoch}, whose topics and marks are gone")
