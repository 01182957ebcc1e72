"""The archiver's questions to the tables, on each adapter."""

import time
import uuid
from collections.abc import AsyncIterator, Collection
from dataclasses import replace

import pytest
import pytest_asyncio

from tests.builders import message, segment, session, write_confirmed
from tests.waiting import becomes
from tidings.store.archive_tables import BEFORE_ALL, ArchiveTables, Shard
from tidings.store.base import SessionSegment, Store
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_archive import CassandraArchiveTables
from tidings.store.memory import MemoryStore
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.segment_rows import ArchivedShardRow, ColdPlace, SegmentByMonthRow, SegmentClosedRow

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLACE = ColdPlace("cold/202605/0001/a.parquet", 3, 30, 27, 1_764_000_000_000, b"o" * 32, b"r" * 32, b"\x00\x04", 99)


@pytest_asyncio.fixture(loop_scope="session")
async def tables(store: Store) -> AsyncIterator[ArchiveTables]:
    """Of the same tables as the store."""
    if isinstance(store, CassandraStore):
        yield CassandraArchiveTables(store.session)
    else:
        assert isinstance(store, MemoryStore)
        yield MemoryArchiveTables(store)


@pytest.fixture
def shard() -> Shard:
    """Used by no other test."""
    return Shard(uuid.uuid4().int % 10**6 + 10**6, 3)


def now_us() -> int:
    return time.time_ns() // 1_000


async def seqs_left(store: Store, name: SessionSegment) -> list[int]:
    return [row.seq for row in await store.messages(name, 1, 10_000)]


async def test_index_is_read_in_pages_by_session_and_segment(store: Store, tables: ArchiveTables, shard: Shard) -> None:
    names = [SessionSegment(f"d:{letter}:z", number) for letter in "abc" for number in (1, 2, 3)]
    await write_confirmed(store, [SegmentByMonthRow(*shard, *name) for name in names])
    assert shard in await tables.indexed_shards()
    found: list[SegmentByMonthRow] = []
    after = BEFORE_ALL
    while page := await tables.segments_of(shard, after, 4):
        assert len(page) <= 4
        after = SessionSegment(page[-1].session_id, page[-1].segment)
        found += page
    assert found == [SegmentByMonthRow(*shard, *name) for name in names]


async def test_directory_is_read_from_a_segment_on(store: Store, tables: ArchiveTables, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 5, 5, 5))
    found = await tables.segments_from(SessionSegment(session_id, 2), 2)
    assert [row.segment for row in found] == [2, 3]
    assert [row.segment for row in await tables.segments_from(SessionSegment(session_id, 3), 2)] == [3]


async def test_cold_place_comes_back_and_goes(store: Store, tables: ArchiveTables, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 5, 5))
    name = SessionSegment(session_id, 1)
    await tables.set_cold(name, PLACE)
    ((newest, first),) = (await store.segments([session_id], 2)).values()
    assert (newest.cold, first.cold) == (None, PLACE)
    await tables.set_cold(name, None)
    assert (await store.segments_below(session_id, 2, 1))[0] == segment(session_id, 1, 1)


async def test_closing_adds_to_the_row_of_the_directory(store: Store, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 5))
    await write_confirmed(store, [SegmentClosedRow(session_id, 1, 5, 4, 1_764_000_000_005, 0, 77)])
    ((row,),) = (await store.segments([session_id], 1)).values()
    closed = replace(segment(session_id, 1, 1), last_seq=5, last_count=4, last_at=1_764_000_000_005)
    assert row == replace(closed, closed_epoch=0, closed_offset=77)
    # A replay of the opening leaves it.
    await write_confirmed(store, [segment(session_id, 1, 1)])
    assert (await store.segments([session_id], 1))[session_id] == [row]


async def test_marks_of_the_index_come_and_go(store: Store, tables: ArchiveTables, shard: Shard) -> None:
    row = SegmentByMonthRow(*shard, "d:a:z", 1)
    await write_confirmed(store, [row])
    await write_confirmed(store, [replace(row, dropped_of=6)])
    await write_confirmed(store, [row])
    assert await tables.segments_of(shard, BEFORE_ALL, 9) == [replace(row, dropped_of=6)]
    await tables.unmark(row)
    assert await tables.segments_of(shard, BEFORE_ALL, 9) == [row]


@pytest.mark.parametrize(("below_seq", "left"), [(None, []), (5, [5])])
async def test_hot_rows_are_deleted_but_for_the_last(
    store: Store, tables: ArchiveTables, session_id: str, below_seq: int | None, left: Collection[int]
) -> None:
    await write_confirmed(store, session(session_id, 5, 3))
    await tables.drop_messages(SessionSegment(session_id, 1), below_seq, now_us() + 1_000)
    assert await seqs_left(store, SessionSegment(session_id, 1)) == left
    assert await seqs_left(store, SessionSegment(session_id, 2)) == [6, 7, 8]


async def test_deleted_rows_can_be_written_again(store: Store, tables: ArchiveTables, session_id: str) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("this one has no clock, so no row is newer than a deletion; test_restore.py has one")
    name = SessionSegment(session_id, 1)
    await write_confirmed(store, session(session_id, 5))
    before_us = now_us()
    await write_confirmed(store, [message(session_id, 6)])
    await tables.drop_messages(name, None, before_us)
    assert await seqs_left(store, name) == [6]
    await write_confirmed(store, [message(session_id, 2)])
    assert await seqs_left(store, name) == [2, 6]


async def test_purged_seq_never_goes_back(store: Store, tables: ArchiveTables, session_id: str) -> None:
    await write_confirmed(store, session(session_id, 5, 5))
    await tables.set_purged(session_id, 5, 4)
    await tables.set_purged(session_id, 3, 2)
    rows = (await store.segments([session_id], 9))[session_id]
    assert [(row.purged_seq, row.purged_count) for row in rows] == [(5, 4), (5, 4)]


async def test_claim_is_held_by_one_until_it_is_released(tables: ArchiveTables, shard: Shard) -> None:
    assert await tables.claim(shard, "first", 60)
    assert not await tables.claim(shard, "second", 60)
    assert not await tables.keep_claim(shard, "second", 60)
    assert await tables.keep_claim(shard, "first", 60)
    await tables.release(shard, "second")
    assert not await tables.claim(shard, "second", 60)
    await tables.release(shard, "first")
    assert await tables.claim(shard, "second", 60)


async def test_claim_ends_with_its_time(store: Store, tables: ArchiveTables, shard: Shard) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("this one has no clock; tests/unit/cold/test_claims.py has one")
    assert await tables.claim(shard, "first", 1)
    await becomes(lambda: tables.claim(shard, "second", 60), True)


async def test_finished_and_dropped_shards(store: Store, tables: ArchiveTables, shard: Shard) -> None:
    row = SegmentByMonthRow(*shard, "d:a:z", 1)
    finished = ArchivedShardRow(*shard, 1, 30, 4_000, 1_764_000_000_000)
    await write_confirmed(store, [row])
    await tables.add_archived_shard(finished)
    assert finished in await tables.archived_shards()
    await tables.reopen(shard)
    assert finished not in await tables.archived_shards()
    await tables.add_archived_shard(finished)  # made of a look before that
    assert finished not in await tables.archived_shards()
    finished = replace(finished, reopenings_seen=await tables.reopenings_of(shard))
    await tables.add_archived_shard(finished)
    assert finished in await tables.archived_shards()
    await tables.drop_shard(shard)
    assert finished not in await tables.archived_shards()
    assert await tables.segments_of(shard, BEFORE_ALL, 9) == []
    assert shard not in await tables.indexed_shards()
    # Messages of that month may be seeded again, and later be restored.
    await tables.reopen(shard)
    assert await tables.reopenings_of(shard) == finished.reopenings_seen + 1
