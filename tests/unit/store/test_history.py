"""What the directory answers about cold messages without reading them. tests/contract/store has its other questions."""

from pathlib import Path

import pytest

from tests.unit.cold.world import World
from tidings.errors import ColdUnavailable
from tidings.store import history

SESSION = "d:alice:bob"


async def test_counts_of_cold_messages_are_those_of_their_rows(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.session(SESSION, (200, 23), (170, 40), (2, 7))
    await world.archive()
    rows = {row.seq: row.count for row in world.written[SESSION]}
    world.objects.objects.clear()
    counts = await history.counts_at(world.store, {SESSION: [*rows, 71, 500]})
    assert counts == {(SESSION, seq): count for seq, count in rows.items()}


async def test_cold_messages_need_a_reader(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.session(SESSION, (170, 40), (2, 7))
    await world.archive()
    with pytest.raises(ColdUnavailable):
        await history.read_range(world.store, SESSION, 1, 47, 47)
    assert len(await history.read_range(world.store, SESSION, 41, 47, 47)) == 7
