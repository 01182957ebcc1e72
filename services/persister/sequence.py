"""The decision about one command: a seq, the seq it already has, or a refusal. Pure (law 1).

It depends on the records of the partition up to the one in hand, and on nothing
else: no clock but the broker's, no limit but the stamped ones.
"""

from dataclasses import dataclass

from services.persister.state import SKEW_MS, Draft, MessageKey, Stored
from tidings import ids
from tidings.broker.base import Record
from tidings.codec import COUNTABLE_KINDS
from tidings.wire.common_pb2 import Kind
from tidings.wire.inbound_pb2 import Command

_DAY_MS = 24 * 3600 * 1000
# PROTOCOL: an id older than 90 days is refused. A key counts for 91 days of log time and its row lives
# for 100, so the answer never depends on when Cassandra sweeps (H31).
OLDEST_ID_MS = 90 * _DAY_MS
KEY_LIFE_MS = 91 * _DAY_MS


@dataclass(frozen=True, slots=True)
class Accepted:
    """The command is message `seq`. `opens_segment`: it is the first of a new one."""

    stored: Stored
    kind: Kind
    count: int
    segment: int
    segment_first_seq: int
    month: int
    opens_segment: bool


@dataclass(frozen=True, slots=True)
class Repeated:
    """The command is stored already: the first ack again."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command takes no seq. `code` is PROTOCOL's."""

    code: str
    text: str


Decision = Accepted | Repeated | Rejected


def decide(draft: Draft, command: Command, record: Record, epoch: int) -> Decision:
    """Decide one command and advance the draft by it."""
    known = _known(draft, command, record)
    if known is not None:
        return _repeat(known, command)
    return _refusal(draft, command, record) or _accept(draft, command, record, epoch)


def _known(draft: Draft, command: Command, record: Record) -> Stored | None:
    stored = draft.find(MessageKey(command.sender_id, command.client_msg_id))
    is_alive = stored is not None and record.at_ms - stored.at <= KEY_LIFE_MS
    return stored if is_alive else None


def _repeat(stored: Stored, command: Command) -> Repeated | Rejected:
    """Acked again whatever rights have changed since; another content under the same id is a conflict."""
    if stored.digest == command.digest:
        return Repeated(stored)
    return Rejected(
        "conflict",
        f"client_msg_id is taken by seq {stored.seq} with another content; give this message an id of its own",
    )


def _refusal(draft: Draft, command: Command, record: Record) -> Rejected | None:
    id_time_ms = ids.uuid7_time_ms(command.client_msg_id)
    if id_time_ms is not None and id_time_ms > record.at_ms + SKEW_MS:
        return Rejected("clock_skew", "client_msg_id lies over 5 minutes in the future; use the server's time")
    if id_time_ms is not None and id_time_ms < record.at_ms - OLDEST_ID_MS:
        return Rejected("too_old", "client_msg_id is older than 90 days; compose the message anew")
    if command.sender_id not in ids.direct_users(command.session_id):
        return Rejected("session_not_found", "there is no such session for you; check session_id")
    if command.post.reply_to > draft.seq:
        return Rejected("invalid_body", f"reply_to is above the newest seq of the session, {draft.seq}")
    return None


def _accept(draft: Draft, command: Command, record: Record, epoch: int) -> Accepted:
    draft.seq += 1
    draft.count += command.post.kind in COUNTABLE_KINDS
    draft.at = max(record.at_ms, draft.at)
    opens_segment = _opens_segment(draft, command)
    if opens_segment:
        draft.segment += 1
        draft.segment_first_seq = draft.seq
        draft.segment_month = ids.month_of(draft.at)
    number = ids.message_id(epoch, record.partition, record.offset)
    stored = Stored(draft.seq, number, draft.at, command.digest)
    draft.added[MessageKey(command.sender_id, command.client_msg_id)] = stored
    return Accepted(
        stored,
        command.post.kind,
        draft.count,
        draft.segment,
        draft.segment_first_seq,
        draft.segment_month,
        opens_segment,
    )


def _opens_segment(draft: Draft, command: Command) -> bool:
    """Segments roll at the stamped number of messages, or when the month of `at` changes."""
    is_full = draft.seq - draft.segment_first_seq >= command.stamps.segment_messages
    return draft.segment == 0 or is_full or ids.month_of(draft.at) != draft.segment_month
