"""What the directory answers about cold messages without reading them. tests/contract/store has its other questions."""

from pathlib import Path

import pytest

from tests.unit.cold.world import World
from tidings.cold.restore import Restorer
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


@pytest.mark.promise("G1")
@pytest.mark.parametrize("moves_back", [False, True])
async def test_segment_that_moves_during_a_read_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, moves_back: bool
) -> None:
    """The archiver, or a restore, changes the place between the read of the directory and that of the rows."""
    world = World(tmp_path)
    await world.session(SESSION, (170, 40), (2, 7))
    if moves_back:
        await world.archive()
    read_directory = world.store.segments

    async def then_moves(*asked: object) -> object:
        monkeypatch.undo()
        found = await read_directory(*asked)  # type: ignore[arg-type]
        if moves_back:
            await Restorer(world.ports, tmp_path).session(SESSION)
            world.objects.objects.clear()
        else:
            await world.archive()
        return found

    monkeypatch.setattr(world.store, "segments", then_moves)
    assert await world.read(SESSION) == world.written[SESSION]


async def test_cold_messages_need_a_reader(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.session(SESSION, (170, 40), (2, 7))
    await world.archive()
    with pytest.raises(ColdUnavailable):
        await history.read_range(world.store, SESSION, 1, 47, 47)
    assert len(await history.read_range(world.store, SESSION, 41, 47, 47)) == 7
