"""The rows of the tables, as data. Field names are column names (docs/ARCHITECTURE.md).

Each class names its table and the columns of its partition key. The adapters need
both to group rows into batches and mutations. `segment_rows` and `media_rows` have
those of segments and uploads.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from tidings.ids import Position
from tidings.store.media_rows import MediaRefRow, MediaUsageRow
from tidings.store.segment_rows import SegmentByMonthRow, SegmentClosedRow, SegmentRow

MODE_WRITE = 1
MODE_READ = 2
ROLE_MEMBER = 1
ROLE_ADMIN = 2
ROLE_OWNER = 3
# Above every seq: a read as of it returns the newest versions.
NEWEST = 2**62
# The version of a block list that `tidings init` copied from the old table.
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
        """The position on messages.inbound of the command that made the row."""
        return Position(self.log_epoch, self.log_offset)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A client_msg_id that was stored. Its TTL is 100 days, and it counts for 91 days of log time."""

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
        """The position on messages.inbound of the command that made the row."""
        return Position(self.log_epoch, self.log_offset)


@dataclass(frozen=True, slots=True)
class PurgedHead(MessageRow):
    """The newest message of a session of which messages up to `purged_seq` have reached the end of their life.

    `purged_count` of them were countable. If the newest message is one of them, only its seq, count and time are left.
    """

    purged_seq: int = 0
    purged_count: int = 0


@dataclass(frozen=True, slots=True)
class GroupRow:
    """The version of a group from `as_of_seq` on. `settings`: canonical JSON. `member_count` 0: dissolved.

    Never overwritten: law 7 (nothing is overwritten).
    """

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
    """The version of a member from `as_of_seq` on. `left_seq` 0: still a member. `muted_until` in ms, 0: not muted."""

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
    """One entry of a user's inbox. TTL 100 days. `delivery_*`: coordinates and time of the record on `deliveries`."""

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
        """The position on deliveries of the record that made the row."""
        return Position(self.delivery_epoch, self.delivery_offset)


@dataclass(frozen=True, slots=True)
class BucketRow:
    """The directory of a user's inbox buckets. It has no TTL, so that an inbox_seq is never used twice."""

    table: ClassVar[str] = "inbox_buckets"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: str
    bucket: int
    first_inbox_seq: int
    opened_epoch: int
    opened_offset: int

    @property
    def made_at(self) -> Position:
        """The position on deliveries of the bucket's first row."""
        return Position(self.opened_epoch, self.opened_offset)


@dataclass(frozen=True, slots=True)
class UserSessionRow:
    """A session of a user. The write timestamp is the membership's seq, so that the newest value of a column wins."""

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
        """The seq that joined or removed the user. Cassandra takes it as microseconds."""
        return max(self.joined_seq, self.left_seq)


@dataclass(frozen=True, slots=True)
class SessionLeftRow:
    """The end of a membership, written over the row of its beginning."""

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
    """The delivery mode of a session from the seq `write_timestamp` on, which is not a column."""

    table: ClassVar[str] = "user_sessions"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id",)

    user_id: str
    session_id: str
    mode: int
    write_timestamp: int


@dataclass(frozen=True, slots=True)
class DeliveredRow:
    """The delivered watermark. As it is its own write timestamp, "last write wins" keeps the maximum.

    Law 7 (a watermark is its own write timestamp).
    """

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
    """The sent watermark: a user's last own message. It lowers unread and sends no read receipt."""

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
    """All watermarks of one user in one session, as read. 0 if a column was never written."""

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
    """The users that `user_id` blocks, sorted. One row per user, overwritten as a whole (ADR 35).

    Each change stores a version one higher. Version 0: no list is stored. COPIED_VERSION: `tidings init` copied the
    list, and no change followed.
    """

    table: ClassVar[str] = "block_lists"

    user_id: str
    blocked_ids: tuple[str, ...] = ()
    version: int = 0

    def changed(self, blocked_ids: Iterable[str]) -> "BlockList":
        """The next version of the list."""
        return BlockList(self.user_id, tuple(sorted(blocked_ids)), max(self.version, 0) + 1)


Row = (
    MessageRow
    | KeyRow
    | SegmentRow
    | SegmentClosedRow
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
    | MediaRefRow
    | MediaUsageRow
)

# All columns except body, mentions and name, with the longest ids and column names.
_COLUMNS_BYTES = 512
# The longest user id, and its overhead.
_MENTION_BYTES = 64 + 8


def row_bytes(row: Row) -> int:
    """The most bytes that a row adds to a mutation.

    Both OrderedWrites, which bounds mutations, and the adapter, which must not cut them, use this measure. With two
    measures a mutation could be cut into two batches, of which a crash stores only one. Law 2 (what belongs to one
    key is written in order) forbids that.
    """
    if isinstance(row, MessageRow):
        return _COLUMNS_BYTES + len(row.body) + _MENTION_BYTES * len(row.mentions or ())
    if isinstance(row, GroupRow):
        return _COLUMNS_BYTES + 4 * len(row.name)
    return _COLUMNS_BYTES
