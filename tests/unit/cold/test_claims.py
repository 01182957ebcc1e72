"""One archiver at a time works on a shard."""

import pytest

from tests.fakes.clock import FakeClock
from tidings.cold.claims import Claim, ClaimLost
from tidings.store.archive_tables import Shard
from tidings.store.memory import MemoryStore
from tidings.store.memory_archive import MemoryArchiveTables

SHARD = Shard(202605, 3)


async def test_second_archiver_gets_no_claim_until_the_first_ends() -> None:
    clock = FakeClock(1_000)
    tables = MemoryArchiveTables(MemoryStore(), clock)
    first, second = (Claim(tables, clock, SHARD, name) for name in ("first", "second"))
    async with first.held() as is_held:
        assert is_held
        first.ensure()
        async with second.held() as is_held_too:
            assert not is_held_too
        with pytest.raises(ClaimLost):
            second.ensure()
    async with second.held() as is_held:
        assert is_held


@pytest.mark.hazard("H37")
async def test_claim_that_is_not_renewed_counts_as_lost_in_time() -> None:
    clock = FakeClock(1_000)
    tables = MemoryArchiveTables(MemoryStore(), clock)
    first, second = (Claim(tables, clock, SHARD, name) for name in ("first", "second"))
    async with first.held():
        clock.now_ms += 40_000
        first.ensure()
        clock.now_ms += 1
        with pytest.raises(ClaimLost):
            first.ensure()
        async with second.held() as is_held:
            assert not is_held
        clock.now_ms += 20_000
        async with second.held() as is_held:
            assert is_held
