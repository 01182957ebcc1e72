"""Messages of cold segments, from the object store through the cache on disk. The adapter of the port ColdRows."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from cachetools import TTLCache

from tidings import metrics
from tidings.clock import Clock
from tidings.cold.cache import ObjectCache
from tidings.errors import ColdUnavailable, MediaMissing, MediaUnavailable, UnreadableObject
from tidings.logging import logger
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import ColdPlace, SegmentRow

# After an error no read asks for the object for so long, so that retries of many clients are few downloads.
FAILURE_MS = 1_000
_FAILURES = 1_000
# A row group with bodies of 24 KiB takes 50 MiB while it is decoded.
_DECODERS = 2

_log = logger("tidings.cold")


class _Read(NamedTuple):
    """A range of seqs of one segment, both included, and where the segment is."""

    place: ColdPlace
    session_id: str
    segment: int
    first_row: int
    first_seq: int
    last_seq: int


class _Failure(NamedTuple):
    """Why an object cannot be read."""

    outcome: str
    text: str


class ColdReader:
    """Implements ColdRows."""

    def __init__(self, cache: ObjectCache, clock: Clock) -> None:
        """The cache is this reader's, which starts and closes it."""
        self._cache = cache
        self._running: dict[_Read, asyncio.Task[list[MessageRow] | _Failure]] = {}
        self._failures: TTLCache[ColdPlace, _Failure] = TTLCache(_FAILURES, FAILURE_MS, clock.monotonic_ms)
        self._threads = ThreadPoolExecutor(_DECODERS, "cold-decode")

    async def start(self) -> None:
        """Prepare the folder of the cache. Raises ConfigurationError. No object is read."""
        await self._cache.start()

    async def close(self) -> None:
        """End all reads, and empty the cache."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._cache.close()

    async def messages(self, segment: SegmentRow, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        """See ColdRows. Equal reads under way are shared."""
        if segment.cold is None:
            raise ValueError(f"{segment.session_id}: segment {segment.segment} is not cold; read it from the tables")
        if last_seq < first_seq:
            return []
        first_row = segment.cold.first_row + first_seq - segment.first_seq
        read = _Read(segment.cold, segment.session_id, segment.segment, first_row, first_seq, last_seq)
        task = self._running.get(read)
        if task is None:
            task = self._running[read] = asyncio.create_task(self._answer(read))
            task.add_done_callback(lambda _: self._running.pop(read))
        # Not awaited directly, because a cancelled caller must not cancel the read of other callers.
        await asyncio.wait({task})
        if task.cancelled():
            raise ColdUnavailable("the process stops; read at another one")
        answer = task.result()
        if isinstance(answer, _Failure):
            raise ColdUnavailable(answer.text)
        return answer

    async def _answer(self, read: _Read) -> list[MessageRow] | _Failure:
        answer = self._failures.get(read.place) or await self._load(read)
        if isinstance(answer, _Failure):
            metrics.COLD_READS.labels(answer.outcome).inc()
        return answer

    async def _load(self, read: _Read) -> list[MessageRow] | _Failure:
        key = read.place.object_key
        try:
            return await self._rows(read)
        except UnreadableObject as error:
            self._cache.drop(read.place)
            _log.error("an archived object is damaged", object_key=key, segment=_named(read), reason=str(error))
            text = f"{key} is damaged: {error}; run `tidings archive verify`, which names all damaged objects"
            return self._failed(read, "damaged", text)
        except MediaMissing as error:
            _log.warning("an archived object is missing", object_key=key, segment=_named(read), reason=str(error))
            text = (
                f"{key} is missing in the object store; run `tidings archive verify`, which names all missing objects"
            )
            return self._failed(read, "missing", text)
        except MediaUnavailable as error:
            text = f"{key} cannot be fetched now: {error}; if it lasts, look at the store of TIDINGS_MEDIA_STORE_URL"
            return self._failed(read, "failed", text)
        except OSError as error:
            self._cache.drop(read.place)
            _log.error("the folder of TIDINGS_COLD_CACHE_DIR cannot be used", object_key=key, reason=str(error))
            text = f"{key} cannot be kept on disk: {error}; look at the folder of TIDINGS_COLD_CACHE_DIR"
            return self._failed(read, "failed", text)

    def _failed(self, read: _Read, outcome: str, text: str) -> _Failure:
        failure = self._failures[read.place] = _Failure(outcome, text)
        return failure

    async def _rows(self, read: _Read) -> list[MessageRow]:
        loop = asyncio.get_running_loop()
        count = read.last_seq - read.first_seq + 1
        async with self._cache.file(read.place) as file:
            rows = await loop.run_in_executor(self._threads, _decoded, file.path, read.first_row, count)
        expected = [(read.session_id, read.segment, seq) for seq in range(read.first_seq, read.last_seq + 1)]
        if [(row.session_id, row.segment, row.seq) for row in rows] != expected:
            raise UnreadableObject(f"its rows from {read.first_row:,} on are not those of {_named(read)}")
        metrics.COLD_READS.labels("hit" if file.was_kept else "fetched").inc()
        return rows


def _decoded(path: Path, first_row: int, rows: int) -> list[MessageRow]:
    # Imported at the first read, because pyarrow takes 90 MiB and a third of a second.
    from tidings.cold.objects import decode

    return decode(path, first_row, rows)


def _named(read: _Read) -> str:
    return f"{read.session_id} {read.segment}, seqs {read.first_seq} to {read.last_seq}"
