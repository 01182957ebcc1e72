"""One run of the archiver over all shards: close what is quiet, move what has ended, purge what is too old.

It may be killed anywhere and run again, and several may run at once. `mover` has the order of the steps.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tidings import ids, metrics
from tidings.cold.claims import Claim, ClaimLost
from tidings.cold.listing import pages
from tidings.cold.mover import Moved, Mover, MoveRules, prefix_of
from tidings.cold.ports import Ports
from tidings.cold.retention import Purged, Retention
from tidings.cold.rules import ArchiveRules
from tidings.logging import logger
from tidings.pace import Pace
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment
from tidings.store.segment_rows import ArchivedShardRow, SegmentRow

_log = logger("tidings.cold")

_CLOSED_AT_ONCE = 200
_CLOSED_WITHIN_S = 60.0


@dataclass(slots=True)
class Run:
    """What one run has done so far. `shards_left`: other archivers hold their claims."""

    moved: Moved
    purged: Purged
    shards: int = 0
    shards_looked_at: int = 0
    shards_left: int = 0
    closed: int = 0

    @property
    def stuck(self) -> dict[str, int]:
        """Segments that an operator has to look at, by reason. A run with any of them has failed."""
        moved = self.moved
        return {"incomplete": len(moved.incomplete), "damaged": len(moved.damaged), "held": self.purged.held}


class Archiver:
    """One run. Raises Retryable errors of the servers; run it again then."""

    def __init__(
        self, ports: Ports, rules: ArchiveRules, work_dir: Path, progress: Callable[[Run], None] = lambda _: None
    ) -> None:
        """`work_dir`: of this run alone. `progress` is called after each step."""
        self._tables, self._store, self._objects, self._closing, self._clock = ports
        self._rules = rules
        self._cutoff_ms = ports.clock.wall_ms() - round(rules.hot_days * ids.DAY_MS)
        move_rules = MoveRules(self._cutoff_ms, round(rules.hot_copy_days * ids.DAY_MS), rules.object_bytes)
        self._mover = Mover(ports, move_rules, work_dir, lambda _: self._step())
        self._retention = Retention(ports)
        self._pace = Pace(ports.clock.monotonic_ms() / 1000, rules.messages_per_s)
        self._progress = progress
        self._holder = uuid.uuid4().hex
        self._persister_is_behind = False
        self.run_so_far = Run(self._mover.moved, self._retention.purged)

    async def run(self) -> Run:
        """Look at every shard that has something to do, oldest first."""
        finished = {Shard(row.month, row.shard) for row in await self._tables.archived_shards()}
        indexed = await self._tables.indexed_shards()
        due = [one for one in indexed if one not in finished and ids.month_begin_ms(one.month) < self._cutoff_ms]
        self.run_so_far.shards = len(due)
        for shard in due:
            await self._close_quiet(shard)
        for shard in due:
            await self._move(shard)
            self.run_so_far.shards_looked_at += 1
            self._step()
        await self._purge(indexed)
        return self.run_so_far

    def _step(self) -> None:
        for reason, count in self.run_so_far.stuck.items():
            metrics.ARCHIVE_STUCK.labels(reason).set(count)
        self._progress(self.run_so_far)

    # -- close -------------------------------------------------------------------------------------

    async def _close_quiet(self, shard: Shard) -> None:
        """Close the newest segments of sessions without a message since the cutoff, through the log."""
        quiet: list[tuple[SegmentRow, int]] = []
        async for page in pages(self._tables, shard, with_marked=False):  # what was moved once has ended
            newest = [one.segment for one in page if one.following is None and one.segment.closed_at is None]
            names = [SessionSegment(row.session_id, row.segment) for row in newest]
            rows = await self._store.newest_messages(names, 1) if names else {}
            for segment, name in zip(newest, names, strict=True):
                if name in rows and rows[name][0].at < self._cutoff_ms:
                    quiet.append((segment, rows[name][0].seq))
            if len(quiet) >= _CLOSED_AT_ONCE:
                await self._close(quiet)
                quiet = []
        await self._close(quiet)

    async def _close(self, quiet: Sequence[tuple[SegmentRow, int]]) -> None:
        if not quiet or self._persister_is_behind:
            return  # what has ended before moves in this run all the same
        self.run_so_far.closed += len(quiet)
        if self._rules.is_dry_run:  # they would move in the same run
            self._mover.moved.segments += len(quiet)
            self._mover.moved.messages += sum(last_seq - segment.first_seq + 1 for segment, last_seq in quiet)
        elif not await self._closing.close(quiet, _CLOSED_WITHIN_S):
            self._persister_is_behind = True
            _log.warning("the persister has not confirmed the closings in time; those segments move in a later run")
        self._step()

    # -- move --------------------------------------------------------------------------------------

    async def _move(self, shard: Shard) -> None:
        if self._rules.is_dry_run:
            await self._mover.plan(shard)
            return

        async def move(claim: Claim) -> None:
            await self._mover.move(shard, claim, self._pace)
            await self._finish(shard, claim)

        await self._under_claim(shard, move)

    async def _finish(self, shard: Shard, claim: Claim) -> None:
        """Record that all of a past month is cold, so that later runs need not look at it."""
        if ids.month_end_ms(shard.month) > self._cutoff_ms:
            return
        segments = messages = 0
        # Before the look, so that a restore after it makes the row below count for nothing, however late it comes.
        reopenings = await self._tables.reopenings_of(shard)
        async for page in pages(self._tables, shard):
            for one in page:
                if one.segment.cold is None or not (one.is_dropped or one.is_purged):
                    return
                segments += 1
                messages += one.segment.cold.rows
        size = sum([stored.size async for stored in self._objects.list(prefix_of(shard))])
        claim.ensure()
        await self._tables.add_archived_shard(
            ArchivedShardRow(*shard, segments, messages, size, self._clock.wall_ms(), reopenings)
        )

    # -- purge -------------------------------------------------------------------------------------

    async def _purge(self, indexed: Sequence[Shard]) -> None:
        if not self._rules.retention_days:
            return
        last_ms = self._clock.wall_ms() - round(self._rules.retention_days * ids.DAY_MS)
        for shard in indexed:  # oldest first, so that what is gone of a session is always its beginning
            if ids.month_end_ms(shard.month) <= last_ms:
                await self._purge_shard(shard)
                self._step()

    async def _purge_shard(self, shard: Shard) -> None:
        """Under the claim, so that no restore brings messages back while they are removed."""
        if self._rules.is_dry_run:
            await self._retention.plan(shard)
            return
        await self._under_claim(shard, lambda claim: self._retention.purge(shard, claim))

    # -- both --------------------------------------------------------------------------------------

    async def _under_claim(self, shard: Shard, work: Callable[[Claim], Awaitable[None]]) -> None:
        """Do it while no other archiver and no restore does anything to the shard, or leave the shard to them."""
        claim = Claim(self._tables, self._clock, shard, self._holder)
        async with claim.held() as is_held:
            if not is_held:
                self.run_so_far.shards_left += 1
                return
            try:
                await work(claim)
            except ClaimLost as error:
                self.run_so_far.shards_left += 1
                _log.warning("a shard is left to another archiver", reason=str(error))
