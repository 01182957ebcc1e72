"""Block lists at the gateway: bounded in length and rate, changed by several gateways at once, read when they fail."""

import asyncio
import random
from collections.abc import Awaitable, Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.reads.block_lists import GATHER_S, MAX_KEPT, BlockLists, BlockRules
from tests.fakes.clock import FakeClock
from tests.faults.drawn import WriteFault
from tests.faults.store import FaultyStore
from tidings.errors import Refused, StoreUnavailable
from tidings.store.rows import BlockList

UNLIMITED = BlockRules(changes_per_s=1_000_000, burst=1_000_000)


def gateways(count: int, rules: BlockRules = UNLIMITED) -> tuple[FaultyStore, list[BlockLists]]:
    store, clock = FaultyStore(), FakeClock()
    return store, [BlockLists(store, clock, rules) for _ in range(count)]


async def refusal(change: Awaitable[None]) -> Refused | None:
    try:
        await change
    except Refused as refused:
        return refused
    return None


async def test_a_full_block_list_refuses_one_more_and_says_the_limit() -> None:
    _, (blocks,) = gateways(1, BlockRules(list_max=3, changes_per_s=1_000, burst=1_000))
    for other in ("a", "b", "c", "c"):
        await blocks.add("bob", other)
    refused = await refusal(blocks.add("bob", "d"))
    assert refused is not None
    assert (refused.code, refused.http_status, refused.is_retryable) == ("block_list_full", 409, False)
    assert "3" in refused.text
    assert "TIDINGS_BLOCKS_MAX" in refused.text
    await blocks.remove("bob", "a")
    await blocks.add("bob", "d")
    assert list(await blocks.listed("bob")) == ["b", "c", "d"]


async def test_a_list_longer_than_the_limit_is_kept_and_can_shrink() -> None:
    store, (blocks,) = gateways(1, BlockRules(list_max=2, changes_per_s=1_000, burst=1_000))
    await store.replace_block_list(BlockList("bob", ("a", "b", "c", "d"), 1), 0)
    await blocks.remove("bob", "b")
    assert list(await blocks.listed("bob")) == ["a", "c", "d"]
    refused = await refusal(blocks.add("bob", "e"))
    assert refused is not None
    assert refused.code == "block_list_full"


@given(st.integers(1, 50), st.integers(1, 200), st.lists(st.integers(0, 3_000), max_size=60))
def test_retry_after_the_stated_wait_changes_a_list(changes_per_s: int, burst: int, pauses_ms: list[int]) -> None:
    async def run() -> None:
        clock = FakeClock()
        blocks = BlockLists(FaultyStore(), clock, BlockRules(1_000, changes_per_s, burst))
        for taken, pause_ms in enumerate([*[0] * burst, *pauses_ms], start=1):
            clock.now_ms += pause_ms
            refused = await refusal(blocks.add("bob", "alice"))
            if refused is not None:
                assert (refused.code, refused.is_retryable) == ("rate_limited", True)
                assert refused.retry_after_ms is not None
                clock.now_ms += refused.retry_after_ms
                assert await refusal(blocks.remove("bob", "alice")) is None
            assert taken <= burst + clock.now_ms * changes_per_s / 1000 + 1

    asyncio.run(run())


async def test_rate_limit_of_changes_is_per_user_and_names_settings() -> None:
    _, (blocks,) = gateways(1, BlockRules(burst=2))
    for _ in range(2):
        await blocks.add("bob", "x")
    refused = await refusal(blocks.remove("bob", "x"))
    assert refused is not None
    assert "TIDINGS_BLOCK_CHANGES_PER_S" in refused.text
    await blocks.add("carol", "x")
    assert list(await blocks.listed("bob")) == ["x"]


async def test_changes_of_different_users_by_two_gateways_all_survive() -> None:
    _, both = gateways(2)
    others = [f"u{number}" for number in range(40)]
    await asyncio.gather(*(both[number % 2].add("bob", other) for number, other in enumerate(others)))
    await asyncio.gather(*(both[number % 2].remove("bob", other) for number, other in enumerate(others[:20])))
    assert list(await both[0].listed("bob")) == sorted(others[20:])


async def test_last_answered_change_of_a_user_wins() -> None:
    _, both = gateways(2)
    chance = random.Random(39)
    for _ in range(200):
        one, other = chance.sample(both, 2)
        await one.add("bob", "alice")
        assert list(await other.listed("bob")) == ["alice"]
        await other.remove("bob", "alice")
        assert list(await one.listed("bob")) == []


@pytest.mark.field_case("39")
async def test_any_number_of_changed_blocks_leaves_one_row() -> None:
    store, (blocks,) = gateways(1)
    for number in range(2_000):
        await blocks.add("bob", f"u{number}")
        await blocks.remove("bob", f"u{number}")
    assert await store.block_lists(["bob"]) == {"bob": BlockList("bob", (), 4_000)}


@pytest.mark.parametrize("fault", [WriteFault.LOST, WriteFault.UNCONFIRMED])
async def test_a_change_of_unknown_outcome_can_be_repeated(fault: WriteFault) -> None:
    store, (blocks,) = gateways(1)
    assert not await blocks.blocks("bob", "alice")
    store.faults.script_write(fault)
    with pytest.raises(StoreUnavailable):
        await blocks.add("bob", "alice")
    await blocks.add("bob", "alice")
    assert await blocks.blocks("bob", "alice")


async def test_change_without_effect_is_stored() -> None:
    """Behind it no earlier try of unknown outcome takes effect."""
    store, (blocks,) = gateways(1)
    await blocks.remove("bob", "alice")
    await blocks.remove("bob", "alice")
    assert (await store.block_lists(["bob"]))["bob"].version == 2


async def test_kept_block_lists_are_bounded_by_their_length() -> None:
    store, (blocks,) = gateways(1)
    ids = tuple(sorted(f"{number}" for number in range(5_000)))
    users = [f"user{number}" for number in range(2 * MAX_KEPT // len(ids))]
    for user_id in users:
        await store.replace_block_list(BlockList(user_id, ids, 1), 0)
    for user_id in users:
        assert await blocks.blocks(user_id, "77")
    reads = store.calls["block_lists"]
    assert await blocks.blocks(users[-1], "77")
    assert store.calls["block_lists"] == reads
    assert await blocks.blocks(users[0], "77")
    assert store.calls["block_lists"] == reads + 1


async def test_a_block_made_elsewhere_holds_within_5_s() -> None:
    clock, store = FakeClock(), FaultyStore()
    blocks = BlockLists(store, clock)
    assert not await blocks.blocks("bob", "alice")
    await store.replace_block_list(BlockList("bob", ("alice",), 1), 0)
    clock.now_ms = 3_999
    assert not await blocks.blocks("bob", "alice")
    clock.now_ms = 5_000
    assert await blocks.blocks("bob", "alice")


async def test_list_in_use_is_read_again_before_a_call_waits_for_it() -> None:
    clock, store = FakeClock(), FaultyStore()
    blocks = BlockLists(store, clock)
    await blocks.blocks("bob", "alice")
    clock.now_ms = 2_000
    for _ in range(3):
        await blocks.blocks("bob", "alice")
    await asyncio.sleep(2 * GATHER_S)
    assert store.calls["block_lists"] == 2
    clock.now_ms = 5_900
    store.stall()
    assert not await blocks.blocks("bob", "alice")


class SlowBlocks(FaultyStore):
    """The first read of blocks answers with what it found at its begin, and not before `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = asyncio.Event()
        self.go = asyncio.Event()

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        found = await super().block_lists(user_ids)
        if not self.reading.is_set():
            self.reading.set()
            await self.go.wait()
        return found


async def test_block_made_here_holds_at_once_also_during_a_read() -> None:
    store = SlowBlocks()
    blocks = BlockLists(store, FakeClock())
    reading = asyncio.create_task(blocks.blocks("bob", "alice"))
    await asyncio.sleep(0)
    await store.reading.wait()
    await blocks.add("bob", "alice")
    store.go.set()
    assert not await reading
    assert await blocks.blocks("bob", "alice")
    await blocks.remove("bob", "alice")
    assert not await blocks.blocks("bob", "alice")
