"""The rows of every table, as data. The names are the columns' (DESIGN section 6).

Each class names its table and the columns of its partition key, which is all
that the adapters need to group rows into batches and mutations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from tidings.ids import Position

MODE_WRITE = 1
MODE_READ = 2
ROLE_MEMBER = 1
ROLE_ADMIN = 2
ROLE_OWNER = 3
# Above every seq: asked for as of it, the tables answer with the newest versions.
NEWEST = 2**62
# Of a block list that `tidings init` copied from the table of before.
COPIED_VERSION = -1


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message. Never updated. Optional columns are None when absent and never written as null."""

    table: ClassVar[str] = "messages"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id", "segment")

    session_id: str
    segment: int
    seq: int
    message_id: int
    sender_id: str
    client_msg_id: str
    kind: int
    body: bytes
    at: int
    count: int
    log_epoch: int
    log_offset: int
    reply_to: int | None = None
    mentions: tuple[str, ...] | None = None

    @property
    def made_at(self) -> Position:
        """Where on messages.inbound the row was decided."""
        return Position(self.log_epoch, self.log_offset)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A client_msg_id that was stored: TTL 100 days, counts for 91 by log time."""

    table: ClassVar[str] = "message_keys"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id", "key_month", "shard")

    session_id: str
    key_month: int
    shard: int
    sender_id: str
    client_msg_id: str
    seq: int
    message_id: int
    digest: bytes
    at: int
    log_epoch: int
    log_offset: int

    @property
    def made_at(self) -> Position:
        """Where on messages.inbound the row was decided."""
        return Position(self.log_epoch, self.log_offset)


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """The directory of a session's segments. `opened_*` are the coordinates of the first message."""

    table: ClassVar[str] = "segments"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    segment: int
    first_seq: int
    month: int
    opened_epoch: int
    opened_offset: int

    @property
    def made_at(self) -> Position:
        """Where on messages.inbound the segment was opened."""
        return Position(self.opened_epoch, self.opened_offset)


@dataclass(frozen=True, slots=True)
class SegmentByMonthRow:
    """Finds the segments of a month, for the archiver."""

    table: ClassVar[str] = "segments_by_month"
    partition_key: ClassVar[tuple[str, ...]] = ("month", "shard")

    month: int
    shard: int
    session_id: str
    segment: int


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group from `as_of_seq` on; never overwritten (law 7). `settings`: canonical JSON. No members: dissolved."""

    table: ClassVar[str] = "groups"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    as_of_seq: int
    name: str
    owner: str
    mode: int
    member_count: int
    settings: str
    log_epoch: int
    log_offset: int


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One user in one group from `as_of_seq` on. `left_seq` 0: still in; `muted_until` 0: not muted; times in ms."""

    table: ClassVar[str] = "group_members"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    user_id: str
    as_of_seq: int
    joined_seq: int
    joined_count: int
    left_seq: int
    role: int
    muted_until: int
    log_epoch: int
    log_offset: int


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One place in a user's inbox. TTL 100 days. `delivery_*` stand for the record on `deliveries`."""

    table: ClassVar[str] = "inbox"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id", "bucket")

    user_id: str
    bucket: int
    inbox_seq: int
    session_id: str
    seq: int
    message_id: int
    at: int
    delivery_epoch: int
    delivery_offset: int
    delivery_at: int

    @property
    def made_at(self) -> Position:
        """Where on deliveries the row was decided."""
        return Position(self.delivery_epoch, self.delivery_offset)


@dataclass(frozen=True, slots=True)
class BucketRow:
    """The directory of a user's inbox buckets: no TTL, so that numbers never start again."""

    table: ClassVar[str] = "inbox_buckets"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: str
    bucket: int
    first_inbox_seq: int
    opened_epoch: int
    opened_offset: int

    @property
    def made_at(self) -> Position:
        """Where on deliveries the bucket was opened."""
        return Position(self.opened_epoch, self.opened_offset)


@dataclass(frozen=True, slots=True)
class UserSessionRow:
    """A session of a user; written with the membership's seq as write timestamp, so of each column the newest wins."""

    table: ClassVar[str] = "user_sessions"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: str
    session_id: str
    joined_seq: int
    joined_count: int
    left_seq: int
    mode: int

    @property
    def write_timestamp(self) -> int:
        """Microseconds to Cassandra; to us the seq that decided."""
        return max(self.joined_seq, self.left_seq)


@dataclass(frozen=True, slots=True)
class SessionLeftRow:
    """The end of a membership, over what stands of its beginning."""

    table: ClassVar[str] = "user_sessions"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: str
    session_id: str
    left_seq: int

    @property
    def write_timestamp(self) -> int:
        """The seq that removed the user."""
        return self.left_seq


@dataclass(frozen=True, slots=True)
class SessionModeRow:
    """The way a session's messages go from the seq `write_timestamp` on, which is no column."""

    table: ClassVar[str] = "user_sessions"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: str
    session_id: str
    mode: int
    write_timestamp: int


@dataclass(frozen=True, slots=True)
class DeliveredRow:
    """The delivered watermark, written with itself as timestamp: last write wins is max (law 7)."""

    table: ClassVar[str] = "receipts"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    user_id: str
    delivered_seq: int

    @property
    def write_timestamp(self) -> int:
        """The watermark itself."""
        return self.delivered_seq


@dataclass(frozen=True, slots=True)
class ReadRow:
    """The read watermark with the count of messages up to it and the log time of reading."""

    table: ClassVar[str] = "receipts"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    user_id: str
    read_seq: int
    read_count: int
    read_at: int

    @property
    def write_timestamp(self) -> int:
        """The watermark itself."""
        return self.read_seq


@dataclass(frozen=True, slots=True)
class SentRow:
    """A user's own last message: lowers unread, sends no read receipt."""

    table: ClassVar[str] = "receipts"
    partition_key: ClassVar[tuple[str, ...]] = ("session_id",)

    session_id: str
    user_id: str
    sent_seq: int
    sent_count: int

    @property
    def write_timestamp(self) -> int:
        """The seq itself."""
        return self.sent_seq


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """All watermarks of one user in one session, as read. 0 where nothing was written."""

    session_id: str
    user_id: str
    delivered_seq: int = 0
    read_seq: int = 0
    read_count: int = 0
    read_at: int = 0
    sent_seq: int = 0
    sent_count: int = 0


@dataclass(frozen=True, slots=True)
class BlockList:
    """Whom `user_id` refuses, sorted: one row a user, overwritten as a whole (ADR 35).

    Each change stores a version one higher. 0: no list is stored. COPIED_VERSION: copied by `tidings init`, never
    changed since.
    """

    table: ClassVar[str] = "block_lists"

    user_id: str
    blocked_ids: tuple[str, ...] = ()
    version: int = 0

    def changed(self, blocked_ids: Iterable[str]) -> "BlockList":
        """The list that follows this one."""
        return BlockList(self.user_id, tuple(sorted(blocked_ids)), max(self.version, 0) + 1)


Row = (
    MessageRow
    | KeyRow
    | SegmentRow
    | SegmentByMonthRow
    | GroupRow
    | MemberRow
    | InboxRow
    | BucketRow
    | UserSessionRow
    | SessionLeftRow
    | SessionModeRow
    | DeliveredRow
    | ReadRow
    | SentRow
)

# All columns but those below, with ids and names of columns at their longest.
_COLUMNS_BYTES = 512
# A user id at its longest, and what stands around it.
_MENTION_BYTES = 64 + 8


def row_bytes(row: Row) -> int:
    """What a row adds to a mutation at most.

    The one measure for whoever bounds mutations and for the adapter that must not cut them (law 2): by two,
    rows that a crash may not part can come into batches of which one is stored and the other lost.
    """
    if isinstance(row, MessageRow):
        return _COLUMNS_BYTES + len(row.body) + _MENTION_BYTES * len(row.mentions or ())
    if isinstance(row, GroupRow):
        return _COLUMNS_BYTES + 4 * len(row.name)
    return _COLUMNS_BYTES
