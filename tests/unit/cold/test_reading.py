"""Hot rows of ended segments are read in chunks."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.unit.cold.segments import segment_rows
from tidings.cold.listing import Listed
from tidings.cold.reading import Ended, HotRows
from tidings.errors import StoreUnavailable
from tidings.store.base import SessionSegment, TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.rows import MessageRow
from tidings.store.segment_rows import SegmentByMonthRow, SegmentRow

SESSION = "d:alice:bob"
MONTH = 202608
LATER_MS = 2**45
ROWS = 2_500


class WatchedStore(MemoryStore):
    """Records the first seq of each read. Reads from `fails_from` on raise StoreUnavailable."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []
        self.fails_from = LATER_MS

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        self.read.append(first_seq)
        if first_seq >= self.fails_from:
            raise StoreUnavailable("away")
        return await super().messages(segment, first_seq, last_seq)


@pytest.fixture
async def store() -> WatchedStore:
    made = WatchedStore()
    await made.write([TaggedRow(0, row) for row in segment_rows(SESSION, count=ROWS)])
    return made


def ended() -> Ended:
    directory = SegmentRow(SESSION, 1, 1, MONTH, 0, 0)
    return Ended(Listed(SegmentByMonthRow(MONTH, 0, SESSION, 1), directory, None), ROWS)


async def test_chunks_of_a_segment_have_all_its_rows(store: WatchedStore) -> None:
    seqs = []
    async for _, chunks in HotRows(store, LATER_MS).of([ended()]):
        async for rows in chunks:
            seqs += [row.seq for row in rows]
    assert seqs == list(range(1, ROWS + 1))


async def test_next_chunk_is_read_while_one_is_worked_on(store: WatchedStore) -> None:
    read = []
    async for _, chunks in HotRows(store, LATER_MS).of([ended()]):
        async for _ in chunks:
            await asyncio.sleep(0)
            read.append(list(store.read))
    assert read == [[1, 1001], [1, 1001, 2001], [1, 1001, 2001]]


async def test_error_of_a_read_ahead_comes_with_its_chunk(store: WatchedStore) -> None:
    store.fails_from = 1_001
    async for _, chunks in HotRows(store, LATER_MS).of([ended()]):
        assert len(await anext(chunks)) == 1_000
        with pytest.raises(StoreUnavailable):
            await anext(chunks)
