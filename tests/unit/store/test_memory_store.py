"""The faults, the clock and the counters of MemoryStore."""

from dataclasses import dataclass

import pytest

from tests.builders import inbox_row, message, segment, seqs, session, write_confirmed
from tidings.errors import StoreUnavailable
from tidings.ids import Position
from tidings.store import history
from tidings.store.base import SessionSegment, TaggedRow, UserBucket
from tidings.store.memory import TTL_MS, MemoryStore
from tidings.store.memory_faults import FaultRates, Faults, WriteFault

S1 = SessionSegment("d:a:b", 1)


@dataclass
class FakeClock:
    """Time that stands still until told."""

    now_ms: int = 1_764_000_000_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


async def _write(store: MemoryStore, *seqs_and_tags: tuple[int, int]) -> frozenset[int]:
    return await store.write(
        [TaggedRow(source_partition, message("d:a:b", seq)) for seq, source_partition in seqs_and_tags]
    )


async def _read(store: MemoryStore) -> list[int]:
    return seqs(await store.messages(S1, 1, 100))


async def test_a_lost_write_is_unconfirmed_and_not_there() -> None:
    store = MemoryStore()
    store.faults.script_write(WriteFault.LOST)
    assert await _write(store, (1, 4), (2, 5)) == {4, 5}
    assert await _read(store) == []


async def test_an_unconfirmed_write_is_there_all_the_same() -> None:
    store = MemoryStore()
    store.faults.script_write(WriteFault.UNCONFIRMED)
    assert await _write(store, (1, 4)) == {4}
    assert await _read(store) == [1]


async def test_only_the_mutation_that_failed_is_unconfirmed() -> None:
    store = MemoryStore()
    store.faults.script_write(WriteFault.NONE, WriteFault.LOST)
    rows = [TaggedRow(1, message("d:a:b", 1)), TaggedRow(2, message("d:a:c", 1)), TaggedRow(1, message("d:a:b", 2))]
    assert await store.write(rows) == {2}
    assert await _read(store) == [1, 2]


@pytest.mark.hazard("H27")
async def test_a_late_write_lands_after_later_ones() -> None:
    store = MemoryStore(faults=Faults(rates=FaultRates(late_writes_max=1)))
    store.faults.script_write(WriteFault.LATE)
    assert await _write(store, (1, 0)) == {0}
    assert await _read(store) == []
    assert await _write(store, (2, 0)) == frozenset()
    assert await _read(store) == [1, 2]


@pytest.mark.hazard("H1")
async def test_flickering_row_is_seen_by_some_reads_until_confirmed() -> None:
    store = MemoryStore(faults=Faults(seed=3))
    store.faults.script_write(WriteFault.FLICKERING)
    assert await _write(store, (1, 0)) == {0}
    assert {len(await _read(store)) for _ in range(50)} == {0, 1}
    assert await _write(store, (1, 0)) == frozenset()
    assert {len(await _read(store)) for _ in range(50)} == {1}


async def test_a_confirmed_row_does_not_begin_to_flicker() -> None:
    store = MemoryStore()
    await _write(store, (1, 0))
    store.faults.script_write(WriteFault.FLICKERING)
    assert await _write(store, (1, 0)) == {0}
    assert {len(await _read(store)) for _ in range(50)} == {1}


async def test_reads_fail_by_a_planned_fault() -> None:
    store = MemoryStore()
    store.faults.script_failed_reads(1)
    with pytest.raises(StoreUnavailable):
        await _read(store)
    assert await _read(store) == []


async def test_a_stalled_store_answers_nothing_and_applies_at_the_heal() -> None:
    store = MemoryStore()
    store.stall()
    assert await _write(store, (1, 7)) == {7}
    with pytest.raises(StoreUnavailable):
        await _read(store)
    store.heal()
    assert await _read(store) == [1]


async def test_the_same_seed_gives_the_same_faults() -> None:
    rates = FaultRates(write_lost=0.2, write_unconfirmed=0.2, write_flickering=0.2, write_late=0.2)
    one, other = Faults(7, rates), Faults(7, rates)
    drawn = [one.write() for _ in range(200)]
    assert drawn == [other.write() for _ in range(200)]
    assert set(drawn) == set(WriteFault)


async def test_rows_of_the_inbox_expire_and_others_do_not() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    await write_confirmed(store, [inbox_row("bob", 1), message("d:a:b", 1)])
    clock.now_ms += TTL_MS["inbox"] - 1
    assert await store.newest_inbox_rows([UserBucket("bob", 0)], 1) != {}
    clock.now_ms += 1
    assert await store.newest_inbox_rows([UserBucket("bob", 0)], 1) == {}
    assert await _read(store) == [1]


async def test_the_state_of_many_sessions_costs_two_reads() -> None:
    store = MemoryStore()
    ids = [f"d:a:{number}" for number in range(300)]
    await write_confirmed(store, [row for one in ids for row in session(one, 3)])
    store.calls.clear()
    await history.tails_below(store, dict.fromkeys(ids, Position(0, 100)))
    assert store.calls == {"segments": 1, "newest_messages": 1}


async def test_state_below_an_old_commit_costs_no_read_per_segment() -> None:
    store = MemoryStore()
    await write_confirmed(store, session("d:a:b", *[10] * 90))
    store.calls.clear()
    (tail,) = (await history.tails_below(store, {"d:a:b": Position(0, 25)})).values()
    assert isinstance(tail, history.Tail)
    assert tail.message.seq == 24
    assert sum(store.calls.values()) <= 6


async def test_a_run_of_seqs_is_one_read() -> None:
    store = MemoryStore()
    await write_confirmed(store, session("d:a:b", 200))
    store.calls.clear()
    assert len(await history.rows_at(store, {"d:a:b": range(1, 101, 3)})) == 34
    assert store.calls == {"segments": 1, "messages": 1}


async def test_written_rows_are_counted_by_table() -> None:
    store = MemoryStore()
    await write_confirmed(store, [*session("d:a:b", 3), segment("d:a:c", 1, 1)])
    assert store.rows_written == {"segments": 2, "messages": 3}
    assert store.calls["write"] == 1
    assert len(store.rows("messages")) == 3
