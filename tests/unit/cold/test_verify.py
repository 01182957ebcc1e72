"""Damaged objects are found, and repaired while the hot rows are still there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_confirmed
from tests.unit.cold.world import World
from tidings import ids
from tidings.cold import grouping, transfer
from tidings.cold.restore import Restorer
from tidings.cold.verify import Verified, Verifier
from tidings.errors import MediaUnavailable
from tidings.store.base import SessionSegment

BUSY, QUIET = "d:alice:bob", "d:alice:carol"


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """Two sessions with cold messages."""
    made = World(tmp_path)
    await made.session(BUSY, (200, 5), (170, 40), (2, 7))
    await made.session(QUIET, (180, 6), (150, 4))
    return made


async def verified(world: World, tmp_path: Path, *, repairs: bool = False) -> Verified:
    shards = await world.tables.indexed_shards()
    return await Verifier(world.ports, tmp_path).verify(shards, repairs=repairs)


def damage(world: World, session_id: str, segment: int) -> str:
    """Change one byte in the middle of a segment's object; the object's key."""
    place = world.directory(session_id)[segment].cold
    assert place is not None
    data = bytearray(world.objects.objects[place.object_key])
    data[len(data) // 3] ^= 0x40
    world.objects.objects[place.object_key] = bytes(data)
    return place.object_key


async def test_sound_objects_have_no_damage(world: World, tmp_path: Path) -> None:
    await world.archive()
    done = await verified(world, tmp_path)
    assert (done.damages, done.unnamed, done.segments, done.messages) == ([], [], 4, 55)


async def test_changed_byte_is_found(world: World, tmp_path: Path) -> None:
    await world.archive()
    key = damage(world, BUSY, 2)
    done = await verified(world, tmp_path)
    assert {(one.session_id, one.segment) for one in done.damages} >= {(BUSY, 2)}
    assert {one.object_key for one in done.damages} == {key}
    assert not any(one.is_repaired for one in done.damages)


async def test_missing_object_is_found(world: World, tmp_path: Path) -> None:
    await world.archive()
    key = damage(world, BUSY, 2)
    del world.objects.objects[key]
    done = await verified(world, tmp_path)
    assert [one.problem for one in done.damages] == ["the object is missing"]


async def test_wrong_row_in_the_directory_is_found(world: World, tmp_path: Path) -> None:
    await world.archive(object_bytes=1)
    place = world.directory(BUSY)[2].cold
    assert place is not None
    await world.tables.set_cold(SessionSegment(BUSY, 1), place)
    assert [one.segment for one in (await verified(world, tmp_path)).damages] == [1]


async def test_damage_is_repaired_from_the_hot_copy(world: World, tmp_path: Path) -> None:
    await world.archive(hot_copy_days=7)
    damage(world, BUSY, 2)
    done = await verified(world, tmp_path, repairs=True)
    assert [one.is_repaired for one in done.damages] == [True] * len(done.damages)
    assert world.directory(BUSY)[2].cold is None
    await world.check()
    await world.archive()
    assert (await verified(world, tmp_path)).damages == []
    await world.check()


async def test_damage_without_all_hot_rows_is_not_repaired(world: World, tmp_path: Path) -> None:
    await world.archive()
    damage(world, QUIET, 2)
    done = await verified(world, tmp_path, repairs=True)
    assert [one.is_repaired for one in done.damages] == [False] * len(done.damages)
    assert world.directory(QUIET)[2].cold is not None


async def test_repair_leaves_a_shard_to_its_archiver(world: World, tmp_path: Path) -> None:
    await world.archive(hot_copy_days=7)
    damage(world, BUSY, 2)
    for shard in await world.tables.indexed_shards():
        await world.tables.claim(shard, "another", 60)
    done = await verified(world, tmp_path, repairs=True)
    assert not any(one.is_repaired for one in done.damages)


async def test_object_of_a_killed_archiver_is_unnamed(world: World, tmp_path: Path) -> None:
    await world.archive()
    key = next(iter(world.objects.objects))
    stray = f"{key.rpartition('/')[0]}/{'0' * 64}.parquet"
    await world.objects.put(stray, _once(b"stray"))
    assert (await verified(world, tmp_path)).unnamed == []
    # An archiver that is still there has named it by then.
    world.clock.now_ms += 86_400_001
    assert (await verified(world, tmp_path)).unnamed == [stray]


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_segment_that_moves_meanwhile_is_no_damage(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is restored after the directory was read, and its object is deleted."""
    await world.archive()

    async def after_a_restore(*asked: Any) -> bytes:
        monkeypatch.undo()
        await Restorer(world.ports, tmp_path).session(BUSY)
        world.objects.objects.clear()
        return await transfer.fetch(*asked)

    monkeypatch.setattr(transfer, "fetch", after_a_restore)
    done = await verified(world, tmp_path)
    assert {one.session_id for one in done.damages} == {QUIET}


async def test_store_that_is_away_is_no_damage(world: World, tmp_path: Path) -> None:
    await world.archive()
    world.objects.stall()
    with pytest.raises(MediaUnavailable):
        await verified(world, tmp_path, repairs=True)


def let_fail(monkeypatch: pytest.MonkeyPatch, world: World, call: str, of: str) -> None:
    """Reading this object, or listing this folder, fails. The store answers otherwise."""
    whole = getattr(world.objects, call)

    async def failing(key: str, *rest: Any) -> AsyncIterator[Any]:
        if key == of:
            raise MediaUnavailable("500 Internal Server Error")
        async for one in whole(key, *rest):
            yield one

    monkeypatch.setattr(world.objects, call, failing)


@pytest.mark.parametrize("repairs", [False, True])
async def test_unreadable_object_is_found_and_the_rest_compared(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repairs: bool
) -> None:
    await world.archive(hot_copy_days=7)
    place = world.directory(BUSY)[1].cold
    assert place is not None
    let_fail(monkeypatch, world, "open", place.object_key)
    done = await verified(world, tmp_path, repairs=repairs)
    assert {one.problem for one in done.damages} == {"the object is unreadable (500 Internal Server Error)"}
    assert {(one.object_key, one.is_repaired) for one in done.damages} == {(place.object_key, repairs)}
    assert (done.segments, done.messages) == (4, 50)


async def test_folder_that_cannot_be_listed_is_found(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.archive()
    place = world.directory(BUSY)[1].cold
    assert place is not None
    folder = place.object_key.rpartition("/")[0]
    let_fail(monkeypatch, world, "list", folder)
    done = await verified(world, tmp_path)
    assert done.unlisted == [f"{folder}: 500 Internal Server Error"]
    assert (done.segments, done.messages) == (4, 55)


async def test_object_is_read_once_although_its_segments_are_far_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The objects of two nights have segments of sessions from all over the shard."""
    world = World(tmp_path)
    shard = ids.partition_of(BUSY, 16)
    names = [name for n in range(600) if ids.partition_of(name := f"d:user-{n}:zoe", 16) == shard]
    for some in (names[::2], names[1::2]):
        for name in some:
            await world.session(name, (170, 2), (2, 1))
        for one in await world.tables.indexed_shards():
            await world.tables.reopen(one)
        await world.archive()
    monkeypatch.setattr(grouping.SegmentsByObject.__init__, "__defaults__", (5,))
    world.objects.calls.clear()
    done = await verified(world, tmp_path)
    assert (done.objects, done.segments, done.damages) == (2, len(names), [])
    assert world.objects.calls["open"] == 2


async def test_hot_segment_of_a_finished_shard_is_found_and_moves(world: World, tmp_path: Path) -> None:
    await world.archive()
    await world.tables.set_cold(SessionSegment(BUSY, 1), None)
    await write_confirmed(world.store, world.written[BUSY][:5])
    assert (await verified(world, tmp_path)).hot_in_finished == 1
    world.clock.now_ms += 1_000
    assert (await world.archive()).moved.segments == 1
    assert (await verified(world, tmp_path)).hot_in_finished == 0
