"""The decision about one command: a seq, the seq it already has, or a refusal. Pure (law 1).

It depends on the records of the partition up to the one in hand, and on nothing
else: no clock but the broker's, no limit but the stamped ones.
"""

from collections.abc import Callable, Sequence

from services.persister.administration import change_group, change_member, transfer_group
from services.persister.decisions import (
    NOTHING,
    Accepted,
    Change,
    Decision,
    Entry,
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
from tidings.wire.inbound_pb2 import Command

_DAY_MS = 24 * 3600 * 1000
# The gateway judges ids by the clock that it tells its clients: 5 minutes and 90 days (PROTOCOL, Ids). The brokers'
# clock may differ from it by so much before the persister refuses ids, too. Beyond that one of the clocks is broken,
# and a session's `at` that runs ahead by days would stay there (ADR 0029).
CLOCKS_APART_MS = 12 * 3600 * 1000
MOST_AHEAD_MS = SKEW_MS + CLOCKS_APART_MS
# A key counts for 91 days of log time, longer than any id is taken, and its row lives for 100, so the answer never
# depends on when Cassandra sweeps (H31).
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
    """Decide one command and advance the draft by it."""
    known = _known(draft, command, record)
    if known is not None:
        return _repeat(known, command)
    entry = _id_refusal(command, record) or _entry(draft, command, record, epoch)
    return _accept(draft, command, record, epoch, entry) if isinstance(entry, Entry) else entry


def users_concerned(command: Command) -> tuple[str, ...]:
    """The users of a group whose versions decide the command: who acts, and whom it names."""
    named: Sequence[str] = ()
    match command.WhichOneof("action"):
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
    """Acked again whatever rights have changed since; another content under the same id is a conflict."""
    if stored.digest == command.digest:
        return Repeated(stored)
    return Rejected(
        "conflict",
        f"client_msg_id is taken by seq {stored.seq} with another content; give this message an id of its own",
    )


def _id_refusal(command: Command, record: Record) -> Rejected | None:
    id_time_ms = ids.uuid7_time_ms(command.client_msg_id)
    if id_time_ms is not None and id_time_ms > record.at_ms + MOST_AHEAD_MS:
        return Rejected("clock_skew", "client_msg_id lies hours ahead of the log; compare the servers' clocks")
    if id_time_ms is not None and id_time_ms < record.at_ms - OLDEST_ID_MS:
        return Rejected("too_old", "client_msg_id is older than 90 days; compose the message anew")
    return None


def _entry(draft: Draft, command: Command, record: Record, epoch: int) -> Entry | Unchanged | Rejected:
    """What the command would put into the log, if the sender may at this place of it."""
    if command.HasField("post"):
        return _post(draft, command, record)
    place = Place(draft.seq + 1, draft.count, epoch, record.offset)
    if command.HasField("create_group"):
        return create_group(draft, command, place)
    who = acting(draft, command.sender_id)
    if isinstance(who, Rejected):
        return who
    return _MEMBER_COMMANDS[command.WhichOneof("action") or ""](draft, who, command, place)


def _post(draft: Draft, command: Command, record: Record) -> Entry | Rejected:
    post = command.post
    change = _post_change(draft, command, record)
    if isinstance(change, Rejected):
        return change
    if post.reply_to > draft.seq:
        return Rejected("invalid_body", f"reply_to is above the newest seq of the session, {draft.seq}")
    return Entry(post.kind, post.body, change, post.reply_to, post.mentions)


def _post_change(draft: Draft, command: Command, record: Record) -> Change | Rejected:
    """A direct session is there for its two users, from its first message on; a group for its members."""
    if ids.is_group_session(command.session_id):
        return post_to_group(draft, command, record)
    users = ids.logged_direct_users(command.session_id)
    if command.sender_id not in users:
        return not_found()
    return NOTHING[MODE_WRITE] if draft.seq else Change(joined_ids=users)


def _accept(draft: Draft, command: Command, record: Record, epoch: int, entry: Entry) -> Accepted:
    draft.seq += 1
    draft.count += entry.kind in COUNTABLE_KINDS
    # A stored copy of a UUIDv7 has `at` >= its time - 5 min, whatever the broker's clock said: memory relies on it.
    draft.at = max(record.at_ms, draft.at, (ids.uuid7_time_ms(command.client_msg_id) or 0) - SKEW_MS)
    opens_segment = _opens_segment(draft, command)
    if opens_segment:
        draft.segment += 1
        draft.segment_first_seq = draft.seq
        draft.segment_month = ids.month_of(draft.at)
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
    """Segments roll at the stamped number of messages, or when the month of `at` changes."""
    is_full = draft.seq - draft.segment_first_seq >= command.stamps.segment_messages
    return draft.segment == 0 or is_full or ids.month_of(draft.at) != draft.segment_month
