"""Cold segments come back to the tables, and no step of it loses a message."""

from pathlib import Path

import pytest

from tests.unit.cold.test_verify import damage
from tests.unit.cold.world import Killed, Steps, World
from tidings.cold.claims import ClaimLost
from tidings.cold.ports import Ports
from tidings.cold.restore import Restorer
from tidings.cold.verify import Damage
from tidings.errors import ColdUnavailable
from tidings.store.base import SessionSegment

BUSY = "d:alice:bob"


async def cold_world(tmp_path: Path) -> World:
    world = World(tmp_path)
    await world.session(BUSY, (200, 5), (170, 1_200), (2, 7))
    await world.archive()
    return world


async def test_session_is_hot_again_and_can_move_again(tmp_path: Path) -> None:
    world = await cold_world(tmp_path)
    restorer = Restorer(world.ports, tmp_path)
    await restorer.session(BUSY)
    assert (restorer.restored.segments, restorer.restored.messages) == (2, 1_205)
    assert world.hot(BUSY) == list(range(1, 1_213))
    assert all(row.cold is None for row in world.directory(BUSY).values())
    await world.check()
    world.clock.now_ms += 1_000
    assert (await world.archive()).moved.segments == 2
    assert world.hot(BUSY) == list(range(1_206, 1_213))
    await world.check()


async def test_month_is_hot_again(tmp_path: Path) -> None:
    world = await cold_world(tmp_path)
    (first, *_) = await world.tables.indexed_shards()
    await Restorer(world.ports, tmp_path).shard(first)
    assert world.directory(BUSY)[1].cold is None
    assert world.directory(BUSY)[2].cold is not None
    assert first not in {(row.month, row.shard) for row in await world.tables.archived_shards()}
    await world.check()


async def test_damaged_object_is_not_restored(tmp_path: Path) -> None:
    world = await cold_world(tmp_path)
    damage(world, BUSY, 2)
    left_out: list[Damage] = []
    restorer = Restorer(world.ports, tmp_path, found=left_out.append)
    await restorer.session(BUSY)
    assert [(one.session_id, one.segment) for one in left_out] == [(BUSY, 2)]
    assert (restorer.restored.segments, restorer.restored.messages, restorer.restored.left_out) == (1, 5, 1)
    assert world.directory(BUSY)[2].cold is not None
    assert world.directory(BUSY)[1].cold is None


async def test_restore_waits_for_no_archiver(tmp_path: Path) -> None:
    world = await cold_world(tmp_path)
    for shard in await world.tables.indexed_shards():
        await world.tables.claim(shard, "archiver", 60)
    with pytest.raises(ClaimLost):
        await Restorer(world.ports, tmp_path).session(BUSY)


async def test_no_stop_of_a_restore_loses_a_message(tmp_path: Path) -> None:
    whole = Steps()
    world = await cold_world(tmp_path / "whole")
    await Restorer(_counted(world, whole), tmp_path).session(BUSY)
    for stop in range(len(whole.calls)):
        world = await cold_world(tmp_path / f"{stop}")
        with pytest.raises(Killed):
            await Restorer(_counted(world, Steps(stop)), tmp_path).session(BUSY)
        await world.check()
        world.clock.now_ms += 61_000
        await world.archive()
        await world.check()
        assert (world.hot(BUSY), world.directory(BUSY)[2].cold is None) == (list(range(1_206, 1_213)), False), stop


@pytest.mark.hazard("H39")
async def test_rows_that_an_archiver_deletes_meanwhile_stay_cold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restorer stood still for longer than its claim, just before it changed the directory."""
    world = await cold_world(tmp_path)
    set_cold = world.tables.set_cold

    async def late(name: SessionSegment, place: object) -> None:
        await world.tables.drop_messages(name, None, 2**62)
        monkeypatch.undo()
        await set_cold(name, place)  # type: ignore[arg-type]

    monkeypatch.setattr(world.tables, "set_cold", late)
    with pytest.raises(ColdUnavailable, match="deleted again"):
        await Restorer(world.ports, tmp_path).session(BUSY)
    await world.check()


def _counted(world: World, steps: Steps) -> Ports:
    tables, store, objects, closing, clock = world.ports
    return Ports(steps.over(tables), steps.over(store), steps.over(objects), closing, clock)
