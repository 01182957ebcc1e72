"""The archiver moves messages without losing one, wherever it is stopped."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.media import ChangeFault, ReadFault
from tests.unit.cold.world import Killed, Steps, World
from tidings import ids
from tidings.cold.mover import prefix_of
from tidings.cold.restore import Restorer
from tidings.cold.verify import Verifier
from tidings.errors import ColdUnavailable, MediaUnavailable, Retryable
from tidings.media.base import check_key
from tidings.store.archive_tables import Shard
from tidings.store.base import SessionSegment
from tidings.store.segment_rows import ColdPlace

BUSY, QUIET = "d:alice:bob", "d:alice:carol"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def two_sessions(world: World) -> None:
    """One with old and new messages, and one that has been quiet for months."""
    await world.session(BUSY, (200, 5), (170, 40), (100, 3), (2, 7))
    await world.session(QUIET, (180, 6), (150, 4))


@pytest.mark.promise("G1", "G4")
async def test_history_is_the_same_across_the_line(world: World) -> None:
    await two_sessions(world)
    run = await world.archive()
    assert (run.moved.segments, run.moved.messages, run.closed, run.moved.still_open) == (5, 58, 1, 0)
    await world.check()
    assert world.hot(BUSY) == list(range(49, 56))
    assert world.hot(QUIET) == [10]


async def test_cold_segments_are_in_few_objects(world: World) -> None:
    for number in range(40):
        await world.session(f"d:user-{number}:zoe", (170, 3))
    run = await world.archive()
    shards = {ids.partition_of(f"d:user-{number}:zoe", 16) for number in range(40)}
    assert run.moved.objects == len(world.objects.objects) == len(shards)
    await world.check()


async def test_full_object_is_followed_by_another(world: World) -> None:
    await world.session(BUSY, *[(170, 1_100)] * 4, (2, 1))
    run = await world.archive(object_bytes=1)
    assert run.moved.objects == 4
    await world.check()


async def test_young_and_open_segments_stay(world: World) -> None:
    await world.session(BUSY, (89, 5), (3, 5), (2, 5))
    run = await world.archive()
    assert run.moved.segments == 0
    assert len(world.hot(BUSY)) == 15
    assert world.objects.objects == {}


async def test_segment_moves_when_its_last_message_is_old(world: World) -> None:
    await world.session(BUSY, (89, 5), (2, 5))
    world.clock.now_ms += 2 * 86_400_000
    assert (await world.archive()).moved.segments == 1


@pytest.mark.hazard("H38")
async def test_unconfirmed_end_of_a_segment_keeps_it_hot(world: World) -> None:
    await two_sessions(world)
    world.closing.confirmed_offset = 46
    run = await world.archive()
    assert sorted(world.hot(BUSY)) == list(range(6, 56))
    assert run.moved.still_open > 0
    await world.check()


async def test_quiet_session_waits_for_a_slow_persister(world: World) -> None:
    await world.session(QUIET, (180, 6))
    world.closing.is_behind = True
    await world.archive()
    assert world.hot(QUIET) == [1, 2, 3, 4, 5, 6]
    world.closing.is_behind = False
    await world.archive()
    assert world.hot(QUIET) == [6]
    assert world.directory(QUIET)[1].last_seq == 6


async def test_slow_persister_is_waited_for_once(world: World) -> None:
    """What has ended before moves all the same."""
    await world.session(BUSY, (200, 5), (170, 40), (2, 7))
    for number in range(6):
        await world.session(f"d:user-{number}:zoe", (180, 6))
    world.closing.is_behind = True
    run = await world.archive()
    asked = {ids.partition_of(session_id, 16) for session_id, *_ in world.closing.asked}
    assert len(asked) == 1
    assert run.moved.segments == 2


async def test_second_run_has_nothing_to_do(world: World) -> None:
    await two_sessions(world)
    await world.archive()
    before = dict(world.objects.objects)
    run = await world.archive()
    assert (run.moved.segments, run.closed, run.moved.dropped) == (0, 0, 0)
    assert world.objects.objects == before


async def test_dry_run_counts_and_changes_nothing(world: World) -> None:
    await world.session(BUSY, (200, 5), (170, 40), (2, 7))
    before = {table: world.store.rows(table) for table in ("segments", "segments_by_month", "messages")}
    run = await world.archive(is_dry_run=True)
    assert (run.moved.segments, run.moved.messages) == (2, 45)
    assert world.objects.objects == {}
    assert before == {table: world.store.rows(table) for table in before}


async def test_hot_copy_stays_as_long_as_the_rules_say(world: World) -> None:
    await world.session(BUSY, (170, 5), (2, 1))
    await world.archive(hot_copy_days=2)
    assert world.directory(BUSY)[1].cold is not None
    assert len(world.hot(BUSY)) == 6
    world.clock.now_ms += 2 * 86_400_000
    await world.archive(hot_copy_days=2)
    assert world.hot(BUSY) == [6]
    await world.check()


@pytest.mark.hazard("H37")
@pytest.mark.promise("G1")
async def test_no_message_is_lost_at_any_stop(world: World, tmp_path: Path) -> None:
    await two_sessions(world)
    whole = Steps()
    await world.archive(whole)
    assert len(whole.calls) > 60
    for stop in range(len(whole.calls)):
        again = World(tmp_path / "again")
        await two_sessions(again)
        with pytest.raises(Killed):
            await again.archive(Steps(stop))
        await again.check()
        again.clock.now_ms += 61_000
        await again.archive()
        await again.check()
        assert (again.hot(BUSY), again.hot(QUIET)) == (list(range(49, 56)), [10]), whole.calls[stop]


@pytest.mark.parametrize("method", ["segments_from", "messages", "newest_messages", "segments_of"])
async def test_failed_read_of_the_tables_loses_nothing(world: World, method: str) -> None:
    await two_sessions(world)
    world.store.faults.rates = replace(world.store.faults.rates, read_failed=0.05)
    for _ in range(200):
        try:
            await world.archive()
            break
        except Retryable:
            world.clock.now_ms += 61_000
    world.store.faults.rates = replace(world.store.faults.rates, read_failed=0.0)
    await world.archive()
    await world.check()
    assert world.hot(QUIET) == [10]


@pytest.mark.parametrize("fault", [ChangeFault.LOST, ChangeFault.UNCONFIRMED])
async def test_unstored_object_leaves_all_rows_hot(world: World, fault: ChangeFault) -> None:
    await two_sessions(world)
    world.objects.faults.script_change(fault)
    with pytest.raises(MediaUnavailable):
        await world.archive()
    assert len(world.hot(BUSY)) == 55
    world.clock.now_ms += 61_000
    await world.archive()
    await world.check()


@pytest.mark.parametrize("fault", [ReadFault.FAILED, ReadFault.CUT])
async def test_object_that_cannot_be_read_back_deletes_nothing(world: World, fault: ReadFault) -> None:
    await two_sessions(world)
    world.objects.faults.script_read(fault)
    with pytest.raises(ColdUnavailable, match="nothing was deleted"):
        await world.archive()
    assert len(world.hot(BUSY) + world.hot(QUIET)) == 65
    await world.check()


async def test_object_with_other_bytes_deletes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await two_sessions(world)
    put = world.objects.put

    async def damaging(key: str, chunks: object) -> None:
        await put(key, chunks)  # type: ignore[arg-type]
        data = bytearray(world.objects.objects[key])
        data[len(data) // 2] ^= 1
        world.objects.objects[key] = bytes(data)

    monkeypatch.setattr(world.objects, "put", damaging)
    with pytest.raises(ColdUnavailable, match="nothing was deleted"):
        await world.archive()
    assert len(world.hot(BUSY) + world.hot(QUIET)) == 65
    assert all(row.cold is None for row in world.directory(BUSY).values())


@pytest.mark.parametrize("lost_seq", [6, 20, 45])
async def test_incomplete_segment_stays_and_others_move(world: World, lost_seq: int) -> None:
    await two_sessions(world)
    world.store.partition("messages", (BUSY, 2)).drop(lost_seq)
    run = await world.archive()
    assert run.moved.incomplete == {SessionSegment(BUSY, 2)}
    left = [seq for seq in range(6, 46) if seq != lost_seq]
    assert sorted(world.hot(BUSY)) == [*left, *range(49, 56)]
    assert world.directory(BUSY)[1].cold is not None


async def test_two_archivers_at_once_share_the_work(world: World) -> None:
    await two_sessions(world)
    first = Steps(25)
    with pytest.raises(Killed):
        await world.archive(first)
    run = await world.archive()
    await world.check()
    world.clock.now_ms += 61_000
    again = await world.archive()
    assert run.moved.segments + again.moved.segments == 5
    await world.check()


@pytest.mark.hazard("H37")
async def test_zombie_after_its_claim_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archiver stands still before it writes the directory. Another one does all, and the first continues."""
    await two_sessions(world)
    standing, go_on, set_cold = asyncio.Event(), asyncio.Event(), world.tables.set_cold

    async def stands_still(name: SessionSegment, place: ColdPlace | None) -> None:
        standing.set()
        await go_on.wait()
        await set_cold(name, place)

    monkeypatch.setattr(world.tables, "set_cold", stands_still)
    zombie = asyncio.create_task(world.archive(object_bytes=1))
    await standing.wait()
    monkeypatch.undo()
    world.clock.now_ms += 61_000
    await world.archive()
    go_on.set()
    run = await zombie
    assert run.shards_left > 0
    await world.check()
    assert (world.hot(BUSY), world.hot(QUIET)) == (list(range(49, 56)), [10])


@pytest.mark.hazard("H39")
async def test_rows_restored_meanwhile_stay(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archiver stands still before it deletes, and the operator restores what it has moved."""
    await world.session(BUSY, (170, 40), (2, 7))
    standing, go_on, drop = asyncio.Event(), asyncio.Event(), world.tables.drop_messages

    async def stands_still(name: SessionSegment, below_seq: int | None, written_before_us: int) -> None:
        standing.set()
        await go_on.wait()
        await drop(name, below_seq, written_before_us)

    monkeypatch.setattr(world.tables, "drop_messages", stands_still)
    zombie = asyncio.create_task(world.archive())
    await standing.wait()
    monkeypatch.undo()
    world.clock.now_ms += 61_000
    await Restorer(world.ports, tmp_path).session(BUSY)
    go_on.set()
    await zombie
    assert world.directory(BUSY)[1].cold is None
    await world.check()


async def test_unnamed_object_deletes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory holds a newer write by a clock that was ahead, so this one is without effect."""
    await two_sessions(world)

    async def without_effect(_name: SessionSegment, _place: ColdPlace | None) -> None:
        pass

    monkeypatch.setattr(world.tables, "set_cold", without_effect)
    with pytest.raises(ColdUnavailable, match="clocks"):
        await world.archive()
    monkeypatch.undo()
    assert len(world.hot(BUSY) + world.hot(QUIET)) == 65
    world.clock.now_ms += 61_000
    await world.archive()
    await world.check()
    assert world.hot(QUIET) == [10]


async def test_hot_copy_of_a_damaged_object_stays(world: World) -> None:
    await two_sessions(world)
    await world.archive(hot_copy_days=2)
    (key, *_) = world.objects.objects
    world.objects.objects[key] = b"damaged"
    world.clock.now_ms += 2 * 86_400_000
    run = await world.archive(hot_copy_days=2)
    places = {(name, number): row.cold for name in (BUSY, QUIET) for number, row in world.directory(name).items()}
    damaged = {name: place for name, place in places.items() if place and place.object_key == key}
    assert run.moved.damaged == damaged.keys()
    newest_rows = 8
    assert len(world.hot(BUSY) + world.hot(QUIET)) >= newest_rows + sum(place.rows - 1 for place in damaged.values())
    await Verifier(world.ports, world.work_dir).verify(await world.tables.indexed_shards(), repairs=True)
    await world.check()


async def test_object_keys_are_plain_and_named_by_content(world: World) -> None:
    await two_sessions(world)
    await world.archive()
    keys = {row.cold.object_key for row in world.directory(BUSY).values() if row.cold}
    assert keys <= world.objects.objects.keys()
    assert all(check_key(key).startswith("cold/2026") for key in keys)


async def test_finished_month_is_recorded_with_its_size(world: World) -> None:
    await two_sessions(world)
    await world.archive()
    finished = {Shard(row.month, row.shard): row for row in await world.tables.archived_shards()}
    # Those of 100 days ago are in a month that is not old enough as a whole.
    assert sum(row.messages for row in finished.values()) == 55
    sizes = {key: len(data) for key, data in world.objects.objects.items()}
    for shard, row in finished.items():
        assert row.object_bytes == sum(size for key, size in sizes.items() if key.startswith(f"{prefix_of(shard)}/"))


async def test_hot_copy_of_an_object_that_readers_refuse_stays(world: World) -> None:
    """Its rows can be decoded, but its bytes have not the digest of the directory, which readers compare."""
    await world.session(BUSY, (170, 40), (2, 7))
    await world.archive(hot_copy_days=2)
    place = world.directory(BUSY)[1].cold
    assert place is not None
    await world.tables.set_cold(SessionSegment(BUSY, 1), place._replace(object_sha256=b"x" * 32))
    world.clock.now_ms += 2 * 86_400_000
    run = await world.archive(hot_copy_days=2)
    assert run.moved.damaged == {SessionSegment(BUSY, 1)}
    assert len(world.hot(BUSY)) == 47


async def test_object_of_many_hot_copies_is_fetched_once(world: World) -> None:
    names = [name for number in range(2_000) if ids.partition_of(name := f"d:user-{number}:zoe", 16) == 3]
    for name in names:
        await world.session(name, (170, 2))
    await world.archive(hot_copy_days=2)
    assert len(names) > 100
    assert len(world.objects.objects) == 1
    world.clock.now_ms += 2 * 86_400_000
    world.objects.calls.clear()
    assert (await world.archive(hot_copy_days=2)).moved.dropped == len(names)
    assert world.objects.calls["open"] == 1
