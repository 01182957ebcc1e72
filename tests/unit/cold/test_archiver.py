"""One run over all shards: which ones it looks at, and which it leaves."""

from pathlib import Path

import pytest

from tests.simulation.virtual_time import VirtualClock, simulated
from tests.unit.cold.world import Steps, World
from tidings import ids
from tidings.store.archive_tables import Shard

BUSY, QUIET = "d:alice:bob", "d:alice:carol"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A session that continues, and one that has been quiet for months."""
    made = World(tmp_path)
    await made.session(BUSY, (200, 5), (170, 40), (2, 7))
    await made.session(QUIET, (180, 6))
    return made


async def test_finished_shards_are_not_read_again(world: World) -> None:
    await world.archive()
    finished = {Shard(row.month, row.shard) for row in await world.tables.archived_shards()}
    assert {shard.month for shard in finished} == {202605, 202606}
    steps = Steps()
    run = await world.archive(steps)
    assert run.shards == 0
    assert "segments_of" not in steps.calls


async def test_row_of_a_finished_shard_has_its_sums(world: World) -> None:
    await world.archive()
    rows = await world.tables.archived_shards()
    assert (sum(row.segments for row in rows), sum(row.messages for row in rows)) == (3, 51)
    assert sum(row.object_bytes for row in rows) == sum(map(len, world.objects.objects.values()))


async def test_shard_with_hot_copies_is_not_finished(world: World) -> None:
    await world.archive(hot_copy_days=7)
    assert await world.tables.archived_shards() == []
    world.clock.now_ms += 7 * 86_400_000
    await world.archive(hot_copy_days=7)
    assert len(await world.tables.archived_shards()) == 3


async def test_claimed_shard_is_left_and_others_move(world: World) -> None:
    await world.tables.claim(Shard(202605, ids.partition_of(BUSY, 16)), "another", 60)
    run = await world.archive()
    assert (run.shards_left, run.shards_looked_at) == (1, run.shards)
    assert world.directory(BUSY)[1].cold is None
    assert world.directory(BUSY)[2].cold is not None


async def test_months_after_the_cutoff_are_not_looked_at(world: World) -> None:
    run = await world.archive()
    indexed = await world.tables.indexed_shards()
    assert run.shards == len([shard for shard in indexed if shard.month < 202611]) == len(indexed) - 1


async def test_dry_run_asks_for_no_closing(world: World) -> None:
    run = await world.archive(is_dry_run=True)
    assert (run.closed, world.closing.asked) == (1, [])


async def test_only_quiet_sessions_are_closed(world: World) -> None:
    await world.archive()
    assert world.closing.asked == [(QUIET, 1, 6)]


@simulated
async def test_run_moves_no_faster_than_its_rate(tmp_path: Path) -> None:
    world, clock = World(tmp_path), VirtualClock()
    world.ports = world.ports._replace(clock=clock)
    for session_id in (BUSY, QUIET):
        await world.session(session_id, (170, 200), (2, 1))
    await world.archive(messages_per_s=100)
    assert 3_900 <= clock.monotonic_ms() <= 4_100
