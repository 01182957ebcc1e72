"""FaultyStore: outcomes of each write, flickering rows, failing reads, stalls."""

import pytest

from tests.builders import message, seqs
from tests.faults.drawn import StoreFaults, StoreRates, WriteFault
from tests.faults.store import FaultyStore
from tidings.errors import StoreUnavailable
from tidings.store.base import SessionSegment, TaggedRow

S1 = SessionSegment("d:a:b", 1)


async def _write(store: FaultyStore, *seqs_and_tags: tuple[int, int]) -> frozenset[int]:
    return await store.write(
        [TaggedRow(source_partition, message("d:a:b", seq)) for seq, source_partition in seqs_and_tags]
    )


async def _read(store: FaultyStore) -> list[int]:
    return seqs(await store.messages(S1, 1, 100))


async def test_a_lost_write_is_unconfirmed_and_not_there() -> None:
    store = FaultyStore()
    store.faults.script_write(WriteFault.LOST)
    assert await _write(store, (1, 4), (2, 5)) == {4, 5}
    assert await _read(store) == []


async def test_an_unconfirmed_write_is_there_all_the_same() -> None:
    store = FaultyStore()
    store.faults.script_write(WriteFault.UNCONFIRMED)
    assert await _write(store, (1, 4)) == {4}
    assert await _read(store) == [1]


async def test_only_the_mutation_that_failed_is_unconfirmed() -> None:
    store = FaultyStore()
    store.faults.script_write(WriteFault.NONE, WriteFault.LOST)
    rows = [TaggedRow(1, message("d:a:b", 1)), TaggedRow(2, message("d:a:c", 1)), TaggedRow(1, message("d:a:b", 2))]
    assert await store.write(rows) == {2}
    assert await _read(store) == [1, 2]


@pytest.mark.hazard("H27")
async def test_a_late_write_lands_after_later_ones() -> None:
    store = FaultyStore(faults=StoreFaults(rates=StoreRates(late_writes_max=1)))
    store.faults.script_write(WriteFault.LATE)
    assert await _write(store, (1, 0)) == {0}
    assert await _read(store) == []
    assert await _write(store, (2, 0)) == frozenset()
    assert await _read(store) == [1, 2]


@pytest.mark.hazard("H1")
async def test_flickering_row_is_seen_by_some_reads_until_confirmed() -> None:
    store = FaultyStore(faults=StoreFaults(seed=3))
    store.faults.script_write(WriteFault.FLICKERING)
    assert await _write(store, (1, 0)) == {0}
    assert {len(await _read(store)) for _ in range(50)} == {0, 1}
    assert await _write(store, (1, 0)) == frozenset()
    assert {len(await _read(store)) for _ in range(50)} == {1}


async def test_a_confirmed_row_does_not_begin_to_flicker() -> None:
    store = FaultyStore()
    await _write(store, (1, 0))
    store.faults.script_write(WriteFault.FLICKERING)
    assert await _write(store, (1, 0)) == {0}
    assert {len(await _read(store)) for _ in range(50)} == {1}


async def test_reads_fail_by_a_planned_fault() -> None:
    store = FaultyStore()
    store.faults.script_failed_reads(1)
    with pytest.raises(StoreUnavailable):
        await _read(store)
    assert await _read(store) == []


async def test_a_stalled_store_answers_nothing_and_applies_at_the_heal() -> None:
    store = FaultyStore()
    store.stall()
    assert await _write(store, (1, 7)) == {7}
    with pytest.raises(StoreUnavailable):
        await _read(store)
    store.heal()
    assert await _read(store) == [1]
