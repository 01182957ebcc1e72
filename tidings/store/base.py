"""The tables as a port. Adapters: store/cassandra.py and store/memory.py. One contract suite tests both.

All reads and writes are at LOCAL_QUORUM. Every call raises StoreUnavailable if the
tables do not answer in time. The outcome of a write is then unknown, and the caller
writes the same rows again: law 8 (a time-out is unknown, never failed).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from tidings import ids
from tidings.store.deployment import Deployment
from tidings.store.media_rows import MediaRefRow, MediaRow
from tidings.store.rows import (
    BlockList,
    BucketRow,
    GroupRow,
    InboxRow,
    KeyRow,
    MemberRow,
    MessageRow,
    ReceiptRow,
    Row,
    UserSessionRow,
)
from tidings.store.segment_rows import SegmentRow

# A busy group writes its keys to so many partitions a month. A direct session needs one.
_GROUP_SHARDS = 16


class TaggedRow(NamedTuple):
    """A row and the source partition that made it, because rounds are repeated per source partition."""

    source_partition: int
    row: Row


class KeyBucket(NamedTuple):
    """A partition of message_keys."""

    session_id: str
    key_month: int
    shard: int

    @classmethod
    def of(cls, session_id: str, client_msg_id: str) -> "KeyBucket":
        """The bucket of a key: by the month of a UUIDv7's own time, and month 0 for other ids."""
        id_time_ms = ids.uuid7_time_ms(client_msg_id)
        shard = ids.partition_of(client_msg_id, _GROUP_SHARDS) if ids.is_group_session(session_id) else 0
        return cls(session_id, 0 if id_time_ms is None else ids.month_of(id_time_ms), shard)


class SessionSegment(NamedTuple):
    """A partition of messages."""

    session_id: str
    segment: int


class UserBucket(NamedTuple):
    """A partition of inbox."""

    user_id: str
    bucket: int


class ColdRows(Protocol):
    """Reads the messages of cold segments. Adapter: tidings/cold/reader.py."""

    async def messages(self, segment: SegmentRow, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        """The messages first_seq..last_seq (both included) of a segment whose `cold` is set, ascending.

        ColdUnavailable: the object store does not answer in bounded time, or the object is damaged or missing.
        """
        ...


class Store(Protocol):
    """The reads and writes of the stages and the gateway, one method for each."""

    @property
    def deployment(self) -> Deployment:
        """The life of the tables, as read when the store was started."""
        ...

    async def start(self) -> None:
        """Connect; check the schema version and the batch limits. StoreUnavailable, ConfigurationError."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        """Write rows in batches that may group keys. Returns the source_partitions with an unconfirmed row.

        The rows of one call have no order; a row that has to come later goes into
        a later call. The rows of one partition key make one mutation: law 2 (what
        belongs to one key is written in order). The caller keeps a mutation at or
        below 512 KiB.
        """
        ...

    async def segments(self, session_ids: Collection[str], limit: int) -> Mapping[str, Sequence[SegmentRow]]:
        """Up to `limit` newest segments of each session, newest first. Sessions without segments are left out."""
        ...

    async def segments_below(self, session_id: str, segment: int, limit: int) -> Sequence[SegmentRow]:
        """The next older segments of one session, newest first."""
        ...

    async def newest_messages(
        self, segments: Collection[SessionSegment], limit: int
    ) -> Mapping[SessionSegment, Sequence[MessageRow]]:
        """Up to `limit` newest messages of each segment, newest first. Empty segments are left out."""
        ...

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        """The messages first_seq..last_seq (both included, at most 10,000) of this segment, ascending."""
        ...

    async def keys(self, wanted: Mapping[KeyBucket, Collection[tuple[str, str]]]) -> Sequence[KeyRow]:
        """The stored keys among the wanted (sender_id, client_msg_id) of each bucket."""
        ...

    async def groups_as_of(self, seqs: Mapping[str, int]) -> Mapping[str, GroupRow]:
        """The newest version of each group at or below its seq. Sessions without one are left out."""
        ...

    async def members_as_of(self, session_id: str, seq: int, user_ids: Collection[str]) -> Mapping[str, MemberRow]:
        """The newest version of each user at or below `seq`, also after leaving. Users without one are left out."""
        ...

    async def member_page(
        self, session_id: str, seq: int, after: str, limit: int
    ) -> tuple[Sequence[MemberRow], str | None]:
        """The newest versions at or below `seq` of users above `after`, by user_id. Users that have left are included.

        Returns about `limit` of them, and the next `after`, which is None at the end.
        """
        ...

    async def receipt_page(self, session_id: str, after: str, limit: int) -> Sequence[ReceiptRow]:
        """Up to `limit` watermarks of one session, of users above `after`, by user_id."""
        ...

    async def inbox_buckets(self, user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        """Up to `limit` newest buckets of each user, newest first. Users without buckets are left out."""
        ...

    async def newest_inbox_rows(
        self, buckets: Collection[UserBucket], limit: int
    ) -> Mapping[UserBucket, Sequence[InboxRow]]:
        """Up to `limit` newest rows of each bucket, newest first. Empty buckets are left out."""
        ...

    async def inbox_rows(self, bucket: UserBucket, first: int, last: int) -> Sequence[InboxRow]:
        """The rows with first <= inbox_seq <= last (at most 10,000) of this bucket, ascending."""
        ...

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        """Every session that the user is or was a member of, by session_id."""
        ...

    async def receipts(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], ReceiptRow]:
        """The watermarks of these (session_id, user_id) pairs. Pairs without watermarks are left out."""
        ...

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        """The stored list of each user. Users without a list are left out."""
        ...

    async def replace_block_list(self, changed: BlockList, seen_version: int) -> bool:
        """Store a list if the stored version is still `seen_version` (0: no list). Returns whether it was.

        All processes see the calls for one user in the same order. A `block_lists` call after a True returns this list
        or a later one. A try of unknown outcome never takes effect after a later try was answered.
        """
        ...

    async def media(self, media_ids: Collection[str]) -> Mapping[str, MediaRow]:
        """The uploads with these ids. Missing ones are left out."""
        ...

    async def add_media(self, row: MediaRow) -> MediaRow:
        """Store an upload unless its id is stored. Returns the stored row, which another call may have written."""
        ...

    async def mark_media(self, media_id: str, removing_at: int, seen: int) -> bool:
        """Change the mark of an upload from `seen` (0: none). Returns whether the stored mark was `seen`.

        With a mark no later message may refer to the upload.
        """
        ...

    async def drop_media(self, media_id: str, removing_at: int) -> bool:
        """Delete the row of an upload if its stored mark is this one. Returns whether it was.

        After a True no message refers to the upload. After a False the row may have another mark, or be gone.
        """
        ...

    async def media_refs(self, media_id: str, limit: int) -> Sequence[MediaRefRow]:
        """The newest reference in each of the first `limit` sessions by session_id."""
        ...

    async def media_refs_in(self, media_id: str, session_ids: Collection[str]) -> Sequence[MediaRefRow]:
        """The newest reference in each of these sessions. Sessions without one are left out."""
        ...

    async def media_usage(self, user_id: str, day: int) -> int:
        """The bytes that the user has uploaded on a UTC day (days since 1970)."""
        ...
