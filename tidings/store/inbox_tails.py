"""The end of each inbox, as of now or as of a position of the log. Over any Store.

A bucket is listed before its first row is written, so the newest listed one may be empty (H8). All calls raise
StoreUnavailable.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tidings.ids import Position
from tidings.store.base import Store, UserBucket
from tidings.store.directory import FIRST_ROWS, NEWEST_ROWS, PAGE_ROWS, Check, first_below, unchecked
from tidings.store.rows import BucketRow, InboxRow


@dataclass(frozen=True, slots=True)
class InboxEnd:
    """A user's newest bucket and its newest row, which is None if all rows of the bucket have expired (H9)."""

    bucket: BucketRow
    row: InboxRow | None


async def inbox_tails_below(
    store: Store, positions: Mapping[str, Position], check: Check = unchecked
) -> dict[str, InboxEnd | None]:
    """The newest bucket of each user that was opened below the position, with its newest row below the position.

    Law 5 (a replay ignores later rows) needs the state as of a position. None: no bucket was
    opened below it. A bucket that was opened below the position held a confirmed row below it.
    If no such row can be read, all of them have expired, and those of older buckets too. Then
    the row is None (H9). `check` is called after each read.
    """
    buckets = await _buckets_below(store, positions, check)
    names = {user_id: UserBucket(user_id, bucket.bucket) for user_id, bucket in buckets.items()}
    newest = await store.newest_inbox_rows(names.values(), 1) if names else {}
    check()
    ends: dict[str, InboxEnd | None] = dict.fromkeys(positions)
    unclear = []
    for user_id, bucket in buckets.items():
        rows = newest.get(names[user_id], ())
        if rows and rows[0].made_at >= positions[user_id]:
            unclear.append(user_id)
        else:
            ends[user_id] = InboxEnd(bucket, rows[0] if rows else None)
    newest = await store.newest_inbox_rows([names[user_id] for user_id in unclear], NEWEST_ROWS) if unclear else {}
    check()
    found = await asyncio.gather(
        *(
            _inbox_row_below(store, buckets[user_id], positions[user_id], newest.get(names[user_id], ()), check)
            for user_id in unclear
        )
    )
    ends.update({user_id: InboxEnd(buckets[user_id], row) for user_id, row in zip(unclear, found, strict=True)})
    return ends


async def inbox_tails(store: Store, user_ids: Collection[str]) -> dict[str, int]:
    """The newest readable inbox_seq of each user, 0 for an empty inbox.

    If all rows have expired, it is the seq before the first one of the newest bucket.
    """
    listed = await store.inbox_buckets(user_ids, FIRST_ROWS) if user_ids else {}
    names = [UserBucket(user_id, row.bucket) for user_id, rows in listed.items() for row in rows]
    newest = await store.newest_inbox_rows(names, 1) if names else {}
    tails = dict.fromkeys(user_ids, 0)
    for user_id, rows in listed.items():
        tails[user_id] = rows[0].first_inbox_seq - 1
    for name, inbox_rows in newest.items():
        tails[name.user_id] = max(tails[name.user_id], inbox_rows[0].inbox_seq)
    return tails


async def _buckets_below(store: Store, positions: Mapping[str, Position], check: Check) -> dict[str, BucketRow]:
    """The newest bucket of each user that was opened below the position. Users without one are left out."""
    found: dict[str, BucketRow] = {}
    pending: Collection[str] = positions
    limit = FIRST_ROWS
    while pending:
        listed = await store.inbox_buckets(pending, limit)
        check()
        unclear = []
        for user_id, rows in listed.items():
            bucket = first_below(rows, positions[user_id])
            if bucket is not None:
                found[user_id] = bucket
            elif len(rows) == limit:
                unclear.append(user_id)
        pending, limit = unclear, limit * 10
    return found


async def _inbox_row_below(
    store: Store, bucket: BucketRow, position: Position, rows: Sequence[InboxRow], check: Check
) -> InboxRow | None:
    """The newest row made below the position, or None. `rows`: the newest rows of the bucket, which often hold it."""
    name = UserBucket(bucket.user_id, bucket.bucket)
    while rows:
        for row in rows:
            if row.made_at < position:
                return row
        lowest = rows[-1].inbox_seq
        rows = (await store.inbox_rows(name, max(bucket.first_inbox_seq, lowest - PAGE_ROWS), lowest - 1))[::-1]
        check()
    return None
