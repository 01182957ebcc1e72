"""Messages at the end of their life: removed, hidden, and never promised."""

from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_confirmed
from tests.unit.cold.world import Killed, Steps, World
from tidings import ids
from tidings.store import history, session_tails
from tidings.store.base import SessionSegment
from tidings.store.rows import PurgedHead

BUSY, QUIET = "d:alice:bob", "d:alice:carol"
RULES: dict[str, Any] = {"retention_days": 140}


async def old_world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.session(BUSY, (240, 5), (200, 40), (100, 3), (2, 7))
    await world.session(QUIET, (230, 6), (210, 4))
    return world


async def test_old_messages_are_gone_and_young_ones_stay(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    purged = (await world.archive(**RULES)).purged
    assert (purged.segments, purged.messages, purged.held) == (4, 55, 0)
    assert [row.seq for row in await world.read(BUSY)] == list(range(46, 56))
    assert await world.read(QUIET) == []
    assert world.hot(QUIET) == []
    kept = {row.cold.object_key for row in world.directory(BUSY).values() if row.cold and row.first_seq > 45}
    assert world.objects.objects.keys() == kept


async def test_head_of_a_purged_session_is_what_is_left_of_it(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    await world.archive(**RULES)
    heads = await session_tails.heads(world.store, [BUSY, QUIET])
    quiet, busy = heads[QUIET], heads[BUSY]
    assert isinstance(quiet, PurgedHead)
    assert (quiet.seq, quiet.count, quiet.kind, quiet.body, quiet.purged_seq, quiet.purged_count) == (
        10,
        8,
        0,
        b"{}",
        10,
        8,
    )
    assert isinstance(busy, PurgedHead)
    assert (busy.seq, busy.purged_seq, busy.purged_count) == (55, 45, 36)


async def test_counts_of_purged_messages_are_known(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    await world.archive(**RULES)
    counts = await history.counts_at(world.store, {BUSY: [3, 45, 46, 50]})
    assert counts == {(BUSY, 3): 36, (BUSY, 45): 36, (BUSY, 46): 37, (BUSY, 50): 40}


async def test_without_a_retention_nothing_is_removed(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    assert (await world.archive()).purged.segments == 0
    await world.check()


async def test_shard_of_a_restore_is_left_to_it(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    await world.archive()
    for shard in await world.tables.indexed_shards():
        await world.tables.claim(shard, "restore", 60)
    run = await world.archive(**RULES)
    assert (run.purged.segments, run.shards_left > 0) == (0, True)
    await world.check()


async def test_dry_run_removes_nothing(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    await world.archive()
    assert (await world.archive(**RULES, is_dry_run=True)).purged.messages == 55
    await world.check()


async def test_hot_segments_are_held(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    world.closing.is_behind = True
    purged = (await world.archive(**RULES)).purged
    assert purged.held == 1
    assert [row.seq for row in await world.read(QUIET)] == [7, 8, 9, 10]


@pytest.mark.hazard("H40")
async def test_any_stop_of_a_purge_hides_before_it_deletes(tmp_path: Path) -> None:
    """After each stop a reader gets all that is not hidden, and a later run ends the work."""
    whole = Steps()
    world = await old_world(tmp_path / "whole")
    await world.archive()
    await world.archive(whole, **RULES)
    for stop in range(len(whole.calls)):
        world = await old_world(tmp_path / f"{stop}")
        await world.archive()
        with pytest.raises(Killed):
            await world.archive(Steps(stop), **RULES)
        for session_id, messages in world.written.items():
            purged_seq = next(iter((await world.store.segments([session_id], 1))[session_id])).purged_seq or 0
            assert await world.read(session_id) == messages[purged_seq:]
        world.clock.now_ms += 61_000
        await world.archive(**RULES)
        assert [row.seq for row in await world.read(BUSY)] == list(range(46, 56))
        assert await world.read(QUIET) == []


async def test_dry_run_names_what_the_run_removes_of_hot_messages(tmp_path: Path) -> None:
    """Also of a quiet session, which the run closes before, and of one that ended long ago."""
    world = await old_world(tmp_path)
    planned, done = await world.archive(**RULES, is_dry_run=True), await world.archive(**RULES)
    assert (planned.purged.segments, planned.purged.messages) == (done.purged.segments, done.purged.messages) == (4, 55)
    assert (planned.moved.segments, planned.moved.messages) == (done.moved.segments, done.moved.messages)
    assert (planned.closed, planned.purged.held) == (done.closed, 0)


async def two_in_a_shard(tmp_path: Path) -> tuple[World, str]:
    """BUSY, of whose oldest segment a hot row is lost, and another session of the same shard."""
    world = World(tmp_path)
    shard = ids.partition_of(BUSY, 16)
    other = next(name for n in range(1_000) if ids.partition_of(name := f"d:alice:user-{n}", 16) == shard)
    for session_id in (BUSY, other):
        await world.session(session_id, (240, 5), (239, 4), (200, 3), (2, 2))
    world.store.partition("messages", (BUSY, 1)).drop(3)
    return world, other


async def test_segment_that_cannot_move_holds_its_session_alone(tmp_path: Path) -> None:
    world, other = await two_in_a_shard(tmp_path)
    run = await world.archive(**RULES)
    assert run.stuck == {"incomplete": 1, "damaged": 0, "held": 3}
    assert (run.purged.shards, run.purged.segments, run.purged.messages) == (0, 3, 12)
    assert [row.seq for row in await world.read(other)] == [13, 14]
    assert [row.seq for row in await world.read(BUSY)] == [1, 2, *range(4, 15)]
    # What is kept is cold, but for the broken segment, and objects of others are gone.
    places = [row.cold for row in world.directory(BUSY).values()]
    assert {place.object_key for place in places if place} == world.objects.objects.keys()


async def test_held_segments_are_removed_once_they_can_move(tmp_path: Path) -> None:
    world, _ = await two_in_a_shard(tmp_path)
    await world.archive(**RULES)
    await write_confirmed(world.store, [world.written[BUSY][2]])
    for run in (await world.archive(**RULES), await world.archive(**RULES)):
        assert (run.purged.held, run.moved.damaged) == (0, set())
    assert [row.seq for row in await world.read(BUSY)] == [13, 14]
    assert world.objects.objects == {}


async def test_hot_segment_of_a_finished_shard_moves_and_is_removed(tmp_path: Path) -> None:
    world = await old_world(tmp_path)
    await world.archive()
    await world.tables.set_cold(SessionSegment(QUIET, 2), None)
    assert (await world.archive(**RULES)).purged.held == 1
    run = await world.archive(**RULES)
    assert run.moved.incomplete == {SessionSegment(QUIET, 2)}
