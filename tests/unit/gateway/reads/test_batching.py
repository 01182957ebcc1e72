"""Reads of many callers in batches: they are shared and bounded, and a key that cannot be read fails alone."""

import asyncio
from collections.abc import Collection, Mapping

import pytest

from services.gateway.reads.batching import BATCHES_AT_ONCE, MAX_ALONE, MAX_KEYS, MAX_SUSPECTS, Batched
from tests.waiting import until
from tidings.errors import StoreUnavailable


class Tables:
    """Reads fail with a key of `bad` in them. Those of one key alone come back when `hanging` lets them."""

    def __init__(self, *bad: int) -> None:
        self.bad = {*bad}
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
    tables = Tables(7)
    found = await answers(Batched(tables.load), range(1, MAX_KEYS + 1))
    assert found[6] == "StoreUnavailable('[7] cannot be read')"
    assert [one for one in found if one != found[6]] == [-key for key in range(1, MAX_KEYS + 1) if key != 7]


async def test_a_bad_key_is_read_outside_of_later_batches() -> None:
    tables = Tables(7)
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.asked.clear()
    assert (await answers(reads, range(10))).count("StoreUnavailable('[7] cannot be read')") == 1
    assert sorted(tables.asked) == [[0, 1, 2, 3, 4, 5, 6, 8, 9], [7]]


async def test_a_key_that_can_be_read_again_is_answered() -> None:
    tables = Tables(7)
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.bad = set()
    assert await reads.get_many(range(10)) == {key: -key for key in range(10)}


async def test_a_hanging_suspect_delays_no_other_key() -> None:
    tables = Tables(7)
    reads = Batched(tables.load)
    await answers(reads, range(10))
    tables.hanging[7] = asyncio.Event()
    waiting = [asyncio.create_task(reads.get(7)) for _ in range(50)]
    assert await reads.get_many((1, 2)) == {1: -1, 2: -2}
    tables.asked.clear()
    await settled()
    # One read of it at a time, for any number of callers.
    assert tables.asked == []
    tables.hanging[7].set()
    assert {repr(one) for one in await asyncio.gather(*waiting, return_exceptions=True)} == {
        "StoreUnavailable('[7] cannot be read')"
    }
    assert len(tables.asked) <= 1


async def test_others_of_a_failed_batch_do_not_wait_for_the_bad_key() -> None:
    tables = Tables(7)
    tables.hanging = {7: asyncio.Event()}
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
    tables = Tables(*range(10))
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


async def test_readable_keys_are_separated_from_the_others() -> None:
    tables = Tables(3)
    found, failed = await Batched(tables.load).get_some((1, 2, 3))
    assert found == {1: -1, 2: -2}
    assert list(failed) == [3]
    with pytest.raises(StoreUnavailable, match="3"):
        await Batched(tables.load).get_many((1, 2, 3))


async def test_more_bad_keys_than_suspects_still_fail_alone() -> None:
    tables = Tables(*range(0, 4 * MAX_SUSPECTS, 2))
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


class SlowTables:
    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.value = 0
        self.go = asyncio.Event()
        self.failure: Exception | None = None

    async def load(self, keys: Collection[str]) -> Mapping[str, int]:
        self.asked.append(sorted(keys))
        value = self.value
        await self.go.wait()
        if self.failure:
            raise self.failure
        return {key: value for key in keys if key != "unknown"}


async def test_calls_during_a_read_share_a_later_one() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    first = asyncio.create_task(reads.get("a"))
    await until(lambda: tables.asked)
    tables.value = 1
    later = [asyncio.create_task(reads.get(key)) for key in ("a", "a", "b", "unknown")]
    await asyncio.sleep(0)
    tables.go.set()
    assert await first == 0
    assert await asyncio.gather(*later) == [1, 1, 1, None]
    assert tables.asked == [["a"], ["a", "b", "unknown"]]


async def test_many_keys_are_read_in_a_bounded_number_of_batches() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    keys = [f"{number:04d}" for number in range(BATCHES_AT_ONCE * MAX_KEYS + 1)]
    asking = asyncio.create_task(reads.get_many(keys))
    await until(lambda: len(tables.asked) >= BATCHES_AT_ONCE)
    await asyncio.sleep(0)
    assert [len(batch) for batch in tables.asked] == [MAX_KEYS] * BATCHES_AT_ONCE
    tables.go.set()
    assert await asking == dict.fromkeys(keys, 0)
    assert tables.asked[BATCHES_AT_ONCE:] == [keys[-1:]]


async def test_an_answered_batch_makes_room_for_the_next() -> None:
    answers: list[asyncio.Event] = []

    async def load(keys: Collection[int]) -> Mapping[int, int]:
        answers.append(asyncio.Event())
        await answers[-1].wait()
        return {key: key for key in keys}

    async def asked(batches: int) -> None:
        await until(lambda: len(answers) >= batches)

    asking = asyncio.create_task(Batched(load).get_many(range((BATCHES_AT_ONCE + 2) * MAX_KEYS)))
    for answered in range(2):
        await asked(BATCHES_AT_ONCE + answered)
        await asyncio.sleep(0.01)
        assert len(answers) == BATCHES_AT_ONCE + answered
        answers[-1].set()
    await asked(BATCHES_AT_ONCE + 2)
    for answer in answers:
        answer.set()
    assert len(await asking) == (BATCHES_AT_ONCE + 2) * MAX_KEYS


async def test_call_for_one_key_does_not_wait_for_one_of_very_many() -> None:
    asked: list[int] = []

    async def load(keys: Collection[int]) -> Mapping[int, int]:
        asked.extend(keys)
        await asyncio.sleep(0.001)
        return {key: key for key in keys}

    reads = Batched(load)
    many = asyncio.create_task(reads.get_many(range(20_000)))
    await until(lambda: asked, every_s=0)
    assert await reads.get(-1) == -1
    assert len(asked) < 2_000
    assert len(await many) == 20_000


async def test_few_keys_during_a_read_start_no_second_read() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    asking = [asyncio.create_task(reads.get("first"))]
    await asyncio.sleep(0.01)
    asking += [asyncio.create_task(reads.get(f"{number}")) for number in range(MAX_KEYS - 1)]
    await asyncio.sleep(0.01)
    assert len(tables.asked) == 1
    asking.append(asyncio.create_task(reads.get("one more is a whole batch")))
    await asyncio.sleep(0.01)
    assert [len(batch) for batch in tables.asked] == [1, MAX_KEYS]
    tables.go.set()
    await asyncio.gather(*asking)
    assert len(tables.asked) == 2


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a bug")])
async def test_failed_read_fails_all_waiting_and_the_next_one_starts(failure: Exception) -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    tables.go.set()
    tables.failure = failure
    with pytest.raises(type(failure)):
        await asyncio.wait_for(reads.get("a"), 10)
    tables.failure = None
    assert await reads.get("a") == 0


async def test_a_caller_that_gives_up_leaves_the_others_waiting() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    impatient, patient = (asyncio.create_task(reads.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    tables.go.set()
    assert await patient == 0


async def test_a_key_that_fails_fails_its_own_callers_alone() -> None:
    async def load(keys: Collection[int]) -> Mapping[int, int]:
        await asyncio.sleep(0)
        if -1 in keys:
            raise StoreUnavailable("away")
        return {key: key for key in keys}

    reads = Batched(load)
    calls = [range(2 * MAX_KEYS), [*range(MAX_KEYS), -1, 5_000], [5_001], range(MAX_KEYS, 2 * MAX_KEYS)]
    answers = await asyncio.gather(*map(reads.get_many, calls), return_exceptions=True)
    assert [list(one) if isinstance(one, dict) else repr(one) for one in answers] == [
        list(range(2 * MAX_KEYS)),
        "StoreUnavailable('away')",
        [5_001],
        list(range(MAX_KEYS, 2 * MAX_KEYS)),
    ]
    assert await reads.get_many((5_000, 5_001)) == {5_000: 5_000, 5_001: 5_001}


async def test_cancelled_call_of_several_batches_leaves_the_others() -> None:
    tables = SlowTables()
    reads = Batched(tables.load)
    keys = [f"{number:04d}" for number in range((BATCHES_AT_ONCE + 2) * MAX_KEYS)]
    impatient = asyncio.create_task(reads.get_many(keys[:1_000]))
    patient = [asyncio.create_task(reads.get(key)) for key in (keys[0], keys[-1])]
    await until(lambda: len(tables.asked) >= BATCHES_AT_ONCE)
    impatient.cancel()
    await asyncio.wait([impatient])
    tables.go.set()
    assert await asyncio.wait_for(asyncio.gather(*patient), 10) == [0, 0]
    assert await asyncio.wait_for(reads.get("anew"), 10) == 0
