"""Removes the messages of a shard at the end of their life. The steps have this order, and each may be repeated:

1. Every session of the shard learns that its messages up to a seq are gone. From then on no reader shows or promises
   them, and unread leaves them out.
2. The hot row that a cold session keeps for previews is deleted, as are the objects.
3. The shard leaves the index.

The rows of the directory stay, because a session's tail must outlive its messages: a seq is never given twice.
"""

import asyncio
from dataclasses import dataclass

from tidings.cold.claims import Claim
from tidings.cold.listing import Listed, pages
from tidings.cold.mover import prefix_of
from tidings.cold.ports import Ports
from tidings.logging import logger
from tidings.store.archive_tables import Shard

_log = logger("tidings.cold")
_OBJECTS_AT_ONCE = 500


@dataclass(slots=True)
class Purged:
    """What a run has removed. `held`: shards that still have hot segments, so nothing of them is removed."""

    shards: int = 0
    segments: int = 0
    messages: int = 0
    objects: int = 0
    held: int = 0


class Retention:
    """Over the ports. Raises Retryable errors of the servers."""

    def __init__(self, ports: Ports) -> None:
        """Removes nothing yet."""
        self._tables, _, self._objects, _, self._clock = ports
        self.purged = Purged()

    async def purge(self, shard: Shard, claim: Claim | None) -> None:
        """Remove all messages of a shard. Shards of older months must be purged before.

        `claim`: held on the shard. Without one nothing is changed, and what would be removed is counted.
        """
        if not await self._is_cold(shard):
            self.purged.held += 1
            _log.warning("a shard is too old and not archived yet; it is kept", month=shard.month, shard=shard.shard)
            return
        async for page in pages(self._tables, shard):
            if any(one.segment.cold is None for one in page):
                self.purged.held += 1
                return  # restored meanwhile
            if claim is not None:
                claim.ensure()
                await asyncio.gather(*map(self._purge_segment, page))
            self.purged.segments += len(page)
            self.purged.messages += sum(one.segment.cold.rows for one in page if one.segment.cold)
        if claim is not None:
            claim.ensure()
            await self._delete_objects(shard)
            await self._tables.drop_shard(shard)
        self.purged.shards += 1

    async def _is_cold(self, shard: Shard) -> bool:
        async for page in pages(self._tables, shard):
            if any(one.segment.cold is None for one in page):
                return False
        return True

    async def _purge_segment(self, one: Listed) -> None:
        place = one.segment.cold
        assert place is not None  # `_is_cold` has seen it
        last_seq = one.segment.first_seq + place.rows - 1
        await self._tables.set_purged(one.name.session_id, last_seq, place.last_count)
        await self._tables.drop_messages(one.name, None, self._clock.wall_ms() * 1000)

    async def _delete_objects(self, shard: Shard) -> None:
        keys = [stored.key async for stored in self._objects.list(prefix_of(shard))]
        for start in range(0, len(keys), _OBJECTS_AT_ONCE):
            await self._objects.delete(keys[start : start + _OBJECTS_AT_ONCE])
        self.purged.objects += len(keys)
