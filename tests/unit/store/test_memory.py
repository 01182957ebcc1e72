"""The clock and the counters of MemoryStore."""

from tests.builders import inbox_row, message, segment, seqs, session, write_confirmed
from tests.fakes.clock import FakeClock
from tidings.ids import Position
from tidings.store import history, session_tails
from tidings.store.base import SessionSegment, UserBucket
from tidings.store.memory import TTL_MS, MemoryStore

S1 = SessionSegment("d:a:b", 1)


async def _read(store: MemoryStore) -> list[int]:
    return seqs(await store.messages(S1, 1, 100))


async def test_rows_of_the_inbox_expire_and_others_do_not() -> None:
    clock = FakeClock(1_764_000_000_000)
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
    await session_tails.tails_below(store, dict.fromkeys(ids, Position(0, 100)))
    assert store.calls == {"segments": 1, "newest_messages": 1}


async def test_state_below_an_old_commit_costs_no_read_per_segment() -> None:
    store = MemoryStore()
    await write_confirmed(store, session("d:a:b", *[10] * 90))
    store.calls.clear()
    (tail,) = (await session_tails.tails_below(store, {"d:a:b": Position(0, 25)})).values()
    assert isinstance(tail, session_tails.Tail)
    assert tail.seq == 24
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
