"""Objects: those of uploads that messages refer to, and those of cold segments.

A store that is away answers nothing, so the places that need it are counted as not looked at, and never as findings.
All calls raise StoreUnavailable for the tables.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tidings.audit.pacing import Pacing
from tidings.audit.rules import Finding
from tidings.cold.listing import pages
from tidings.cold.mover import prefix_of
from tidings.cold.ports import Ports
from tidings.cold.transfer import ensure_answers
from tidings.cold.verify import unnamed_objects
from tidings.errors import MediaUnavailable
from tidings.store.archive_tables import Shard

T = TypeVar("T")


class Objects:
    """Looks at uploads and at shards of cold segments. `unseen`: places not looked at, by part."""

    def __init__(self, ports: Ports, pacing: Pacing) -> None:
        self._ports = ports
        self._pacing = pacing
        self._is_away = False
        self.unseen: Counter[str] = Counter()

    def begin_part(self) -> None:
        """Ask the store again, if it was away."""
        self._is_away = False

    async def look_at_upload(self, media_id: str) -> set[Finding]:
        """An upload that a message refers to has a row, and its objects."""
        refs = await self._pacing.read(await self._ports.store.media_refs(media_id, 1))
        if not refs:
            return set()
        place = f"upload {media_id}"
        row = (await self._ports.store.media([media_id])).get(media_id)
        if row is None:
            by = f"{refs[0].session_id} seq {refs[0].seq}"
            return {Finding("orphaned", place, f"{by} refers to it, and it has no row")}
        keys = [row.object_key, row.thumb_key] if row.thumb_size else [row.object_key]
        gone = await self._asked("uploads", lambda: self._gone(keys))
        return {Finding("orphaned", place, f"its object {key} is gone") for key in gone or ()}

    async def look_at_shard(self, shard: Shard) -> set[Finding]:
        """Each cold segment has its object, and each object of a day ago or more a segment."""
        segments: defaultdict[str, int] = defaultdict(int)
        async for page in pages(self._ports.tables, shard):
            await self._pacing.read(page)
            for one in page:
                if one.segment.cold is not None and not one.is_purged:
                    segments[one.segment.cold.object_key] += 1

        async def look() -> set[Finding]:
            gone = await self._gone(list(segments))
            found = {
                Finding("missing", f"object {key}", f"it is gone, and {segments[key]} segments are in it")
                for key in gone
            }
            for key in await unnamed_objects(self._ports, shard, segments):
                found.add(Finding("orphaned", f"object {key}", "no segment is in it"))
            return found

        return await self._asked(prefix_of(shard), look) or set()

    async def _gone(self, keys: list[str]) -> list[str]:
        gone = []
        for key in keys:
            if await self._ports.objects.size(key) is None:
                gone.append(key)
            await self._pacing.read(())
        return gone

    async def _asked(self, part: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer of the store. None: it is away, or this object or folder alone cannot be looked at."""
        if not self._is_away:
            try:
                return await ask()
            except MediaUnavailable:
                self._is_away = not await self._answers()
        self.unseen[part] += 1
        return None

    async def _answers(self) -> bool:
        try:
            await ensure_answers(self._ports.objects)
        except MediaUnavailable:
            return False
        return True
