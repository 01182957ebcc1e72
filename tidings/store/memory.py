"""The tables in memory: the same promises as Cassandra's adapter.

Unit tests, simulations and the embedded mode use it. The rows end with the process.
Within it only expired rows are removed.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar, cast

from tidings.clock import Clock
from tidings.store.base import KeyBucket, SessionSegment, TaggedRow, UserBucket
from tidings.store.deployment import Deployment
from tidings.store.media_rows import MediaRefRow, MediaRow, MediaUsageRow
from tidings.store.memory_tables import Partition, PartitionName, Slot, partition_of
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

# Law 1 (the log decides): tables that expire keep their rows for 100 days.
TTL_MS = {"message_keys": 100 * 86_400_000, "inbox": 100 * 86_400_000, "media_usage": 3 * 86_400_000}

K = TypeVar("K")
R = TypeVar("R")


class MemoryStore:
    """Implements Store. Tests assert on `calls` (calls by method) and `rows_written` (rows by table)."""

    def __init__(self, clock: Clock | None = None) -> None:
        """New tables with a new deployment. Without a clock no row expires."""
        self.deployment = Deployment.new(uuid.uuid4().hex, clock.wall_ms() if clock else 0)
        self.calls: Counter[str] = Counter()
        self.rows_written: Counter[str] = Counter()
        self._clock = clock
        self._partitions: dict[PartitionName, Partition] = {}
        self._block_lists: dict[str, BlockList] = {}
        self._media: dict[str, MediaRow] = {}
        # (purged_seq, purged_count) by session: columns that all rows of a directory share.
        self._purged: dict[str, tuple[int, int]] = {}

    async def start(self) -> None:
        """There is no server to connect to."""

    async def stop(self) -> None:
        """The rows stay, so a store that is started again still has them."""

    def rows(self, table: str) -> list[Row | ReceiptRow]:
        """All rows of a table, by partition key and clustering key. For assertions; not counted in `calls`."""
        names = sorted((name for name in self._partitions if name.table == table), key=lambda name: str(name.key))
        return [slot.row for name in names for slot in self._partitions[name].ascending()]

    # -- writing -----------------------------------------------------------------------------------

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        await self.answer("write")
        for tagged in rows:
            self._put(tagged.row)
        return frozenset()

    def _put(self, row: Row) -> Slot:
        name = partition_of(row)
        self.rows_written[name.table] += 1
        partition = self._partitions.get(name)
        if partition is None:
            partition = self._partitions[name] = Partition()
        return partition.put(row, self._expires_ms(name.table), self._clock.wall_ms() * 1000 if self._clock else 0)

    def _expires_ms(self, table: str) -> int | None:
        if self._clock is None or table not in TTL_MS:
            return None
        return self._clock.wall_ms() + TTL_MS[table]

    async def replace_block_list(self, changed: BlockList, seen_version: int) -> bool:
        await self.answer("replace_block_list")
        return self._replace_block_list(changed, seen_version)

    def _replace_block_list(self, changed: BlockList, seen_version: int) -> bool:
        stored = self._block_lists.get(changed.user_id, BlockList(changed.user_id))
        if stored.version != seen_version:
            return False
        self._block_lists[changed.user_id] = changed
        return True

    # -- reading -----------------------------------------------------------------------------------

    async def segments(self, session_ids: Collection[str], limit: int) -> Mapping[str, Sequence[SegmentRow]]:
        await self.answer("segments")
        found = {name: self.directory(self.partition("segments", name).descending(), limit) for name in session_ids}
        return {name: rows for name, rows in found.items() if rows}

    async def segments_below(self, session_id: str, segment: int, limit: int) -> Sequence[SegmentRow]:
        await self.answer("segments_below")
        return self.directory(self.partition("segments", session_id).descending(below=segment), limit)

    async def newest_messages(
        self, segments: Collection[SessionSegment], limit: int
    ) -> Mapping[SessionSegment, Sequence[MessageRow]]:
        await self.answer("newest_messages")
        return self._newest("messages", {segment: tuple(segment) for segment in segments}, limit, MessageRow)

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        await self.answer("messages")
        slots = self.partition("messages", tuple(segment)).ascending(first_seq, last_seq)
        return list(self._visible(slots, MessageRow))

    async def keys(self, wanted: Mapping[KeyBucket, Collection[tuple[str, str]]]) -> Sequence[KeyRow]:
        await self.answer("keys")
        slots = (
            slot for bucket, keys in wanted.items() for slot in self.partition("message_keys", tuple(bucket)).at(keys)
        )
        return list(self._visible(slots, KeyRow))

    async def groups_as_of(self, seqs: Mapping[str, int]) -> Mapping[str, GroupRow]:
        await self.answer("groups_as_of")
        versions = {
            session_id: self.partition("groups", session_id).descending(below=seq + 1)
            for session_id, seq in seqs.items()
        }
        newest = ((session_id, next(self._visible(slots, GroupRow), None)) for session_id, slots in versions.items())
        return {session_id: row for session_id, row in newest if row is not None}

    async def members_as_of(self, session_id: str, seq: int, user_ids: Collection[str]) -> Mapping[str, MemberRow]:
        await self.answer("members_as_of")
        partition = self.partition("group_members", session_id)
        slots = (slot for user_id in user_ids for slot in partition.ascending((user_id, 0), (user_id, seq)))
        return {row.user_id: row for row in self._visible(slots, MemberRow)}

    async def member_page(
        self, session_id: str, seq: int, after: str, limit: int
    ) -> tuple[Sequence[MemberRow], str | None]:
        await self.answer("member_page")
        slots = self.partition("group_members", session_id).ascending((after, 2**63))
        newest: dict[str, MemberRow | None] = {}
        for row in self._visible(slots, MemberRow):
            if row.user_id not in newest and len(newest) == limit:
                return [one for one in newest.values() if one], next(reversed(newest))
            newest[row.user_id] = row if row.as_of_seq <= seq else newest.get(row.user_id)
        return [one for one in newest.values() if one], None

    async def inbox_buckets(self, user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        await self.answer("inbox_buckets")
        return self._newest("inbox_buckets", {user_id: user_id for user_id in user_ids}, limit, BucketRow)

    async def newest_inbox_rows(
        self, buckets: Collection[UserBucket], limit: int
    ) -> Mapping[UserBucket, Sequence[InboxRow]]:
        await self.answer("newest_inbox_rows")
        return self._newest("inbox", {bucket: tuple(bucket) for bucket in buckets}, limit, InboxRow)

    async def inbox_rows(self, bucket: UserBucket, first: int, last: int) -> Sequence[InboxRow]:
        await self.answer("inbox_rows")
        return list(self._visible(self.partition("inbox", tuple(bucket)).ascending(first, last), InboxRow))

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        await self.answer("user_sessions")
        rows = self._visible(self.partition("user_sessions", user_id).ascending(), UserSessionRow)
        return [row for row in rows if row.joined_seq]

    async def receipts(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], ReceiptRow]:
        await self.answer("receipts")
        slots = (slot for session_id, user_id in pairs for slot in self.partition("receipts", session_id).at([user_id]))
        return {(row.session_id, row.user_id): row for row in self._visible(slots, ReceiptRow)}

    async def receipt_page(self, session_id: str, after: str, limit: int) -> Sequence[ReceiptRow]:
        await self.answer("receipt_page")
        slots = self.partition("receipts", session_id).ascending(after + "\0")  # the lowest string above
        return list(islice(self._visible(slots, ReceiptRow), limit))

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        await self.answer("block_lists")
        return {user_id: self._block_lists[user_id] for user_id in user_ids if user_id in self._block_lists}

    async def media(self, media_ids: Collection[str]) -> Mapping[str, MediaRow]:
        await self.answer("media")
        return {media_id: self._media[media_id] for media_id in media_ids if media_id in self._media}

    async def add_media(self, row: MediaRow) -> MediaRow:
        await self.answer("add_media")
        return self._media.setdefault(row.media_id, row)

    async def mark_media(self, media_id: str, removing_at: int, seen: int) -> bool:
        await self.answer("mark_media")
        row = self._media.get(media_id)
        if row is None or row.removing_at != seen:
            return False
        self._media[media_id] = replace(row, removing_at=removing_at)
        return True

    async def drop_media(self, media_id: str, removing_at: int) -> bool:
        await self.answer("drop_media")
        row = self._media.get(media_id)
        if row is None or row.removing_at != removing_at:
            return False
        del self._media[media_id]
        return True

    async def media_refs(self, media_id: str, limit: int) -> Sequence[MediaRefRow]:
        await self.answer("media_refs")
        return list(self._newest_refs(media_id).values())[:limit]

    async def media_refs_in(self, media_id: str, session_ids: Collection[str]) -> Sequence[MediaRefRow]:
        await self.answer("media_refs_in")
        newest = self._newest_refs(media_id)
        return [newest[session_id] for session_id in session_ids if session_id in newest]

    def _newest_refs(self, media_id: str) -> Mapping[str, MediaRefRow]:
        slots = self.partition("media_refs", media_id).ascending()
        return {row.session_id: row for row in self._visible(slots, MediaRefRow)}

    async def media_usage(self, user_id: str, day: int) -> int:
        await self.answer("media_usage")
        slots = self.partition("media_usage", (user_id, day)).ascending()
        return sum(row.size for row in self._visible(slots, MediaUsageRow))

    async def answer(self, method: str) -> None:
        self.calls[method] += 1
        await asyncio.sleep(0)  # lets other tasks run, as with a real server

    def partition(self, table: str, key: Any) -> Partition:
        return self._partitions.get(PartitionName(table, key)) or Partition()

    def directory(self, slots: Iterable[Slot], limit: int) -> Sequence[SegmentRow]:
        """The first `limit` rows of a session's directory, in the order of the slots."""
        rows = islice(self._visible(slots, SegmentRow), limit)
        return [self._with_purged(row) if row.session_id in self._purged else row for row in rows]

    def _with_purged(self, row: SegmentRow) -> SegmentRow:
        purged_seq, purged_count = self._purged[row.session_id]
        return replace(row, purged_seq=purged_seq, purged_count=purged_count)

    def purge(self, session_id: str, purged_seq: int, purged_count: int) -> None:
        """Raise the columns that the rows of a session's directory share. The higher seq stays, as its timestamp."""
        self._purged[session_id] = max(self._purged.get(session_id, (0, 0)), (purged_seq, purged_count))

    def drop_partition(self, table: str, key: Any) -> None:
        """Remove all rows of a partition, as a partition tombstone does."""
        self._partitions.pop(PartitionName(table, key), None)

    def partition_keys(self, table: str) -> list[Any]:
        """The keys of all partitions of a table, in no order."""
        return [name.key for name in self._partitions if name.table == table]

    def visible(self, table: str, key: Any, kind: type[R]) -> Iterator[R]:
        """The rows of a partition that have not expired, ascending. `kind`: the class of the table's rows."""
        return self._visible(self.partition(table, key).ascending(), kind)

    def _newest(self, table: str, keys: Mapping[K, Any], limit: int, kind: type[R]) -> dict[K, Sequence[R]]:
        found = {
            asked: list(islice(self._visible(self.partition(table, key).descending(), kind), limit))
            for asked, key in keys.items()
        }
        return {asked: rows for asked, rows in found.items() if rows}

    def _visible(self, slots: Iterable[Slot], kind: type[R]) -> Iterator[R]:
        """The rows that this read sees; `kind` is the class of the table's rows."""
        now_ms = self._clock.wall_ms() if self._clock else 0
        for slot in slots:
            if slot.expires_ms is None or slot.expires_ms > now_ms:
                yield cast(R, slot.row)
