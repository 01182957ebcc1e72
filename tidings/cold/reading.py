"""Reads the hot rows of segments that have ended, in chunks, several small segments at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from tidings import ids
from tidings.cold.listing import Listed
from tidings.store.base import SessionSegment, Store
from tidings.store.rows import MessageRow

# 24 MiB with the longest bodies, and two chunks are in memory.
_CHUNK_ROWS = 1_000
_ROWS_TOGETHER = 2_000

Chunks = AsyncIterator[Sequence[MessageRow]]


class Ended(NamedTuple):
    """A segment that has ended with this seq."""

    listed: Listed
    last_seq: int

    @property
    def size(self) -> int:
        """The number of its messages."""
        return self.last_seq - self.listed.segment.first_seq + 1


class HotRows:
    """Over any Store. Raises StoreUnavailable."""

    def __init__(self, store: Store, cutoff_ms: int) -> None:
        """`cutoff_ms`: segments with a message of this time or later are too young."""
        self._store = store
        self._cutoff_ms = cutoff_ms

    async def of(self, ended: Sequence[Ended]) -> AsyncIterator[tuple[Ended, Chunks]]:
        """The segments that are old enough, with their rows, which may be incomplete."""
        together: list[Ended] = []
        for one in [one for one in ended if await self._is_old(one)]:
            if one.size > _CHUNK_ROWS:
                yield one, chunks_of(self._store, one.listed.name, one.listed.segment.first_seq, one.last_seq)
                continue
            if sum(waiting.size for waiting in together) + one.size > _ROWS_TOGETHER:
                async for read in self._read(together):
                    yield read
                together = []
            together.append(one)
        async for read in self._read(together):
            yield read

    async def _is_old(self, one: Ended) -> bool:
        """All messages of a segment are of one month, and the last one is the newest."""
        if ids.month_end_ms(one.listed.segment.month) <= self._cutoff_ms:
            return True
        rows = await self._store.messages(one.listed.name, one.last_seq, one.last_seq)
        return bool(rows) and rows[0].at < self._cutoff_ms

    async def _read(self, some: Sequence[Ended]) -> AsyncIterator[tuple[Ended, Chunks]]:
        asked = (self._store.messages(one.listed.name, one.listed.segment.first_seq, one.last_seq) for one in some)
        for one, rows in zip(some, await asyncio.gather(*asked), strict=True):
            yield one, _once(rows)


async def chunks_of(store: Store, name: SessionSegment, first_seq: int, last_seq: int) -> Chunks:
    """The hot rows of a segment from one seq to another. Each chunk is read while the caller has the one before.

    Raises StoreUnavailable.
    """

    async def read(first: int) -> Sequence[MessageRow]:
        return await store.messages(name, first, min(last_seq, first + _CHUNK_ROWS - 1))

    def begin(first: int) -> "asyncio.Task[Sequence[MessageRow]]":
        task = asyncio.create_task(read(first))
        task.add_done_callback(_is_retrieved)
        return task

    firsts = range(first_seq, last_seq + 1, _CHUNK_ROWS)
    reading = begin(firsts[0])
    try:
        for following in firsts[1:]:
            rows = await reading
            reading = begin(following)
            yield rows
        yield await reading
    finally:
        reading.cancel()


def _is_retrieved(reading: "asyncio.Task[Sequence[MessageRow]]") -> None:
    """Mark the exception as retrieved, because the caller may have left."""
    if not reading.cancelled():
        reading.exception()


async def _once(rows: Sequence[MessageRow]) -> Chunks:
    yield rows
