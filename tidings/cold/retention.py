"""Removes the messages of a shard at the end of their life. The steps have this order, and each may be repeated:

1. Every session of the shard learns that its messages up to a seq are gone. From then on no reader shows or promises
   them, and unread leaves them out.
2. The hot row that a cold session keeps for previews is deleted, as are the objects.
3. The shard leaves the index, if all of it is purged. A segment that cannot move keeps itself and what follows it in
   its session, and no other session.

The rows of the directory stay, because a session's tail must outlive its messages: a seq is never given twice.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tidings.cold.claims import Claim
from tidings.cold.listing import Listed, pages
from tidings.cold.mover import prefix_of
from tidings.cold.ports import Ports
from tidings.logging import logger
from tidings.store.archive_tables import Shard
from tidings.store.segment_rows import ColdPlace

_log = logger("tidings.cold")
_OBJECTS_AT_ONCE = 500


@dataclass(slots=True)
class Purged:
    """What a run has removed. `shards`: those of which nothing is left.

    `held`: segments that are too old and stay, because they or older ones of their sessions are still hot.
    """

    shards: int = 0
    segments: int = 0
    messages: int = 0
    objects: int = 0
    held: int = 0


class Retention:
    """Over the ports. Raises Retryable errors of the servers."""

    def __init__(self, ports: Ports) -> None:
        """Removes nothing yet."""
        self._tables, self._store, self._objects, _, self._clock = ports
        self.purged = Purged()

    async def purge(self, shard: Shard, claim: Claim) -> None:
        """Remove the cold messages of a shard, under its claim. Shards of older months must be purged before.

        What is hot is kept, and so is what follows it in its session, because a session loses its beginning only.
        """
        beginnings, kept_objects, held = _Beginnings(), set[str](), 0
        async for page in pages(self._tables, shard):
            due = [one for one in page if beginnings.may_end(one)]
            left = [one.segment.cold for one in page if one not in due]
            held += len(left)
            kept_objects.update(place.object_key for place in left if place is not None)
            claim.ensure()
            await asyncio.gather(*map(self._purge_segment, due))
            self._count([_place(one).rows for one in due if not one.is_purged])
        claim.ensure()
        await self._delete_objects(shard, kept_objects)
        if held:
            self.purged.held += held
            _log.warning(
                "segments are too old and not archived yet; they are kept",
                month=shard.month,
                shard=shard.shard,
                segments=held,
            )
            await self._tables.reopen(shard)  # if it counts as finished, so that the next run moves them
        else:
            await self._tables.drop_shard(shard)
            self.purged.shards += 1

    async def plan(self, shard: Shard) -> None:
        """Count what `purge` would remove at most, and change nothing. What is hot would move before."""
        async for page in pages(self._tables, shard):
            left = [one for one in page if not one.is_purged]
            still_open = [one.name for one in left if _last_seq(one) is None]
            newest = await self._store.newest_messages(still_open, 1) if still_open else {}
            last_seqs = {name: rows[0].seq for name, rows in newest.items() if rows}
            self._count([(_last_seq(one) or last_seqs.get(one.name, 0)) - one.segment.first_seq + 1 for one in left])
        self.purged.shards += 1

    def _count(self, messages: Sequence[int]) -> None:
        """Segments with so many messages each."""
        self.purged.segments += len(messages)
        self.purged.messages += sum(max(one, 0) for one in messages)

    async def _purge_segment(self, one: Listed) -> None:
        place = _place(one)
        last_seq = one.segment.first_seq + place.rows - 1
        await self._tables.set_purged(one.name.session_id, last_seq, place.last_count)
        await self._tables.drop_messages(one.name, None, self._clock.wall_ms() * 1000)

    async def _delete_objects(self, shard: Shard, kept: Collection[str]) -> None:
        keys = [stored.key async for stored in self._objects.list(prefix_of(shard)) if stored.key not in kept]
        for start in range(0, len(keys), _OBJECTS_AT_ONCE):
            await self._objects.delete(keys[start : start + _OBJECTS_AT_ONCE])
        self.purged.objects += len(keys)


class _Beginnings:
    """Which segments are the beginnings of their sessions, of segments by session and number."""

    def __init__(self) -> None:
        self._session_id, self._purged_seq = "", 0

    def may_end(self, one: Listed) -> bool:
        """Whether it is cold, and all before it is purged. Otherwise readers would lose messages that are kept."""
        if one.name.session_id != self._session_id:
            self._session_id, self._purged_seq = one.name.session_id, 0
        purged_seq = max(self._purged_seq, one.segment.purged_seq or 0)
        if one.segment.cold is None or one.segment.first_seq > purged_seq + 1:
            return False
        self._purged_seq = one.segment.first_seq + _place(one).rows - 1
        return True


def _place(one: Listed) -> ColdPlace:
    assert one.segment.cold is not None  # only cold segments end
    return one.segment.cold


def _last_seq(one: Listed) -> int | None:
    """The last seq of a segment; None if it is open."""
    if one.segment.cold is not None:
        return one.segment.first_seq + one.segment.cold.rows - 1
    return one.following.first_seq - 1 if one.following is not None else one.segment.last_seq
