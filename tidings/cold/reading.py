"""Reads the hot rows of segments that have ended, in chunks, several small segments at once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from tidings import ids
from tidings.cold.listing import Listed
from tidings.store.base import Store
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
                yield one, self._chunks(one)
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

    async def _chunks(self, one: Ended) -> Chunks:
        """Each chunk is read while the caller packs the one before it."""
        firsts = range(one.listed.segment.first_seq, one.last_seq + 1, _CHUNK_ROWS)
        reading = self._begin(one, firsts[0])
        try:
            for following in firsts[1:]:
                rows = await reading
                reading = self._begin(one, following)
                yield rows
            yield await reading
        finally:
            reading.cancel()

    def _begin(self, one: Ended, first: int) -> "asyncio.Task[Sequence[MessageRow]]":
        last = min(one.last_seq, first + _CHUNK_ROWS - 1)

        async def read() -> Sequence[MessageRow]:
            return await self._store.messages(one.listed.name, first, last)

        task = asyncio.create_task(read())
        task.add_done_callback(_is_retrieved)
        return task


def _is_retrieved(reading: "asyncio.Task[Sequence[MessageRow]]") -> None:
    """Mark the exception as retrieved, because the caller may have left."""
    if not reading.cancelled():
        reading.exception()


async def _once(rows: Sequence[MessageRow]) -> Chunks:
    yield rows
