"""How much of each month is cold."""

from pathlib import Path

from tests.unit.cold.world import World
from tidings.cold.report import report


async def test_report_counts_cold_and_hot_by_month(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.session("d:alice:bob", (200, 5), (170, 40), (2, 7))
    before = await report(world.tables)
    assert [(one.month, one.segments, one.cold) for one in before] == [(202605, 1, 0), (202606, 1, 0), (202611, 1, 0)]
    await world.archive(hot_copy_days=1)
    copied = await report(world.tables)
    assert [(one.cold, one.hot_copies, one.messages) for one in copied] == [(1, 1, 5), (1, 1, 40), (0, 0, 0)]
    world.clock.now_ms += 86_400_000
    await world.archive(hot_copy_days=1)
    after = await report(world.tables)
    assert [(one.shards_finished, one.hot_copies, one.messages) for one in after] == [(1, 0, 5), (1, 0, 40), (0, 0, 0)]
    assert sum(one.object_bytes for one in after) == sum(map(len, world.objects.objects.values()))
