"""The search in a session's directory skips what is too new, and finds every range of seqs."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import segment, session, write_confirmed
from tidings.store import directory, history
from tidings.store.memory import MemoryStore

S1 = "d:alice:bob"
MOST = 4
LENGTHS = st.lists(st.integers(1, MOST), min_size=1, max_size=120)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_MESSAGES", MOST)


async def written(lengths: Sequence[int], *, has_empty_newest: bool = False) -> MemoryStore:
    store = MemoryStore()
    await write_confirmed(store, session(S1, *lengths))
    if has_empty_newest:  # listed by a round whose message is not stored yet (H8)
        await write_confirmed(store, [segment(S1, len(lengths) + 1, sum(lengths) + 1)])
    return store


@settings(deadline=None, max_examples=100)
@given(LENGTHS, st.data(), st.booleans())
def test_every_range_is_read_whole(lengths: list[int], data: st.DataObject, has_empty_newest: bool) -> None:
    asyncio.run(_check(lengths, data, has_empty_newest=has_empty_newest))


async def _check(lengths: list[int], data: st.DataObject, *, has_empty_newest: bool) -> None:
    store = await written(lengths, has_empty_newest=has_empty_newest)
    head = sum(lengths)
    for _ in range(3):
        first = data.draw(st.integers(1, head))
        last = data.draw(st.integers(first, head + 2))
        rows = await history.read_range(store, S1, first, last, head)
        assert [row.seq for row in rows] == list(range(first, min(last, head) + 1))
        seqs = data.draw(st.sets(st.integers(1, head), min_size=1))
        assert set(await history.rows_at(store, {S1: seqs})) == {(S1, seq) for seq in seqs}
        assert await history.counts_at(store, {S1: seqs}) == {(S1, seq): seq for seq in seqs}


@pytest.mark.parametrize("lengths", [[MOST] * 1_000, [*[MOST] * 40, 1] * 25, [MOST - 1] * 1_000])
async def test_a_page_far_back_costs_as_many_reads_as_a_near_one(lengths: list[int]) -> None:
    """Full segments; every month a short one; segments that were all closed a little early."""
    store = await written(lengths)
    for last in range(50, sum(lengths), 97):
        store.calls.clear()
        assert len(await history.read_range(store, S1, last - 1, last, 2)) == 2
        assert store.calls["segments"] == 1
        assert store.calls["segments_below"] <= 5


async def test_the_newest_segments_need_no_second_read() -> None:
    store = await written([MOST] * 50)
    await history.read_range(store, S1, 49 * MOST, 50 * MOST, 10)
    assert store.calls["segments_below"] == 0
