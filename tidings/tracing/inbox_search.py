"""A message's row in one user's inbox. No table finds it by message, so it is searched for by time.

The rows of an inbox are in the order of their delivery, so a binary search finds the first one that was delivered
late enough. The rows of one session are in the order of their seqs, which ends the search where the message is
missing. All calls raise StoreUnavailable.
"""

from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum

from tidings.store import inbox_tails
from tidings.store.base import Store, UserBucket
from tidings.store.directory import PAGE_ROWS
from tidings.store.rows import BucketRow, InboxRow

# 500,000 rows of full buckets.
_MOST_BUCKETS = 100
# After the place that the time gives. A user with more deliveries in that time has them in many sessions.
_MOST_ROWS = 2_000


class Missing(StrEnum):
    """Why no row was found."""

    NO_INBOX = "the user has no inbox: nothing was ever delivered"
    NOT_THERE = "no row: it is not delivered, or its row has expired"
    TOO_FAR = "not found within the rows that a trace reads"


async def inbox_row(store: Store, user_id: str, session_id: str, seq: int, not_before_ms: int) -> InboxRow | Missing:
    """The row of a message that was delivered at this time or later, by log time."""
    listed = (await store.inbox_buckets([user_id], _MOST_BUCKETS)).get(user_id, ())
    if not listed:
        return Missing.NO_INBOX
    buckets = listed[::-1]
    tail = (await inbox_tails.inbox_tails(store, [user_id]))[user_id]
    first = await _first_delivered(store, buckets, tail, not_before_ms)
    # Older buckets than those listed may hold it.
    is_cut = len(listed) == _MOST_BUCKETS and first == buckets[0].first_inbox_seq
    for start in range(first, min(tail + 1, first + _MOST_ROWS), PAGE_ROWS):
        for row in await _page(store, buckets, start, min(start + PAGE_ROWS - 1, tail)):
            if row.session_id == session_id and row.seq >= seq:
                return row if row.seq == seq else _missing(is_cut)
    return _missing(is_cut or first + _MOST_ROWS <= tail)


def _missing(is_cut: bool) -> Missing:
    return Missing.TOO_FAR if is_cut else Missing.NOT_THERE


async def _first_delivered(store: Store, buckets: Sequence[BucketRow], tail: int, not_before_ms: int) -> int:
    """The lowest inbox_seq that was delivered at this time or later, or the one after the tail.

    A row that is missing counts as earlier: it has expired, or it is an inbox_seq that was left out after an expiry.
    """
    first, end = buckets[0].first_inbox_seq, tail + 1
    while first < end:
        middle = (first + end) // 2
        rows = await store.inbox_rows(_bucket_of(buckets, middle), middle, middle)
        if rows and rows[0].delivery_at >= not_before_ms:
            end = middle
        else:
            first = middle + 1
    return first


async def _page(store: Store, buckets: Sequence[BucketRow], first: int, last: int) -> Sequence[InboxRow]:
    """The rows first..last (both included), in order."""
    spanned = buckets[_index_of(buckets, first) : _index_of(buckets, last) + 1]
    return [row for one in spanned for row in await store.inbox_rows(_name(one), first, last)]


def _bucket_of(buckets: Sequence[BucketRow], inbox_seq: int) -> UserBucket:
    return _name(buckets[_index_of(buckets, inbox_seq)])


def _index_of(buckets: Sequence[BucketRow], inbox_seq: int) -> int:
    """The bucket that holds an inbox_seq. `buckets`: ascending."""
    return max(bisect_right(buckets, inbox_seq, key=lambda row: row.first_inbox_seq) - 1, 0)


def _name(bucket: BucketRow) -> UserBucket:
    return UserBucket(bucket.user_id, bucket.bucket)
