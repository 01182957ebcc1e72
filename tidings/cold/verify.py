"""Reads every object again and compares it with the directory. Damaged segments are repaired from their hot rows."""

import contextlib
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidings.cold.checksums import RowsChecksum
from tidings.cold.claims import Claim
from tidings.cold.grouping import PlacedSegment, SegmentsByObject
from tidings.cold.listing import Listed, archived_of, listed, pages
from tidings.cold.mover import prefix_of
from tidings.cold.ports import Ports
from tidings.cold.reading import chunks_of
from tidings.cold.transfer import ObjectFile, ensure_answers
from tidings.errors import MediaUnavailable
from tidings.ids import DAY_MS
from tidings.store.archive_tables import ArchiveTables, Shard
from tidings.store.base import SessionSegment, Store
from tidings.store.segment_rows import ColdPlace, SegmentByMonthRow


@dataclass(frozen=True, slots=True)
class Damage:
    """A segment that cannot be read from its object. `is_repaired`: it is hot again."""

    session_id: str
    segment: int
    object_key: str
    problem: str
    is_repaired: bool


@dataclass(slots=True)
class Verified:
    """What was compared. `unnamed`: keys of objects that no segment names, as an archiver leaves them when killed.

    `unlisted`: shards whose objects cannot be listed, and why.
    `hot_in_finished`: hot segments of shards that counted as finished. These shards are reopened.
    """

    objects: int = 0
    segments: int = 0
    messages: int = 0
    damages: list[Damage] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    hot_in_finished: int = 0


class Verifier:
    """Over the ports. Raises Retryable errors of the servers; `verified` then has what was found until then."""

    def __init__(
        self,
        ports: Ports,
        work_dir: Path,
        progress: Callable[[Verified], None] = lambda _: None,
        found: Callable[[Damage], None] = lambda _: None,
    ) -> None:
        """`work_dir`: for one object at a time, and 300 bytes for each segment of a shard.

        `progress` is called after every object, `found` for every damage at once.
        """
        self._ports = ports
        self._holder = uuid.uuid4().hex
        self._work_dir = work_dir
        self._file = ObjectFile(ports.objects, work_dir / "verify.parquet")
        self._progress = progress
        self._found = found
        self.verified = Verified()

    async def verify(self, shards: Sequence[Shard], *, repairs: bool) -> Verified:
        """Compare all objects of these shards. `repairs`: bring damaged segments back whose hot rows are complete."""
        finished = {Shard(row.month, row.shard) for row in await self._ports.tables.archived_shards()}
        for shard in shards:
            with tempfile.TemporaryDirectory(prefix="verify-", dir=self._work_dir) as folder:
                by_object = SegmentsByObject(Path(folder))
                hot_segments = await self._group(shard, by_object)
                if hot_segments and shard in finished:
                    await self._ports.tables.reopen(shard)
                    self.verified.hot_in_finished += hot_segments
                for key, segments in by_object.objects():
                    await self._compare(shard, key, segments, repairs=repairs)
                    self._progress(self.verified)
                await self._list(shard, by_object)
        return self.verified

    async def _group(self, shard: Shard, by_object: SegmentsByObject) -> int:
        """Add all cold segments of a shard. Returns the number of the hot ones."""
        hot_segments = 0
        async for page in pages(self._ports.tables, shard):
            for one in page:
                place = one.segment.cold
                if place is None:
                    hot_segments += 1
                elif not one.is_purged:
                    by_object.add(place.object_key, PlacedSegment(archived_of(one), place.object_sha256))
        return hot_segments

    async def _compare(self, shard: Shard, key: str, segments: Sequence[PlacedSegment], *, repairs: bool) -> None:
        try:
            # One pass, also for thousands of segments. Only if it finds anything, each is compared alone.
            is_sound = len({one.object_sha256 for one in segments}) == 1 and not await self._problem(key, segments)
            for one in segments:
                found = "" if is_sound else await self._problem(key, [one])
                self.verified.segments += 1
                now = await self._still_there(shard, key, one) if found else None
                if now is not None:
                    is_repaired = repairs and await self._repair(now)
                    damage = Damage(*now.name, key, found, is_repaired)
                    self.verified.damages.append(damage)
                    self._found(damage)
                elif not found:
                    self.verified.messages += one.archived.rows
            self.verified.objects += 1
        finally:
            self._file.discard()

    async def _problem(self, key: str, segments: Sequence[PlacedSegment]) -> str:
        return await self._file.problem(key, segments[0].object_sha256, [one.archived for one in segments])

    async def _repair(self, one: Listed) -> bool:
        """Make the segment hot again, if all of its hot rows are there, with the checksum of the directory."""
        shard = Shard(one.row.month, one.row.shard)
        claim = Claim(self._ports.tables, self._ports.clock, shard, self._holder)
        async with claim.held() as is_held:
            if not is_held:
                return False
            async with reopened(self._ports.tables, shard):
                return await unmark(self._ports, one) and await make_hot(self._ports, one, claim)

    async def _still_there(self, shard: Shard, key: str, one: PlacedSegment) -> Listed | None:
        """The segment as the directory has it now. None: it was restored, archived again or purged meanwhile."""
        row = SegmentByMonthRow(*shard, one.archived.session_id, one.archived.segment)
        for now in await listed(self._ports.tables, [row]):
            place = now.segment.cold
            if place is None or now.is_purged or place.object_key != key:
                continue
            if PlacedSegment(archived_of(now), place.object_sha256) == one:
                return now
        return None

    async def _list(self, shard: Shard, named: Container[str]) -> None:
        """Find unnamed objects. A folder that alone cannot be listed, as one with a loop of links, is a finding."""
        try:
            self.verified.unnamed += await unnamed_objects(self._ports, shard, named)
        except MediaUnavailable as error:
            await ensure_answers(self._ports.objects)
            self.verified.unlisted.append(f"{prefix_of(shard)}: {error}")


async def unnamed_objects(ports: Ports, shard: Shard, named: Container[str] = ()) -> list[str]:
    """The objects of a day ago or more that no segment names, also by the directory as it is now.

    An archiver that runs meanwhile stores an object before it names it, and names it within minutes. `named`: keys
    that need no look. Raises Retryable errors.
    """
    before_ms = ports.clock.wall_ms() - DAY_MS
    found = {
        stored.key
        async for stored in ports.objects.list(prefix_of(shard))
        if stored.key not in named and stored.modified_ms < before_ms
    }
    if found:
        async for page in pages(ports.tables, shard):
            found -= {one.segment.cold.object_key for one in page if one.segment.cold is not None}
    return sorted(found)


@contextlib.asynccontextmanager
async def reopened(tables: ArchiveTables, shard: Shard) -> AsyncIterator[None]:
    """Segments of the shard become hot in the block. It counts as unfinished, whatever an archiver saw before its end.

    The second time is for an archiver that finished the shard while this process stood still in the block.
    """
    await tables.reopen(shard)
    try:
        yield
    finally:
        await tables.reopen(shard)


async def unmark(ports: Ports, one: Listed) -> bool:
    """Take the mark of a cold segment away, before any of its rows is written. Call it within `reopened`.

    So a stop in between leaves a cold segment with a hot copy, which the next run of the archiver deletes. False: it
    had no effect, because the clock of this machine is behind that of the archiver.
    """
    await ports.tables.unmark(one.row)
    before = SessionSegment(one.row.session_id, one.row.segment - 1)
    rows = await ports.tables.segments_of(Shard(one.row.month, one.row.shard), before, 1)
    return bool(rows) and rows[0].dropped_of is None


async def make_hot(ports: Ports, one: Listed, claim: Claim) -> bool:
    """The directory names the hot rows of a segment again, if they are all there. The archiver may move it again.

    The claim keeps an archiver from deleting them meanwhile. If it expires in between, the second look finds that they
    are missing. Call `unmark` before, and both within `reopened`.
    """
    if not await _is_complete(ports.store, one):
        return False
    claim.ensure()
    await ports.tables.set_cold(one.name, None)
    found = await ports.tables.segments_from(one.name, 1)
    if not found or found[0].cold is not None:
        return False  # the clock of this machine is behind that of the archiver
    if not await _is_complete(ports.store, one):
        await ports.tables.set_cold(one.name, one.segment.cold)
        return False
    return True


async def _is_complete(store: Store, one: Listed) -> bool:
    """Whether the hot rows of a cold segment have the checksum of the directory."""
    checksum = RowsChecksum()
    last_seq = one.segment.first_seq + _place(one).rows - 1
    async for rows in chunks_of(store, one.name, one.segment.first_seq, last_seq):
        checksum.add(rows)
    return checksum.digest() == _place(one).rows_sha256


def _place(one: Listed) -> ColdPlace:
    assert one.segment.cold is not None  # only cold segments are compared
    return one.segment.cold
