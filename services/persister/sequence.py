"""The decision about one command: a new seq, the seq it already has, or a refusal. Pure.

Law 1 (the log decides): the decision depends only on the records of the partition up to
the current one. It uses the broker's time and the stamped limits, and nothing else.
"""

from collections.abc import Callable, Sequence

from services.persister.administration import change_group, change_member, transfer_group
from services.persister.decisions import (
    NOTHING,
    Accepted,
    Change,
    Closed,
    Decision,
    Entry,
    LeftOpen,
    Rejected,
    Repeated,
    Unchanged,
    not_found,
)
from services.persister.groups import Acting, Place, acting, post_to_group
from services.persister.membership import add_members, create_group, dissolve_group, remove_member
from services.persister.state import SKEW_MS, Draft, MessageKey, Stored
from tidings import ids
from tidings.broker.base import Record
from tidings.codec import COUNTABLE_KINDS
from tidings.store.rows import MODE_WRITE
from tidings.wire.inbound_pb2 import CloseSegment, Command

_DAY_MS = 24 * 3600 * 1000
# The gateway checks ids by its own clock: at most 5 minutes ahead and 90 days old (PROTOCOL, Ids). The persister
# refuses an id only when the broker's clock differs by more than this from the gateway's. Then one clock is wrong,
# and a session's `at` that ran ahead by days would never come back (ADR 0029).
CLOCKS_APART_MS = 12 * 3600 * 1000
MOST_AHEAD_MS = SKEW_MS + CLOCKS_APART_MS
# A key counts for 91 days of log time, which is longer than any id is accepted. Its row has a TTL of 100 days, so
# that the answer never depends on when Cassandra removes expired rows (H31).
OLDEST_ID_MS = 90 * _DAY_MS + CLOCKS_APART_MS
KEY_LIFE_MS = 91 * _DAY_MS

_MEMBER_COMMANDS: dict[str, Callable[[Draft, Acting, Command, Place], Entry | Unchanged | Rejected]] = {
    "add_members": add_members,
    "remove_member": remove_member,
    "change_member": change_member,
    "transfer_group": transfer_group,
    "change_group": change_group,
    "dissolve_group": dissolve_group,
}


def decide(draft: Draft, command: Command, record: Record, epoch: int) -> Decision:
    """Decide one command and apply the decision to the draft."""
    if command.HasField("close_segment"):
        return _close(draft, command.close_segment)
    known = _known(draft, command, record)
    if known is not None:
        return _repeat(known, command)
    entry = _id_refusal(command, record) or _entry(draft, command, record, epoch)
    return _accept(draft, command, record, epoch, entry) if isinstance(entry, Entry) else entry


def users_concerned(command: Command) -> tuple[str, ...]:
    """The users whose member versions decide the command: the sender and the named users."""
    named: Sequence[str] = ()
    match command.WhichOneof("action"):
        case "close_segment":
            return ()
        case "add_members":
            named = command.add_members.user_ids
        case "remove_member":
            named = (command.remove_member.user_id,)
        case "change_member":
            named = (command.change_member.user_id,)
        case "transfer_group":
            named = (command.transfer_group.user_id,)
    return (command.sender_id, *named)


def _known(draft: Draft, command: Command, record: Record) -> Stored | None:
    stored = draft.find(MessageKey(command.sender_id, command.client_msg_id))
    is_alive = stored is not None and record.at_ms - stored.at <= KEY_LIFE_MS
    return stored if is_alive else None


def _repeat(stored: Stored, command: Command) -> Repeated | Rejected:
    """Ack a repeat again even if the sender's rights have changed. Different content under the id is a conflict."""
    if stored.digest == command.digest:
        return Repeated(stored)
    return Rejected(
        "conflict",
        f"client_msg_id belongs to seq {stored.seq}, which has different content; use a new id for this message",
    )


def _id_refusal(command: Command, record: Record) -> Rejected | None:
    id_time_ms = ids.uuid7_time_ms(command.client_msg_id)
    if id_time_ms is not None and id_time_ms > record.at_ms + MOST_AHEAD_MS:
        return Rejected("clock_skew", "client_msg_id is hours ahead of log time; compare the servers' clocks")
    if id_time_ms is not None and id_time_ms < record.at_ms - OLDEST_ID_MS:
        return Rejected("too_old", "client_msg_id is older than 90 days; send the message with a new id")
    return None


def _entry(draft: Draft, command: Command, record: Record, epoch: int) -> Entry | Unchanged | Rejected:
    """The message of the command, if the sender has the right to it at this offset."""
    if command.HasField("post"):
        return _post(draft, command, record)
    place = Place(draft.seq + 1, draft.count, epoch, record.offset)
    if command.HasField("create_group"):
        return create_group(draft, command, place)
    actor = acting(draft, command.sender_id)
    if isinstance(actor, Rejected):
        return actor
    return _MEMBER_COMMANDS[command.WhichOneof("action") or ""](draft, actor, command, place)


def _post(draft: Draft, command: Command, record: Record) -> Entry | Rejected:
    post = command.post
    change = _post_change(draft, command, record)
    if isinstance(change, Rejected):
        return change
    if post.reply_to > draft.seq:
        return Rejected("invalid_body", f"reply_to is above the newest seq of the session, {draft.seq}")
    return Entry(post.kind, post.body, change, post.reply_to, post.mentions, post.media_ids)


def _post_change(draft: Draft, command: Command, record: Record) -> Change | Rejected:
    """A direct session begins with its first message, and only its two users may post. A group has its own rules."""
    if ids.is_group_session(command.session_id):
        return post_to_group(draft, command, record)
    users = ids.logged_direct_users(command.session_id)
    if command.sender_id not in users:
        return not_found()
    return NOTHING[MODE_WRITE] if draft.seq else Change(joined_ids=users)


def _accept(draft: Draft, command: Command, record: Record, epoch: int, entry: Entry) -> Accepted:
    draft.seq += 1
    draft.count += entry.kind in COUNTABLE_KINDS
    # `at` is never below the UUIDv7's own time - 5 min, even if the broker's clock is behind: `needs_lookup` relies
    # on it.
    draft.at = max(record.at_ms, draft.at, (ids.uuid7_time_ms(command.client_msg_id) or 0) - SKEW_MS)
    opens_segment = _opens_segment(draft, command)
    if opens_segment:
        draft.segment += 1
        draft.segment_first_seq = draft.seq
        draft.segment_month = ids.month_of(draft.at)
        draft.segment_is_closed = False
    number = ids.message_id(epoch, record.partition, record.offset)
    stored = Stored(draft.seq, number, draft.at, command.digest)
    draft.added[MessageKey(command.sender_id, command.client_msg_id)] = stored
    draft.take(entry.change.group, entry.change.members)
    return Accepted(
        stored,
        entry,
        draft.count,
        draft.segment,
        draft.segment_first_seq,
        draft.segment_month,
        opens_segment,
    )


def _opens_segment(draft: Draft, command: Command) -> bool:
    """A segment ends at the stamped number of messages, when the month of `at` changes, and when it is closed."""
    is_full = draft.seq - draft.segment_first_seq >= command.stamps.segment_messages
    is_over = is_full or draft.segment_is_closed or ids.month_of(draft.at) != draft.segment_month
    return draft.segment == 0 or is_over


def _close(draft: Draft, asked: CloseSegment) -> Closed | LeftOpen:
    """Close the newest segment if the session is still as the archiver read it."""
    if draft.segment_is_closed or (draft.segment, draft.seq) != (asked.segment, asked.last_seq):
        return LeftOpen()
    draft.segment_is_closed = True
    return Closed(draft.segment, draft.seq, draft.count, draft.at)
