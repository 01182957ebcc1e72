"""A key that cannot be read, among the keys of a batch: it fails alone, and later does not hold up the others."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from services.gateway.reads.batching import MAX_ALONE, MAX_KEYS, MAX_SUSPECTS, Batched
from tidings.errors import StoreUnavailable


class Tables:
    """Reads fail with a key of `bad` in them. Those of one key alone come back when `hanging` lets them."""

    def __init__(self) -> None:
        self.bad: set[int] = set()
        self.hanging: dict[int, asyncio.Event] = {}
        self.asked: list[list[int]] = []

    async def load(self, keys: Collection[int]) -> Mapping[int, int]:
        self.asked.append(sorted(keys))
        await asyncio.sleep(0)
        held = self.hanging.get(min(keys))
        if held is not None and len(keys) == 1:
            await held.wait()
        if self.bad.intersection(keys):
            raise StoreUnavailable(f"{sorted(self.bad.intersection(keys))} cannot be read")
        return {key: -key for key in keys}


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def answers(reads: Batched[int, int], keys: Collection[int]) -> list[int | str | None]:
    """What each of many callers at once gets."""
    found = await asyncio.gather(*(reads.get(key) for key in keys), return_exceptions=True)
    return [repr(one) if isinstance(one, BaseException) else one for one in found]


async def test_a_bad_key_fails_alone() -> None:
    tables = Tables()
    tables.bad = {7}
    found = await answers(Batched(tables.load), range(1, MAX_KEYS + 1))
    assert found[6] == "StoreUnavailable('[7] cannot be read')"
    assert [one for one in found if one != found[6]] == [-key for key in range(1, MAX_KEYS + 1) if key != 7]


async def test_a_bad_key_is_read_outside_of_later_batches() -> None:
    tables = Tables()
    tables.bad = {7}
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.asked.clear()
    assert (await answers(reads, range(10))).count("StoreUnavailable('[7] cannot be read')") == 1
    assert sorted(tables.asked) == [[0, 1, 2, 3, 4, 5, 6, 8, 9], [7]]


async def test_a_key_that_can_be_read_again_is_answered() -> None:
    tables = Tables()
    tables.bad = {7}
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.bad = set()
    assert await reads.get_many(range(10)) == {key: -key for key in range(10)}


async def test_a_hanging_suspect_delays_nobody_else() -> None:
    tables = Tables()
    tables.bad = {7}
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.hanging[7] = asyncio.Event()
    waiting = [asyncio.create_task(reads.get(7)) for _ in range(50)]
    assert await reads.get_many((1, 2)) == {1: -1, 2: -2}
    tables.asked.clear()
    await settled()
    # One read of it at a time, whoever asks how often.
    assert tables.asked == []
    tables.hanging[7].set()
    assert {repr(one) for one in await asyncio.gather(*waiting, return_exceptions=True)} == {
        "StoreUnavailable('[7] cannot be read')"
    }
    assert len(tables.asked) <= 1


async def test_others_of_a_failed_batch_do_not_wait_for_the_bad_key() -> None:
    tables = Tables()
    tables.bad, tables.hanging = {7}, {7: asyncio.Event()}
    reads = Batched(tables.load)
    waiting = [asyncio.create_task(reads.get(key)) for key in (6, 7)]
    await settled()
    # The joint read has failed, and the bad key is read alone.
    assert waiting[0].done()
    assert await waiting[0] == -6
    assert await reads.get(8) == -8
    assert not waiting[1].done()
    tables.hanging[7].set()
    with pytest.raises(StoreUnavailable):
        await waiting[1]


async def test_no_key_is_a_suspect_while_all_tables_are_away() -> None:
    tables = Tables()
    tables.bad = set(range(10))
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.bad = set()
    tables.asked.clear()
    assert await reads.get_many(range(10)) == {key: -key for key in range(10)}
    assert tables.asked == [list(range(10))]


async def test_reads_of_single_keys_are_bounded() -> None:
    in_flight, most = 0, 0

    async def load(keys: Collection[int]) -> Mapping[int, int]:
        nonlocal in_flight, most
        if len(keys) == 1:
            in_flight += 1
            most = max(most, in_flight)
            # Longer than all batches take together.
            for _ in range(200):
                await asyncio.sleep(0)
            in_flight -= 1
        raise StoreUnavailable("away")

    keys = range(3 * MAX_ALONE)
    found = await answers(Batched(load), keys)
    assert found == ["StoreUnavailable('away')"] * len(keys)
    assert most == MAX_ALONE


async def test_readable_keys_are_told_apart_from_the_others() -> None:
    tables = Tables()
    tables.bad = {3}
    found, failed = await Batched(tables.load).get_some((1, 2, 3))
    assert found == {1: -1, 2: -2}
    assert list(failed) == [3]
    with pytest.raises(StoreUnavailable, match="3"):
        await Batched(tables.load).get_many((1, 2, 3))


async def test_more_bad_keys_than_suspects_still_fail_alone() -> None:
    tables = Tables()
    tables.bad = set(range(0, 4 * MAX_SUSPECTS, 2))
    reads = Batched(tables.load)
    for _ in range(3):
        for first in range(0, 4 * MAX_SUSPECTS, MAX_KEYS):
            found, failed = await reads.get_some(range(first, first + MAX_KEYS))
            assert (len(found), len(failed)) == (MAX_KEYS // 2, MAX_KEYS // 2)


async def test_a_bug_in_a_read_is_no_failing_key() -> None:
    async def load(keys: Collection[int]) -> Mapping[int, int]:
        raise ValueError(f"{len(keys)} keys")

    with pytest.raises(ValueError, match="2 keys"):
        await Batched(load).get_some((1, 2))
