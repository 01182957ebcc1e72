"""Reads every object again and compares it with the directory. Damaged segments are repaired from their hot rows."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tidings.cold.checksums import RowsChecksum
from tidings.cold.claims import Claim
from tidings.cold.listing import Listed, pages
from tidings.cold.mover import prefix_of
from tidings.cold.objects import ArchivedSegment
from tidings.cold.ports import Ports
from tidings.cold.transfer import fetch, first_problem
from tidings.errors import MediaMissing, UnreadableObject
from tidings.store.archive_tables import Shard
from tidings.store.base import Store
from tidings.store.segment_rows import ColdPlace

_CHUNK_ROWS = 1_000


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
    """What was compared. `unnamed`: keys of objects that no segment names, as an archiver leaves them when killed."""

    objects: int = 0
    segments: int = 0
    messages: int = 0
    damages: list[Damage] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)


class Verifier:
    """Over the ports. Raises Retryable errors of the servers."""

    def __init__(self, ports: Ports, work_dir: Path, progress: Callable[[Verified], None] = lambda _: None) -> None:
        """`work_dir`: for one object at a time. `progress` is called after every object."""
        self._ports = ports
        self._holder = uuid.uuid4().hex
        self._path = work_dir / "verify.parquet"
        self._progress = progress
        self.verified = Verified()

    async def verify(self, shards: Sequence[Shard], *, repairs: bool) -> Verified:
        """Compare all objects of these shards. `repairs`: bring damaged segments back whose hot rows are complete."""
        for shard in shards:
            by_object: defaultdict[str, list[Listed]] = defaultdict(list)
            async for page in pages(self._ports.tables, shard, with_dropped=True):
                for one in page:
                    if one.segment.cold is not None and not _is_purged(one):
                        by_object[one.segment.cold.object_key].append(one)
            for key, segments in by_object.items():
                await self._compare(key, segments, repairs=repairs)
                self._progress(self.verified)
            self.verified.unnamed += [one async for one in self._unnamed(shard, by_object)]
        return self.verified

    async def _compare(self, key: str, segments: Sequence[Listed], *, repairs: bool) -> None:
        self.verified.objects += 1
        digest, problem = b"", ""
        try:
            digest = await fetch(self._ports.objects, key, self._path)
        except MediaMissing:
            problem = "the object is missing"
        try:
            is_sound = not problem and await self._is_sound(segments, digest)
            for one in segments:
                found = "" if is_sound else problem or await self._problem_of(one, digest)
                self.verified.segments += 1
                if found:
                    is_repaired = repairs and await self._repair(one)
                    self.verified.damages.append(Damage(*one.name, key, found, is_repaired))
                else:
                    self.verified.messages += _place(one).rows
        finally:
            self._path.unlink(missing_ok=True)

    async def _is_sound(self, segments: Sequence[Listed], digest: bytes) -> bool:
        """Whether all segments of an object are as the directory says. One pass, also for thousands of segments."""
        try:
            archived = [archived_of(one) for one in segments]
            problem = await asyncio.to_thread(first_problem, self._path, archived)
        except UnreadableObject:
            return False
        return not problem and all(digest == _place(one).object_sha256 for one in segments)

    async def _problem_of(self, one: Listed, digest: bytes) -> str:
        try:
            problem = await asyncio.to_thread(first_problem, self._path, [archived_of(one)])
        except UnreadableObject as error:
            return str(error)
        if problem or digest == _place(one).object_sha256:
            return problem
        return "the object has other bytes than the directory says"

    async def _repair(self, one: Listed) -> bool:
        """Make the segment hot again, if all of its hot rows are there, with the checksum of the directory."""
        shard = Shard(one.row.month, one.row.shard)
        claim = Claim(self._ports.tables, self._ports.clock, shard, self._holder)
        async with claim.held() as is_held:
            return is_held and await make_hot(self._ports, one, claim)

    async def _unnamed(self, shard: Shard, named: Collection[str]) -> AsyncIterator[str]:
        async for stored in self._ports.objects.list(prefix_of(shard)):
            if stored.key not in named:
                yield stored.key


async def make_hot(ports: Ports, one: Listed, claim: Claim) -> bool:
    """The directory names the hot rows of a segment again, if they are all there. The archiver may move it again.

    The claim keeps an archiver from deleting them meanwhile. If it expires in between, the second look finds that they
    are missing.
    """
    if not await _is_complete(ports.store, one):
        return False
    claim.ensure()
    await ports.tables.set_cold(one.name, None)
    if not await _is_complete(ports.store, one):
        await ports.tables.set_cold(one.name, one.segment.cold)
        return False
    await ports.tables.mark_cold(one.row, None)
    await ports.tables.mark_dropped(one.row, None)
    await ports.tables.drop_archived_shard(Shard(one.row.month, one.row.shard))
    return True


async def _is_complete(store: Store, one: Listed) -> bool:
    """Whether the hot rows of a cold segment have the checksum of the directory."""
    checksum = RowsChecksum()
    last_seq = one.segment.first_seq + _place(one).rows - 1
    for first in range(one.segment.first_seq, last_seq + 1, _CHUNK_ROWS):
        checksum.add(await store.messages(one.name, first, min(last_seq, first + _CHUNK_ROWS - 1)))
    return checksum.digest() == _place(one).rows_sha256


def archived_of(one: Listed) -> ArchivedSegment:
    """A cold segment as its object has it, by the directory."""
    place = _place(one)
    return ArchivedSegment(*one.name, one.segment.first_seq, place.first_row, place.rows, place.rows_sha256)


def _place(one: Listed) -> ColdPlace:
    assert one.segment.cold is not None  # only cold segments are compared
    return one.segment.cold


def _is_purged(one: Listed) -> bool:
    return one.segment.first_seq <= (one.segment.purged_seq or 0)
