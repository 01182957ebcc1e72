"""Archivers among the processes of a run: several at once, killed and stopped between any two of their steps.

They draw from a chance of their own, so that runs without them are the same as before.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextvars import Context
from pathlib import Path
from typing import Any, TypeVar, cast

from tests.faults.media import FaultyMediaStore, MediaRates
from tests.simulation.ports import EPOCH, Reach, Servers
from tests.simulation.virtual_time import Process
from tidings.clock import SystemClock
from tidings.codec import RULES
from tidings.cold.archiver import Archiver
from tidings.cold.cache import ObjectCache
from tidings.cold.claims import TTL_S, ClaimLost
from tidings.cold.closing import KafkaClosingLog
from tidings.cold.objects import decode
from tidings.cold.ports import Ports
from tidings.cold.reader import ColdReader
from tidings.cold.restore import Restorer
from tidings.cold.rules import ArchiveRules
from tidings.cold.verify import Damage, Verifier
from tidings.errors import Retryable
from tidings.ids import DAY_MS
from tidings.media.base import MediaStore
from tidings.store.archive_tables import ArchiveTables, Shard
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentRow
from tidings.wire.common_pb2 import Stamps

# Virtual seconds between the starts of two archivers, in the mean.
_APART_S = 1.0
# An archiver stops before one of the first of these calls, so that every two steps are torn apart by some seed.
_STEPS = (
    *("claim", "keep_claim", "release", "produce", "segments_of", "segments_from", "messages"),
    *("put", "open", "list", "set_cold", "drop_messages", "write", "reopenings_of", "add_archived_shard"),
    *("reopen", "unmark"),
)
# Writes that change what other processes see. After a month they come late, when nothing but a run can repair them.
_LATE_STEPS = ("set_cold", "drop_messages", "write", "add_archived_shard")
_UNREADABLE = "the object is unreadable"
_FIRST_CALLS = 5
# Longer than a claim, so that another archiver takes the shard meanwhile.
_STANDS_STILL_S = (1.0, 90.0)
_RESTORES, _VERIFIES = 0.25, 0.1
# The cutoff is a month ahead, so that months end for the archiver although no virtual time passes.
# So far apart they are then that some work in the half minute between the end of a claim and its holder's return.
_MONTH_IS_OVER_DAYS, _AFTER_THE_MONTH, _FAR_APART_S = -31.0, 16, 8.0
_STAMPS = Stamps(
    rules=RULES,
    segment_messages=10_000,
    bucket_rows=5_000,
    recipients_per_part=1_000,
    write_diffusion_max=500,
    month_shards=16,
    group_members_max=20_000,
)
T = TypeVar("T")


class Archiving:
    """The object store of one run, and its archivers."""

    def __init__(self, servers: Servers, seed: int) -> None:
        """No archiver runs yet."""
        self._servers = servers
        self._chance = random.Random(f"archivers of {seed}")
        self.objects = FaultyMediaStore(servers.clock)
        self.tables = MemoryArchiveTables(servers.store, servers.tables_clock)
        self._folder = Path(tempfile.mkdtemp(prefix="tidings-simulation-"))
        self._processes: list[Process] = []
        # What has ended well, by kind.
        self.done: Counter[str] = Counter()
        self.damages: list[Damage] = []
        self._month_is_over = False

    async def go(self) -> None:
        """Start archivers again and again."""
        rate = self._servers.trouble / 2
        self.objects.faults.rates = MediaRates(rate, rate, rate, rate)
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / _APART_S))
            self.start()

    def start(self, last: str = "") -> "asyncio.Task[None]":
        """One more process. Half of them are killed or stand still somewhere, but not those at the end."""
        process = Process(f"archiver-{len(self._processes)}", self._chance.choice((0, 0, -3_000, 3_000)))
        self._processes.append(process)
        ball = self._chance.random()
        restores = _RESTORES * (2 if self._month_is_over else 1)
        kind = last or ("restore" if ball < restores else "verify" if ball < restores + _VERIFIES else "archive")
        stops_at, stands_s = (None, None) if last else self._stop(kind)
        reach = ArchiverReach(self._servers, process, self._chance, stops_at, stands_s)
        return process.spawn(self._at_last(reach, last) if last else self._work(reach, kind))

    def _stop(self, kind: str) -> tuple[tuple[str, int] | None, float | None]:
        """Before which call a process stops, and for how long: without an end if it is killed."""
        number = self._chance.randrange(_FIRST_CALLS)
        if self._month_is_over:
            return (self._chance.choice(_LATE_STEPS), number) if kind == "archive" else None, max(_STANDS_STILL_S)
        if self._chance.random() < 0.4:
            return None, None
        stands_s = None if self._chance.random() < 0.6 else self._chance.choice(_STANDS_STILL_S)
        return (self._chance.choice(_STEPS), number), stands_s

    async def finish(self) -> None:
        """The month is over, so archivers finish its shards. At last everything is cold."""
        self._month_is_over = True
        self.objects.faults.rates = MediaRates()  # so that runs reach their late steps
        for _ in range(_AFTER_THE_MONTH):
            await asyncio.sleep(self._chance.expovariate(1 / _FAR_APART_S))
            self.start()
        await asyncio.sleep(max(_STANDS_STILL_S) + 10.0)
        for process in self._processes:
            process.kill()
        await asyncio.sleep(TTL_S + 1.0)  # the claims of the dead expire
        # A late write may cost one of them.
        for kind in ("archive", "archive", "verify"):
            await self.start(kind)
        self._check_all_is_cold()
        assert not self.damages, f"G1: {self.damages}"

    def _check_all_is_cold(self) -> None:
        """Every segment is in an object. Rows may be left: a deletion spares those of clocks ahead of its archiver."""
        segments = [row for row in self._servers.store.rows("segments") if isinstance(row, SegmentRow)]
        hot = [f"{row.session_id} segment {row.segment}" for row in segments if row.cold is None]
        assert not hot, f"old messages stay hot: {hot}"

    def reader(self, number: int) -> ColdReader:
        """The reader of one gateway."""
        return ColdReader(ObjectCache(self.objects, self._folder / f"cache-{number}", 10**8, 5.0), SystemClock())

    def messages(self) -> Iterable[MessageRow]:
        """Every message where the directory says that it is."""
        store = self._servers.store
        cold: set[tuple[str, int]] = set()
        for segment in store.rows("segments"):
            assert isinstance(segment, SegmentRow)
            if segment.cold is not None:
                cold.add((segment.session_id, segment.segment))
                key = segment.cold.object_key
                assert key in self.objects.objects, f"G1: {segment.session_id} is in {key}, which does not exist"
                yield from decode(self.objects.objects[key], segment.cold.first_row, segment.cold.rows)
        for row in store.rows("messages"):
            if isinstance(row, MessageRow) and (row.session_id, row.segment) not in cold:
                yield row

    def end(self) -> "list[asyncio.Task[Any]]":
        """Cancel what is left, and remove the files."""
        shutil.rmtree(self._folder, ignore_errors=True)
        return [task for process in self._processes for task in process.cancel_tasks()]

    async def _work(self, reach: "ArchiverReach", kind: str) -> None:
        """One run of an archiver, or a restore of a shard or a comparison by an operator."""
        # So long a hot copy stays: two virtual seconds.
        hot_copy_days = self._chance.choice((0.0, 2_000 / DAY_MS))
        with contextlib.suppress(Retryable):  # as its job ends; a later one continues
            await self._do(reach, kind, hot_copy_days)
            self.done[kind] += 1

    async def _at_last(self, reach: "ArchiverReach", kind: str) -> None:
        await self._do(reach, kind, 0.0)

    async def _do(self, reach: "ArchiverReach", kind: str, hot_copy_days: float) -> None:
        producer, admin = reach.broker().producer("archiver"), reach.broker().admin()
        closing = KafkaClosingLog(producer, admin, _STAMPS, EPOCH, self._servers.sizes.session_partitions)
        ports = Ports(
            cast(ArchiveTables, reach.over(self.tables)),
            reach.store(),
            cast(MediaStore, ObjectsOf(reach, self.objects)),
            closing,
            SystemClock(),
        )
        work_dir = self._folder / reach.process.name
        work_dir.mkdir()
        object_bytes = self._chance.choice((1, 4 * 1024 * 1024))
        hot_days = _MONTH_IS_OVER_DAYS if self._month_is_over else 0.0
        rules = ArchiveRules(hot_days=hot_days, hot_copy_days=hot_copy_days, object_bytes=object_bytes)
        if kind == "archive":
            await Archiver(ports, rules, work_dir).run()
        elif shards := await ports.tables.indexed_shards():
            if kind == "restore":
                await _restore(Restorer(ports, work_dir), self._chance.sample(shards, len(shards)))
            else:
                found = (await Verifier(ports, work_dir).verify(shards, repairs=True)).damages
                # While reads fail by chance, an object that cannot be read is reported too, and may be sound.
                self.damages += [one for one in found if self._month_is_over or _UNREADABLE not in one.problem]


class ArchiverReach(Reach):
    """The way of one archiver to the servers, on which it is killed or stands still before one of its calls."""

    def __init__(
        self,
        servers: Servers,
        process: Process,
        chance: random.Random,
        stops_at: tuple[str, int] | None,
        stands_s: float | None,
    ) -> None:
        """`stops_at`: the name of that call, and how many of its name come before. Without `stands_s` it is killed."""
        super().__init__(servers, process)
        self._chance = chance
        self._stops_at = stops_at
        self._stands_s = stands_s
        self._calls: Counter[str] = Counter()

    async def call(self, work: Callable[[], Awaitable[T]], name: str, what: object = None) -> T:
        if (name, self._calls[name]) == self._stops_at:
            self.process.stop()
            if self._stands_s is not None:
                # Outside the process: a timer of its own would stand still with it.
                asyncio.get_running_loop().call_later(self._stands_s, self.process.resume, context=Context())
        self._calls[name] += 1
        await asyncio.sleep(self._chance.random() * 0.01)
        return await work()

    def over(self, port: Any) -> Any:
        """A port whose calls go this way."""
        return _Over(self, port)


class _Over:
    def __init__(self, reach: ArchiverReach, port: Any) -> None:
        self._reach, self._port = reach, port

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def through(*args: Any) -> Any:
            return await self._reach.call(lambda: method(*args), name, args)

        return through


class ObjectsOf(_Over):
    """The object store, whose reads are streams."""

    async def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        await self._reach.call(_nothing, "open", key)
        async for chunk in self._port.open(key, start, length):
            yield chunk

    async def list(self, prefix: str = "") -> AsyncIterator[Any]:
        await self._reach.call(_nothing, "list", prefix)
        async for stored in self._port.list(prefix):
            yield stored


async def _restore(restorer: Restorer, shards: Sequence[Shard]) -> None:
    """All of a month but the shards that an archiver holds."""
    for shard in shards:
        with contextlib.suppress(ClaimLost):
            await restorer.shard(shard)


async def _nothing() -> None:
    pass
