"""Moves the ended segments of one shard. No message is lost, because its steps have this order:

1. Take segments that have ended, as the persister has confirmed (`ended`). Read their hot rows at LOCAL_QUORUM. Every
   seq from the first to the last must be there.
2. Write the rows of many segments into one object.
3. Read the object back: its bytes must have the same digest, and the rows decoded from them the same checksums.
4. Write to the directory, for each segment, that the object is its place, and read it again. Readers go there from
   then on. A write by a clock that is behind may be without effect.
5. Only then delete the hot rows, as of the time before step 1, so that rows which were restored meanwhile stay.

Each step is confirmed before the next one begins, and each may be repeated. An archiver that is killed before step 4
leaves an object that nothing names. After step 4 the next run finds the segment cold and continues with step 5. Two
archivers move one shard only if one of them stood still for longer than its claim. Then each of them has read
complete rows and verified its own object, and the directory names one of the two.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from tidings import metrics
from tidings.cold.claims import Claim
from tidings.cold.ended import kept_from, last_seq_of
from tidings.cold.listing import Listed, archived_of, pages
from tidings.cold.objects import WrittenObject
from tidings.cold.packs import IncompleteSegment, Pack, pack
from tidings.cold.ports import Ports
from tidings.cold.reading import Chunks, Ended, HotRows
from tidings.cold.transfer import ObjectFile, bytes_of
from tidings.errors import ColdUnavailable, StoreUnavailable
from tidings.ids import Position
from tidings.logging import logger
from tidings.pace import Pace
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment, TaggedRow
from tidings.store.segment_rows import ColdPlace, SegmentByMonthRow

_log = logger("tidings.cold")

_AT_ONCE = 32
T = TypeVar("T")


@dataclass(slots=True)
class Moved:
    """What a run has done. `still_open`: segments that have not ended.

    An operator has to look at `incomplete`: ended segments whose hot rows are not all there. And at `damaged`: cold
    segments whose object is damaged, so that their hot copy stays.
    """

    segments: int = 0
    messages: int = 0
    objects: int = 0
    object_bytes: int = 0
    dropped: int = 0
    still_open: int = 0
    incomplete: set[SessionSegment] = field(default_factory=set)
    damaged: set[SessionSegment] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class MoveRules:
    """`cutoff_ms`: a segment with a message of this time or later stays. `hot_copy_ms`: so long hot rows stay after
    the move. `object_bytes`: an object of this size or more is finished."""

    cutoff_ms: int
    hot_copy_ms: int
    object_bytes: int


class Mover:
    """Over the ports. Raises Retryable errors of the servers; run it again then."""

    def __init__(
        self, ports: Ports, rules: MoveRules, work_dir: Path, progress: Callable[[Moved], None] = lambda _: None
    ) -> None:
        """`work_dir`: for the object in the making, a few MiB. `progress` is called after every object."""
        self._tables, self._hot, self._objects, self._closing, self._clock = ports
        self._rules = rules
        self._work_dir = work_dir
        self._progress = progress
        self._copied = ObjectFile(self._objects, work_dir / "copied.parquet")
        self._hot_rows = HotRows(self._hot, rules.cutoff_ms)
        self.moved = Moved()

    async def move(self, shard: Shard, claim: Claim, pace: Pace) -> None:
        """Move all that has ended and is old enough."""
        task = _Task(shard, claim, pace, self._clock.wall_ms(), await self._closing.confirmed())
        try:
            while not await self._has_moved(task):
                pass
        finally:
            self._copied.discard()

    async def plan(self, shard: Shard) -> None:
        """Count what `move` would move, and change nothing."""
        async for ended, _ in self._readable(shard, await self._closing.confirmed(), None):
            self.moved.segments += 1
            self.moved.messages += ended.size

    async def _has_moved(self, task: "_Task") -> bool:
        """One pass over the shard. False: hot rows of a segment are missing; it is skipped in the next pass."""
        try:
            with contextlib.ExitStack() as files:
                current = files.enter_context(self._new_pack(task.shard))
                async for ended, chunks in self._readable(task.shard, task.confirmed, task):
                    current.begin(ended)
                    async for rows in chunks:
                        task.claim.ensure()
                        current.add(rows)
                        await asyncio.sleep(task.pace.wait_s(len(rows), self._clock.monotonic_ms() / 1000))
                    current.end()
                    if current.is_full:
                        await self._store(current, task)
                        files.close()
                        current = files.enter_context(self._new_pack(task.shard))
                if current.rows:
                    await self._store(current, task)
        except IncompleteSegment as error:
            self.moved.incomplete.add(error.name)
            _log.error(
                "hot rows of an ended segment are missing; nothing of it moves",
                session_id=error.name.session_id,
                segment=error.name.segment,
            )
            return False
        return True

    def _new_pack(self, shard: Shard) -> contextlib.AbstractContextManager[Pack]:
        return pack(self._work_dir, shard, self._rules.object_bytes)

    # -- 1. read -----------------------------------------------------------------------------------

    async def _readable(
        self, shard: Shard, confirmed: Sequence[Position], task: "_Task | None"
    ) -> AsyncIterator[tuple[Ended, Chunks]]:
        self.moved.still_open = 0
        async for page in pages(self._tables, shard):
            if task is not None:
                # Cold since an earlier run, which was killed before step 5 or has left a hot copy.
                left = [one for one in page if not one.is_dropped and not one.is_purged]
                copies = [one for one in left if one.segment.cold is not None]
                await self._drop_copies(copies, task)
            ended = []
            for one in page:
                if one.segment.cold is not None or one.name in self.moved.incomplete:
                    continue
                position = confirmed[self._closing.partition_of(one.name.session_id)]
                last_seq = last_seq_of(one.segment, one.following, position)
                if last_seq is None:
                    self.moved.still_open += 1
                else:
                    ended.append(Ended(one, last_seq))
            async for read in self._hot_rows.of(ended):
                yield read

    # -- 2. and 3. write and verify ----------------------------------------------------------------

    async def _store(self, full: Pack, task: "_Task") -> None:
        """Steps 2 to 5 for one object."""
        written = full.close()
        # By the digest, so that no archiver ever writes other bytes under this key.
        key = f"{prefix_of(task.shard)}/{written.sha256.hex()}.parquet"
        await self._objects.put(key, bytes_of(full.path))
        await self._verify(key, written)
        task.claim.ensure()
        moving = list(full.places(written, key, self._clock.wall_ms()))
        await _each(moving, lambda one: self._tables.set_cold(one[0].listed.name, one[1]))
        await self._ensure_named(moving)
        await self._drop([_as_moved(ended.listed, place) for ended, place in moving], task)
        self.moved.segments += len(moving)
        self.moved.messages += full.rows
        self.moved.objects += 1
        self.moved.object_bytes += written.size
        metrics.ARCHIVED_SEGMENTS.inc(len(moving))
        metrics.ARCHIVED_MESSAGES.inc(full.rows)
        metrics.ARCHIVED_BYTES.inc(written.size)
        self._progress(self.moved)

    async def _verify(self, key: str, written: WrittenObject) -> None:
        """Compare the object with what was written. ColdUnavailable: it differs, so nothing is deleted."""
        read_back = ObjectFile(self._objects, self._work_dir / "read-back.parquet")
        try:
            problem = await read_back.problem(key, written.sha256, written.segments)
        finally:
            read_back.discard()
        if problem:
            raise ColdUnavailable(f"{key} was stored and cannot be read back ({problem}); nothing was deleted")

    async def _ensure_named(self, moving: Sequence[tuple[Ended, ColdPlace]]) -> None:
        """Compare the directory with what was written. ColdUnavailable: it says otherwise, so nothing is deleted."""

        async def compare(one: tuple[Ended, ColdPlace]) -> None:
            name, place = one[0].listed.name, one[1]
            found = await self._tables.segments_from(name, 1)
            if not found or found[0].cold != place:
                raise ColdUnavailable(
                    f"the directory does not name {place.object_key} for {name.session_id} segment {name.segment};"
                    " nothing was deleted. Compare the clocks of the machines that archive and restore"
                )

        await _each(moving, compare)

    # -- 5. delete ---------------------------------------------------------------------------------

    async def _drop_copies(self, cold: Sequence[Listed], task: "_Task") -> None:
        """Delete hot copies of an earlier run whose objects are still sound. Those of damaged objects stay."""
        by_object: defaultdict[tuple[str, bytes], list[Listed]] = defaultdict(list)
        for one in cold:
            place = _place(one)
            if self._is_due(place):
                by_object[place.object_key, place.object_sha256].append(one)
        for (key, sha256), segments in by_object.items():
            problem = await self._copied.problem(key, sha256, [archived_of(one) for one in segments])
            if not problem:
                await self._drop(segments, task)
            else:
                self.moved.damaged.update(one.name for one in segments)
                _log.error(
                    "an archived object is damaged; its hot rows stay. Run `tidings archive verify`",
                    object_key=key,
                    reason=problem,
                )

    def _is_due(self, place: ColdPlace) -> bool:
        return place.moved_at + self._rules.hot_copy_ms <= self._clock.wall_ms()

    async def _drop(self, cold: Sequence[Listed], task: "_Task") -> None:
        """Delete the hot rows of segments that the directory has as cold, when their copy is old enough.

        The marks name the move, so that one which comes late says nothing about a segment that was restored meanwhile.
        """
        due = [one for one in cold if self._is_due(_place(one))]
        task.claim.ensure()
        await _each(due, lambda one: self._drop_one(one, task.confirmed, task.begun_ms * 1000))
        await self._mark([replace(one.row, dropped_of=_place(one).moved_at) for one in due])
        self.moved.dropped += len(due)

    async def _mark(self, rows: Sequence[SegmentByMonthRow]) -> None:
        """Write rows of the index, all of one partition. With a request for each, tiny segments took twice as long."""
        if rows and await self._hot.write([TaggedRow(0, row) for row in rows]):
            raise StoreUnavailable("the marks of moved segments were not confirmed; run it again")

    async def _drop_one(self, one: Listed, confirmed: Sequence[Position], written_before_us: int) -> None:
        position = confirmed[self._closing.partition_of(one.name.session_id)]
        kept = kept_from(one.segment, one.following, position)
        await self._tables.drop_messages(one.name, kept, written_before_us)


class _Task(NamedTuple):
    """The move of one shard. `begun_ms`: before the first of its hot rows was read. `confirmed`: what the persister
    had confirmed then."""

    shard: Shard
    claim: Claim
    pace: Pace
    begun_ms: int
    confirmed: Sequence[Position]


def prefix_of(shard: Shard) -> str:
    """The folder of a shard's objects."""
    return f"cold/{shard.month}/{shard.shard:04d}"


def _as_moved(one: Listed, place: ColdPlace) -> Listed:
    return one._replace(segment=replace(one.segment, cold=place))


def _place(one: Listed) -> ColdPlace:
    assert one.segment.cold is not None  # only rows of cold segments are deleted
    return one.segment.cold


async def _each(items: Sequence[T], do: Callable[[T], Awaitable[None]]) -> None:
    """Do it for all, some at once."""
    for start in range(0, len(items), _AT_ONCE):
        await asyncio.gather(*map(do, items[start : start + _AT_ONCE]))
