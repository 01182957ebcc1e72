"""Pages and tails of inboxes, from the tables."""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import orjson

from services.gateway.protocol import messages_json
from services.gateway.protocol.limits import MAX_PAGE, PAGE_BYTES
from services.gateway.reads.batching import Batched
from services.gateway.reads.known_heads import KnownHeads
from services.gateway.reads.lost import lost_message
from services.gateway.reads.message_cache import block_of
from services.gateway.reads.messages import MessageReads
from tidings import ids, metrics
from tidings.store import inbox_tails
from tidings.store.base import Store, UserBucket
from tidings.store.rows import BucketRow, InboxRow, MessageRow

_ITEM_BYTES = 48
# Each block has 64 messages of at most 24 KiB: 25 MB.
_BLOCKS_AT_ONCE = 16
_NEWEST_BUCKETS = 2
_MANY_BUCKETS = 10_000
# Wider than any bucket (LimitSettings: at most 5,000 rows), and the most that the port reads in one call.
_BUCKET_SPAN = 10_000
_ABOVE_ALL = 2**62

# In the body of a system message. A text cannot hold them, because quotes are escaped in it.
_SIGNS_OF_READ_MODE = (b'"mode":"read"', b'"mode_to":"read"')


@dataclass(frozen=True, slots=True)
class InboxPage:
    """PROTOCOL's `sync_page`. Items are (inbox_seq, message as JSON).

    `is_ahead`: the cursor is above the tail and above the last push.
    """

    after: int
    items: Sequence[tuple[int, bytes]]
    tail: int
    next: int
    truncated: bool
    is_ahead: bool = False

    def large_groups(self) -> Sequence[str]:
        """The groups of which a message in the page says that they are read from their log."""
        found = [message for _, message in self.items if any(sign in message for sign in _SIGNS_OF_READ_MODE)]
        parsed = [orjson.loads(message) for message in found]
        return [message["session_id"] for message in parsed if message["kind"] == "system"]

    def fields(self) -> dict[str, object]:
        """The fields of the frame without its type."""
        items = [{"inbox_seq": number, "message": orjson.Fragment(message)} for number, message in self.items]
        fields: dict[str, object] = {
            "after": self.after,
            "items": items,
            "next": self.next,
            "tail": self.tail,
            "more": self.next < self.tail,
            "truncated": self.truncated,
        }
        if self.is_ahead:
            fields["ahead"] = True
        return fields


class _Items(NamedTuple):
    """Rows with their messages as JSON. `passed`: the last of the rows before them whose messages are purged, or 0."""

    items: Sequence[tuple[int, bytes]]
    passed: int


class InboxReads:
    """Reads inboxes. Raises StoreUnavailable."""

    def __init__(
        self, store: Store, messages: MessageReads, pages_at_once: int, known_heads: KnownHeads | None = None
    ) -> None:
        """`pages_at_once`: the most pages read at the same time. `known_heads` records the messages on the pages."""
        self._known_heads = known_heads or KnownHeads()
        self._store = store
        self._messages = messages
        self._slots = asyncio.Semaphore(pages_at_once)
        self._pages_at_once = pages_at_once
        self._pages_open = 0
        self._tails: Batched[str, int] = Batched(lambda user_ids: inbox_tails.inbox_tails(store, user_ids))

    async def tails(self, user_ids: Collection[str]) -> Mapping[str, int]:
        """The stored tail of each user's inbox, 0 for an empty one, without users whose tail cannot be read."""
        return (await self._tails.get_some(user_ids))[0]

    async def tail(self, user_id: str) -> int:
        """The stored tail of one user's inbox. Raises StoreUnavailable."""
        return await self._tails.get(user_id) or 0

    @property
    def waiting(self) -> int:
        """The pages that wait because too many others are being read."""
        return max(0, self._pages_open - self._pages_at_once)

    async def page(self, user_id: str, after: int, limit: int, pushed: int = 0) -> InboxPage:
        """Up to `limit` items after the cursor, and up to PAGE_BYTES.

        `pushed`: the highest inbox_seq sent to the connection. It may be above the tail, because fanout pushes before
        its rows are confirmed.
        """
        self._pages_open += 1
        try:
            async with self._slots:
                page = await self._page(user_id, after, limit, pushed)
        finally:
            self._pages_open -= 1
        if page.truncated:
            metrics.TRUNCATED_PAGES.inc()
        return page

    async def _page(self, user_id: str, after: int, limit: int, pushed: int) -> InboxPage:
        tail = await self.tail(user_id)
        rows = await self.rows_after(user_id, after, min(limit, MAX_PAGE)) if after < tail else ()
        items, passed = await self._items(rows[: _first_gap(rows)])
        if items:
            last = items[-1][0]
            return InboxPage(after, items, max(tail, last), last, items[0][0] > after + 1)
        if passed:
            return InboxPage(after, (), max(tail, passed), passed, True)
        if after > max(tail, pushed):
            return InboxPage(after, (), tail, tail, False, is_ahead=True)
        # The tail is above the cursor, but no row is left in between: all have expired.
        return InboxPage(after, (), tail, max(after, tail), tail > after)

    async def rows_after(self, user_id: str, after: int, limit: int) -> Sequence[InboxRow]:
        """Up to `limit` rows after the cursor, ascending, with gaps for rows that expired or cannot be read yet."""
        rows: list[InboxRow] = []
        for bucket, upper in await self._buckets_above(user_id, after):
            first = max(after + 1, bucket.first_inbox_seq)
            rows.extend(await self._bucket_rows(bucket, first, upper, limit - len(rows)))
            if len(rows) >= limit:
                break
        return rows[:limit]

    async def newest_rows(self, user_id: str, after: int, limit: int) -> Sequence[InboxRow] | None:
        """The rows of the `limit` inbox_seqs after a cursor, with two reads. None if the newest bucket begins above it.

        Unlike `rows_after`, it does not read on if none of these rows can be read.
        """
        (newest,) = await self._buckets(user_id, 1) or (None,)
        if newest is None:
            return ()
        if newest.first_inbox_seq > after + 1:
            return None
        return await self._store.inbox_rows(UserBucket(user_id, newest.bucket), after + 1, after + limit)

    async def _buckets_above(self, user_id: str, after: int) -> Sequence[tuple[BucketRow, int]]:
        """The buckets with rows above the cursor, ascending, each with its highest possible inbox_seq."""
        rows = await self._buckets(user_id, _NEWEST_BUCKETS)
        if len(rows) == _NEWEST_BUCKETS and rows[-1].first_inbox_seq > after + 1:
            rows = await self._buckets(user_id, _MANY_BUCKETS)
        uppers = [_ABOVE_ALL, *(row.first_inbox_seq - 1 for row in rows)]
        wanted = [(row, upper) for row, upper in zip(rows, uppers, strict=False) if upper > after]
        return wanted[::-1]

    async def _buckets(self, user_id: str, limit: int) -> Sequence[BucketRow]:
        return (await self._store.inbox_buckets((user_id,), limit)).get(user_id, ())

    async def _bucket_rows(self, bucket: BucketRow, first: int, upper: int, limit: int) -> Sequence[InboxRow]:
        """The lowest rows of one bucket: a page, or the remaining rows if the first ones have expired."""
        place = UserBucket(bucket.user_id, bucket.bucket)
        last = min(upper, first + limit - 1)
        rows = await self._store.inbox_rows(place, first, last)
        if rows or last == upper:
            return rows
        return (await self._store.inbox_rows(place, last + 1, min(upper, last + _BUCKET_SPAN)))[:limit]

    async def _items(self, rows: Sequence[InboxRow]) -> _Items:
        """Rows with their messages, up to PAGE_BYTES, and up to the first message that cannot be read.

        Rows of purged messages count as expired, so a page begins above them or ends before them.
        """
        items: list[tuple[int, bytes]] = []
        size = passed = 0
        for part in _parts(rows):
            stored, failed = await self._messages.readable_rows_at(_seqs_of(part))
            purged = 0 if items else await self._count_purged(part, stored)
            passed = part[purged - 1].inbox_seq if purged else passed
            for row in part[purged:]:
                message = stored.get((row.session_id, row.seq))
                if message is None and not items:
                    raise failed.get(row.session_id) or lost_message(
                        row.session_id, row.seq, row.user_id, row.inbox_seq
                    )
                if message is None:
                    return _Items(items, passed)
                encoded = messages_json.of_row(message)
                size += len(encoded) + _ITEM_BYTES
                if items and size > PAGE_BYTES:
                    return _Items(items, passed)
                items.append((row.inbox_seq, encoded))
                self._known_heads.see(row.session_id, row.seq)
        return _Items(items, passed)

    async def _count_purged(self, rows: Sequence[InboxRow], stored: Mapping[tuple[str, int], MessageRow]) -> int:
        """How many of the first rows are of messages that have reached the end of their life."""
        missing = list(takewhile(lambda row: (row.session_id, row.seq) not in stored, rows))
        if not missing:
            return 0
        newest = await self._store.segments({row.session_id for row in missing}, 1)
        purged_seqs = {name: segments[0].purged_seq or 0 for name, segments in newest.items()}
        return len(list(takewhile(lambda row: row.seq <= purged_seqs.get(row.session_id, 0), missing)))


def _seqs_of(rows: Sequence[InboxRow]) -> Mapping[str, Sequence[int]]:
    seqs: dict[str, list[int]] = {}
    for row in rows:
        seqs.setdefault(row.session_id, []).append(row.seq)
    return seqs


def _parts(rows: Sequence[InboxRow]) -> Iterator[Sequence[InboxRow]]:
    """Split rows into parts that need at most _BLOCKS_AT_ONCE cache blocks each. A page may span hundreds of groups,
    but only PAGE_BYTES of it are used. So later blocks are read only if the page still has room."""
    start, blocks = 0, set[tuple[str, int]]()
    for index, row in enumerate(rows):
        if not ids.is_group_session(row.session_id):
            continue
        block = (row.session_id, block_of(row.seq))
        if block not in blocks and len(blocks) == _BLOCKS_AT_ONCE:
            yield rows[start:index]
            start, blocks = index, set()
        blocks.add(block)
    if rows:
        yield rows[start:]


def _first_gap(rows: Sequence[InboxRow]) -> int:
    """The number of rows before the first gap. A page ends there, because `truncated` may only describe its start."""
    for index in range(1, len(rows)):
        if rows[index].inbox_seq != rows[index - 1].inbox_seq + 1:
            return index
    return len(rows)
