"""The tables, as a port. Adapters: store/cassandra.py and store/memory.py; one contract suite for both.

Everything is read and written at LOCAL_QUORUM. Every call raises
StoreUnavailable when the tables do not answer in time; what a write did is then
unknown, and the same rows are to be written again (law 8).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from tidings.store.deployment import Deployment
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
    SegmentRow,
    UserSessionRow,
)


class TaggedRow(NamedTuple):
    """A row and the source partition that made it: what is repeated is decided per source partition."""

    source_partition: int
    row: Row


class KeyBucket(NamedTuple):
    """A partition of message_keys."""

    session_id: str
    key_month: int
    shard: int


class SessionSegment(NamedTuple):
    """A partition of messages."""

    session_id: str
    segment: int


class UserBucket(NamedTuple):
    """A partition of inbox."""

    user_id: str
    bucket: int


class Store(Protocol):
    """One method per question that a stage or the gateway asks."""

    @property
    def deployment(self) -> Deployment:
        """Which life of the tables this is, as it was when the store was started."""
        ...

    async def start(self) -> None:
        """Connect; check the schema version and the batch limits. StoreUnavailable, ConfigurationError."""
        ...

    async def stop(self) -> None:
        """Close."""
        ...

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        """Write rows, in batches that may group keys; the source_partitions of which any row is unconfirmed.

        No order among the rows of one call: what has to come after goes into
        a later call. The rows of one partition key make one mutation; the
        caller keeps it at or below 512 KiB (law 2).
        """
        ...

    async def segments(self, session_ids: Collection[str], limit: int) -> Mapping[str, Sequence[SegmentRow]]:
        """Up to `limit` newest segments of each session, newest first; sessions without any are left out."""
        ...

    async def segments_below(self, session_id: str, segment: int, limit: int) -> Sequence[SegmentRow]:
        """The next older segments of one session, newest first."""
        ...

    async def newest_messages(
        self, segments: Collection[SessionSegment], limit: int
    ) -> Mapping[SessionSegment, Sequence[MessageRow]]:
        """Up to `limit` newest messages of each segment, newest first; empty segments are left out."""
        ...

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        """The messages first_seq..last_seq (both included, at most 10,000) that stand in this segment, ascending."""
        ...

    async def keys(self, wanted: Mapping[KeyBucket, Collection[tuple[str, str]]]) -> Sequence[KeyRow]:
        """The stored keys among the wanted (sender_id, client_msg_id) of each bucket."""
        ...

    async def groups_as_of(self, seqs: Mapping[str, int]) -> Mapping[str, GroupRow]:
        """Of each session the newest version at or below its seq; sessions without one are left out."""
        ...

    async def members_as_of(self, session_id: str, seq: int, user_ids: Collection[str]) -> Mapping[str, MemberRow]:
        """Of each user the newest version at or below `seq`, also of those who have left; strangers are left out."""
        ...

    async def member_page(
        self, session_id: str, seq: int, after: str, limit: int
    ) -> tuple[Sequence[MemberRow], str | None]:
        """Newest versions at or below `seq` of users above `after`, by user_id, also of those who have left.

        About `limit` of them; the second value is the next `after`, None at the end.
        """
        ...

    async def receipt_page(self, session_id: str, after: str, limit: int) -> Sequence[ReceiptRow]:
        """Up to `limit` watermarks of one session, of users above `after`, by user_id."""
        ...

    async def inbox_buckets(self, user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        """Up to `limit` newest buckets of each user, newest first; users without any are left out."""
        ...

    async def newest_inbox_rows(
        self, buckets: Collection[UserBucket], limit: int
    ) -> Mapping[UserBucket, Sequence[InboxRow]]:
        """Up to `limit` newest rows of each bucket, newest first; empty buckets are left out."""
        ...

    async def inbox_rows(self, bucket: UserBucket, first: int, last: int) -> Sequence[InboxRow]:
        """The rows with first <= inbox_seq <= last (at most 10,000) of this bucket, ascending."""
        ...

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        """Every session the user is or was in, by session_id."""
        ...

    async def receipts(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], ReceiptRow]:
        """The watermarks of these (session_id, user_id); those without any are left out."""
        ...

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        """The stored list of each of these users; users without one are left out."""
        ...

    async def replace_block_list(self, changed: BlockList, seen_version: int) -> bool:
        """Store a list where the stored version is still the one that was seen (0: none); False where it is not.

        Calls for one user are in one order everywhere: `block_lists` called after a True shows this list or a later
        one, and a try of unknown outcome never takes effect after a later try was answered.
        """
        ...
