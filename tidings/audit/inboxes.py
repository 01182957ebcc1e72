"""One inbox: its numbers, its order, and that each row names a stored message. Raises StoreUnavailable.

No row is judged by a position, because deliver writes rows only for messages that a quorum has confirmed, and the rows
of one inbox in their order. A group in read diffusion has no rows here but those of its memberships.
"""

from collections import defaultdict
from collections.abc import Sequence

from tidings.audit.pacing import Pacing
from tidings.audit.rules import Finding, InboxOrder
from tidings.audit.stored import stored_ids
from tidings.clock import Clock
from tidings.store.base import Store, UserBucket
from tidings.store.rows import BucketRow, InboxRow

_PAGE_ROWS = 500
# Five million rows in 100 days. Older buckets have expired.
_MOST_BUCKETS = 1_000
_BUCKETS_AT_ONCE = 16


class Inboxes:
    """Looks at inboxes and at partitions of inbox rows."""

    def __init__(self, store: Store, clock: Clock, pacing: Pacing) -> None:
        self._store = store
        self._clock = clock
        self._pacing = pacing

    async def look(self, user_id: str) -> set[Finding]:
        """The findings of one inbox. Rows that come meanwhile are left out."""
        found: set[Finding] = set()
        order = InboxOrder(user_id, self._clock.wall_ms())
        for bucket, last in await self._buckets(user_id):
            # A bucket is listed after the last row of the one before, also if none of its own rows has come.
            found.update(order.reaches(bucket.first_inbox_seq))
            if last is None:
                continue
            for start in range(bucket.first_inbox_seq, last + 1, _PAGE_ROWS):
                end = min(last, start + _PAGE_ROWS - 1)
                rows = await self._store.inbox_rows(UserBucket(user_id, bucket.bucket), start, end)
                await self._pacing.read(rows)
                for row in rows:
                    found.update(order.add(row))
                found |= await self._without_message(user_id, rows)
        return found

    async def look_at_bucket(self, name: UserBucket) -> set[Finding]:
        """The rows of a bucket need a row of the directory, without which no reader finds them."""
        newest = await self._pacing.read((await self._store.newest_inbox_rows([name], 1)).get(name, ()))
        # All rows have expired, or a bucket of this number is listed, also one that has just been opened.
        if not newest or name.bucket in {row.bucket for row in await self._listed(name.user_id)}:
            return set()
        place = f"inbox {name.user_id} bucket {name.bucket}"
        return {Finding("orphaned", place, f"its rows up to inbox_seq {newest[0].inbox_seq} are in no directory")}

    async def _listed(self, user_id: str) -> Sequence[BucketRow]:
        return await self._pacing.read((await self._store.inbox_buckets([user_id], _MOST_BUCKETS)).get(user_id, ()))

    async def _buckets(self, user_id: str) -> list[tuple[BucketRow, int | None]]:
        """The buckets, ascending, each with the number of its newest row (None: all have expired, or none has come)."""
        buckets = list(reversed(await self._listed(user_id)))
        found: list[tuple[BucketRow, int | None]] = []
        for start in range(0, len(buckets), _BUCKETS_AT_ONCE):
            some = {UserBucket(user_id, row.bucket): row for row in buckets[start : start + _BUCKETS_AT_ONCE]}
            newest = await self._store.newest_inbox_rows(some, 1)
            await self._pacing.read(list(some))
            found += [(row, newest[name][0].inbox_seq if name in newest else None) for name, row in some.items()]
        return found

    async def _without_message(self, user_id: str, rows: Sequence[InboxRow]) -> set[Finding]:
        wanted: defaultdict[str, set[int]] = defaultdict(set)
        for row in rows:
            wanted[row.session_id].add(row.seq)
        stored = await stored_ids(self._store, wanted)
        await self._pacing.read(rows)
        problems = {row.inbox_seq: stored.problem(row.session_id, row.seq, row.message_id) for row in rows}
        return {
            Finding("orphaned", f"inbox {user_id}", f"inbox_seq {number} {problem}")
            for number, problem in problems.items()
            if problem
        }
