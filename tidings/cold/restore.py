"""Brings cold segments back to the tables.

The next run of the archiver moves them again, so stop it if they shall stay.

The rows are written and confirmed before the directory names them, so a reader finds each message at every moment.
The object stays; `verify` lists it as unnamed.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidings.cold.claims import Claim, ClaimLost
from tidings.cold.listing import Listed, archived_of, listed, pages
from tidings.cold.objects import decode_groups
from tidings.cold.ports import Ports
from tidings.cold.transfer import ObjectFile
from tidings.cold.verify import Damage, make_hot, reopened, unmark
from tidings.errors import ColdUnavailable, StoreUnavailable
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment, TaggedRow
from tidings.store.directory import DIRECTORY_PAGE
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentRow

_ABOVE_ALL_SEGMENTS = 2**31 - 1


@dataclass(slots=True)
class Restored:
    """What is hot again. `left_out`: segments whose objects are damaged."""

    segments: int = 0
    messages: int = 0
    left_out: int = 0


class Restorer:
    """Over the ports. Raises Retryable errors of the servers; `restored` then has what was done until then."""

    def __init__(
        self,
        ports: Ports,
        work_dir: Path,
        progress: Callable[[Restored], None] = lambda _: None,
        found: Callable[[Damage], None] = lambda _: None,
    ) -> None:
        """`work_dir`: for one object at a time. `progress` is called after every segment.

        `found` is called for every segment that is left out, because its object is damaged.
        """
        self._ports = ports
        self._holder = uuid.uuid4().hex
        self._file = ObjectFile(ports.objects, work_dir / "restore.parquet")
        self._progress = progress
        self._found = found
        self.restored = Restored()

    async def shard(self, shard: Shard) -> None:
        """All cold segments of a shard."""
        async with self._claimed(shard) as claim:
            async for page in pages(self._ports.tables, shard):
                for one in page:
                    await self._restore(one, claim)

    async def session(self, session_id: str) -> None:
        """All cold segments of a session, newest first."""
        below = _ABOVE_ALL_SEGMENTS
        shards = await self._ports.tables.indexed_shards()
        while page := await self._ports.store.segments_below(session_id, below, DIRECTORY_PAGE):
            below = page[-1].segment
            for segment in page:
                if segment.cold is not None:
                    await self._restore_listed(segment, [one for one in shards if one.month == segment.month])

    async def _restore_listed(self, segment: SegmentRow, shards: Sequence[Shard]) -> None:
        """Restore a segment that one of these shards lists. Which one, a changed TIDINGS_LIMIT_MONTH_SHARDS decided."""
        before = SessionSegment(segment.session_id, segment.segment - 1)
        for shard in shards:
            rows = await self._ports.tables.segments_of(shard, before, 1)
            found = [row for row in rows if (row.session_id, row.segment) == (segment.session_id, segment.segment)]
            if found:
                async with self._claimed(shard) as claim:
                    for one in await listed(self._ports.tables, found):
                        await self._restore(one, claim)

    @contextlib.asynccontextmanager
    async def _claimed(self, shard: Shard) -> AsyncIterator[Claim]:
        claim = Claim(self._ports.tables, self._ports.clock, shard, self._holder)
        async with claim.held() as is_held:
            if not is_held:
                raise ClaimLost("an archiver holds these messages; stop it, or try again in a minute")
            async with reopened(self._ports.tables, shard):
                yield claim

    async def _restore(self, one: Listed, claim: Claim) -> None:
        place = one.segment.cold
        if place is None or one.is_purged:
            return
        problem = await self._file.problem(place.object_key, place.object_sha256, [archived_of(one)])
        if problem:
            self.restored.left_out += 1
            self._found(Damage(*one.name, place.object_key, problem, is_repaired=False))
            return
        if not await unmark(self._ports, one):
            raise ColdUnavailable(
                f"{_named(one)}: the clock of this machine is behind that of the archiver; set it right"
            )
        groups = decode_groups(self._file.path, place.first_row, place.rows)
        while rows := await asyncio.to_thread(next, groups, None):
            await self._write(rows)
        if not await make_hot(self._ports, one, claim):
            raise ColdUnavailable(f"{_named(one)}: its rows were deleted again meanwhile; it stays cold. Run it again")
        self.restored.segments += 1
        self.restored.messages += place.rows
        self._progress(self.restored)

    async def _write(self, rows: Sequence[MessageRow]) -> None:
        if await self._ports.store.write([TaggedRow(0, row) for row in rows]):
            raise StoreUnavailable("the restored rows were not confirmed; run it again")


def _named(one: Listed) -> str:
    return f"{one.name.session_id} segment {one.name.segment}"
