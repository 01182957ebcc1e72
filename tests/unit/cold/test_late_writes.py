"""An archiver or a restore stands still for longer than its claim, and one of its writes comes late."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cold.world import World
from tidings.cold.restore import Restorer
from tidings.cold.verify import Verifier
from tidings.errors import ColdUnavailable
from tidings.store.base import TaggedRow
from tidings.store.segment_rows import ArchivedShardRow, SegmentByMonthRow

BUSY = "d:alice:bob"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.session(BUSY, (200, 5), (170, 40), (2, 7))
    return made


def late(world: World, port: Any, method: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Let a claim pass, and something happen, before the next call of a method."""
    call = getattr(port, method)

    async def after_a_while(*arguments: Any) -> Any:
        setattr(port, method, call)
        world.clock.now_ms += 61_000
        await meanwhile()
        return await call(*arguments)

    setattr(port, method, after_a_while)


async def restore(world: World) -> None:
    await Restorer(world.ports, world.work_dir).session(BUSY)


async def check_next_run_moves_all(world: World) -> None:
    await world.check()
    world.clock.now_ms += 3_600_000
    run = await world.archive(retention_days=0)
    assert run.moved.segments > 0
    assert [number for number, row in world.directory(BUSY).items() if row.cold is None] == [3]
    assert world.hot(BUSY) == list(range(46, 53))
    await world.check()
    world.clock.now_ms += 3_600_000
    assert (await world.archive(retention_days=95)).purged.held == 0


async def test_late_mark_leaves_a_restored_segment_to_the_next_run(world: World) -> None:
    drop = world.tables.drop_messages

    async def then_stands_still(*arguments: Any) -> None:
        await drop(*arguments)
        late(world, world.store, "write", lambda: restore(world))
        world.tables.drop_messages = drop  # type: ignore[method-assign]

    world.tables.drop_messages = then_stands_still  # type: ignore[assignment,method-assign]
    await world.archive()
    assert all(row.cold is None for number, row in world.directory(BUSY).items() if number == 1)
    await check_next_run_moves_all(world)


async def test_late_end_of_a_shard_does_not_count_after_a_restore(world: World) -> None:
    late(world, world.tables, "add_archived_shard", lambda: restore(world))
    await world.archive()
    assert world.directory(BUSY)[1].cold is None
    await check_next_run_moves_all(world)


async def test_shard_that_ends_during_a_late_restore_does_not_count(world: World) -> None:
    """The deletions of that archiver spare the restored rows, because its clock is behind."""
    await world.archive()

    async def finish() -> None:
        for shard in await world.tables.indexed_shards():
            reopenings = await world.tables.reopenings_of(shard)
            await world.tables.add_archived_shard(ArchivedShardRow(*shard, 1, 5, 9, 9, reopenings))

    late(world, world.tables, "set_cold", finish)
    await restore(world)
    assert world.directory(BUSY)[1].cold is None
    await check_next_run_moves_all(world)


async def test_segment_moved_twice_is_not_marked_by_the_first_move(world: World) -> None:
    """Both moves have equal objects. The second archiver is killed before it deletes the hot rows."""
    await world.archive()
    await restore(world)
    marks = [row for row in world.store.rows("segments_by_month") if isinstance(row, SegmentByMonthRow)]
    first = world.clock.now_ms
    world.clock.now_ms += 3_600_000
    await world.archive(hot_copy_days=1)
    # The mark of the first move comes now.
    await world.store.write([TaggedRow(0, SegmentByMonthRow(*_key(row), dropped_of=first - 1)) for row in marks])
    world.clock.now_ms += 86_400_000
    await world.archive(hot_copy_days=1)
    assert world.hot(BUSY) == list(range(46, 53))


def _key(row: SegmentByMonthRow) -> tuple[int, int, str, int]:
    return row.month, row.shard, row.session_id, row.segment


async def test_restore_whose_clock_is_behind_writes_no_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark stays. If it wrote rows and was killed, no run would delete them again."""
    await world.archive()

    async def without_effect(_row: SegmentByMonthRow) -> None:
        pass

    monkeypatch.setattr(world.tables, "unmark", without_effect)
    with pytest.raises(ColdUnavailable, match="clock"):
        await restore(world)
    assert world.hot(BUSY) == list(range(46, 53))
    await world.check()


async def test_repair_whose_clock_is_behind_leaves_the_segment_cold(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.archive()
    world.objects.objects.clear()

    async def without_effect(_row: SegmentByMonthRow) -> None:
        pass

    monkeypatch.setattr(world.tables, "unmark", without_effect)
    done = await Verifier(world.ports, world.work_dir).verify(await world.tables.indexed_shards(), repairs=True)
    assert [one.is_repaired for one in done.damages] == [False, False]
