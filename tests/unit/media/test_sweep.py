"""The sweep of uploads: what it removes, what it never removes, and in which steps."""

import contextlib
import random
from collections.abc import AsyncIterator

import pytest

from tests.fakes.clock import FakeClock
from tests.faults.media import FaultyMediaStore
from tests.faults.store import FaultyStore
from tidings import ids
from tidings.errors import MediaUnavailable, StoreUnavailable
from tidings.media.sweep import GRACE_MS, KEEP_MS, Sweep, Swept
from tidings.store.base import TaggedRow
from tidings.store.media_rows import MARKED, MediaRefRow, MediaRow

FAILING = ("media", "media_refs", "mark_media", "drop_media", "delete")
START_MS = 1_795_435_200_000
DAY_MS = ids.DAY_MS


class World:
    """Tables, objects, and a persister that may be behind."""

    def __init__(self) -> None:
        self.clock = FakeClock(START_MS)
        self.tables = FaultyStore()
        self.objects = FaultyMediaStore(self.clock)
        self.has_passed = True
        self.before_passing: list[MediaRefRow] = []

    async def upload(self, number: int = 0, *, has_row: bool = True) -> MediaRow:
        media_id = f"{number:032x}"
        key = f"{ids.day_of(self.clock.now_ms)}/{media_id}/{random.getrandbits(32):x}"
        row = MediaRow(media_id, "alice", key, "image/png", "a", 3, b"s" * 32, 6, 4, 2, self.clock.now_ms)
        await self.objects.put(row.object_key, _once(b"abc"))
        await self.objects.put(row.thumb_key, _once(b"ab"))
        return await self.tables.add_media(row) if has_row else row

    async def refer(self, row: MediaRow) -> None:
        await self.tables.write([TaggedRow(0, MediaRefRow(row.media_id, "d:alice:bob", 1))])

    async def sweep(self, days_back: int | None = None) -> Swept:
        async def passed() -> bool:
            await self.tables.write([TaggedRow(0, row) for row in self.before_passing])
            return self.has_passed

        return await Sweep(self.tables, self.objects, self.clock, passed).run(days_back)

    def later(self, ms: int) -> None:
        self.clock.now_ms += ms + 1

    async def is_stored(self, row: MediaRow) -> bool:
        """Both objects and the row, or nothing of them."""
        has_row = row.media_id in await self.tables.media([row.media_id])
        found = {row.object_key in self.objects.objects, row.thumb_key in self.objects.objects, has_row}
        assert len(found) == 1, found
        return has_row


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_unused_upload_goes_in_two_runs_after_a_day() -> None:
    world = World()
    row = await world.upload()
    world.later(KEEP_MS - 2)
    assert (await world.sweep()).marked == 0
    world.later(1)
    assert (await world.sweep()).marked == 1
    world.later(GRACE_MS - 2)
    assert (await world.sweep()).waiting == 1
    assert await world.is_stored(row)
    world.later(1)
    assert (await world.sweep()).deleted == 1
    assert not await world.is_stored(row)
    assert (await world.sweep()).objects == 0


async def test_upload_of_a_message_is_never_removed() -> None:
    world = World()
    row = await world.upload()
    await world.refer(row)
    for _ in range(5):
        world.later(KEEP_MS)
        await world.sweep()
    assert await world.is_stored(row)


async def test_message_on_its_way_at_the_mark_keeps_its_upload() -> None:
    world = World()
    row = await world.upload()
    world.later(KEEP_MS)
    await world.sweep()
    world.later(GRACE_MS)
    world.has_passed = False
    assert (await world.sweep()).waiting == 1
    # The persister catches up with the command that was checked before the mark.
    world.before_passing = [MediaRefRow(row.media_id, "d:alice:bob", 1)]
    world.has_passed = True
    assert (await world.sweep()).deleted == 0
    assert await world.is_stored(row)


async def test_mark_ends_once_a_message_refers_to_the_upload() -> None:
    world = World()
    row = await world.upload()
    world.later(KEEP_MS)
    await world.sweep()
    await world.refer(row)
    await world.sweep()
    assert (await world.tables.media([row.media_id]))[row.media_id].removing_at == 0


@pytest.mark.parametrize("is_answered", [True, False])
async def test_late_mark_begins_its_hour_when_it_takes_effect(is_answered: bool) -> None:
    world = World()
    row = await world.upload()
    world.later(KEEP_MS)
    mark_media = world.tables.mark_media

    async def late(media_id: str, removing_at: int, seen: int) -> bool:
        world.tables.mark_media = mark_media  # type: ignore[method-assign]
        world.later(GRACE_MS)  # Cassandra or the sweep stands still, and gateways accept messages with the upload
        is_applied = await mark_media(media_id, removing_at, seen)
        if not is_answered:
            raise StoreUnavailable("mark_media")
        return is_applied

    world.tables.mark_media = late  # type: ignore[method-assign]
    with contextlib.nullcontext() if is_answered else pytest.raises(StoreUnavailable):
        await world.sweep()
    assert (await world.sweep()).deleted == 0
    world.later(GRACE_MS - 2)
    assert (await world.sweep()).waiting == 1
    assert await world.is_stored(row)
    world.later(1)
    assert (await world.sweep()).deleted == 1


async def test_mark_without_a_time_gets_one_in_a_later_run() -> None:
    world = World()
    row = await world.upload()
    world.later(KEEP_MS)
    # A run that was killed between the two steps.
    await world.tables.mark_media(row.media_id, MARKED, 0)
    world.later(GRACE_MS)
    assert (await world.sweep()).marked == 1
    assert await world.is_stored(row)


async def test_upload_whose_mark_ends_meanwhile_keeps_its_objects() -> None:
    world = World()
    row = await world.upload()
    world.later(KEEP_MS)
    await world.sweep()
    world.later(GRACE_MS)
    drop_media = world.tables.drop_media

    async def late(media_id: str, removing_at: int) -> bool:
        # Another run has found a message that refers to the upload.
        await world.tables.mark_media(media_id, 0, removing_at)
        return await drop_media(media_id, removing_at)

    world.tables.drop_media = late  # type: ignore[method-assign]
    assert (await world.sweep()).deleted == 0
    assert await world.is_stored(row)


async def test_objects_of_another_program_are_left_alone() -> None:
    world = World()
    day = ids.day_of(world.clock.now_ms)
    world.objects.objects[f"{day}/a b/c"] = b"x"
    world.later(KEEP_MS)
    await world.sweep()
    assert f"{day}/a b/c" in world.objects.objects


async def test_objects_without_a_row_go_after_a_day() -> None:
    world = World()
    await world.upload(1, has_row=False)
    kept = await world.upload(2)
    await world.refer(kept)
    assert (await world.sweep()).orphans == 0
    world.later(KEEP_MS)
    assert (await world.sweep()).orphans == 2
    assert await world.is_stored(kept)


async def test_objects_of_a_slower_try_go_and_the_row_stays() -> None:
    world = World()
    kept = await world.upload()
    await world.refer(kept)
    await world.upload(has_row=False)
    world.later(KEEP_MS)
    assert (await world.sweep()).orphans == 2
    assert await world.is_stored(kept)


async def test_upload_of_any_age_goes_after_a_long_outage() -> None:
    world = World()
    row = await world.upload(1)
    kept = await world.upload(2)
    await world.refer(kept)
    world.later(400 * DAY_MS)
    assert (await world.sweep()).marked == 1
    world.later(GRACE_MS)
    assert (await world.sweep()).deleted == 1
    assert (await world.is_stored(row), await world.is_stored(kept)) == (False, True)


async def test_settled_days_are_not_looked_at_again() -> None:
    world = World()
    for number in range(30):
        await world.refer(await world.upload(number))
        world.later(DAY_MS)
    assert (await world.sweep()).objects == 60
    world.later(GRACE_MS)
    swept = await world.sweep()
    assert (swept.days, swept.objects) == (2, 2)
    assert sum(key.startswith("swept/") for key in world.objects.objects) == 1


async def test_day_with_an_unused_upload_is_looked_at_until_it_goes() -> None:
    world = World()
    row = await world.upload()
    world.later(10 * DAY_MS)
    await world.sweep()
    world.has_passed = False
    world.later(10 * DAY_MS)
    assert (await world.sweep()).waiting == 1
    world.has_passed = True
    world.later(10 * DAY_MS)
    assert (await world.sweep()).deleted == 1
    assert not await world.is_stored(row)


async def test_late_objects_of_a_day_without_others_are_found() -> None:
    world = World()
    day_ends = (ids.day_of(world.clock.now_ms) + 1) * DAY_MS
    world.clock.now_ms = day_ends - 1
    row = await world.upload(has_row=False)
    late = dict(world.objects.objects)
    world.objects.objects.clear()
    world.clock.now_ms = day_ends + 1_800_000
    await world.sweep()
    world.objects.objects.update(late)
    world.later(2 * DAY_MS)
    assert (await world.sweep()).orphans == 2
    assert not await world.is_stored(row)


async def test_run_after_a_killed_one_continues_where_it_ended() -> None:
    world = World()
    for number in range(30):
        await world.refer(await world.upload(number))
        world.later(DAY_MS)
    _fail_once(world.tables, "media", 20)
    with pytest.raises(StoreUnavailable):
        await world.sweep()
    assert (await world.sweep()).objects == 20


async def test_given_days_leave_the_place_of_other_runs() -> None:
    world = World()
    row = await world.upload()
    world.later(40 * DAY_MS)
    assert (await world.sweep(days_back=7)).objects == 0
    assert (await world.sweep()).marked == 1
    assert await world.is_stored(row)


@pytest.mark.parametrize("seed", range(40))
async def test_sweep_that_fails_anywhere_removes_whole_uploads(seed: int) -> None:
    chance, world = random.Random(seed), World()
    rows = [await world.upload(number) for number in range(6)]
    for row in rows[:3]:
        await world.refer(row)
    world.later(KEEP_MS)
    for _ in range(30):
        failing = chance.choice((world.tables, world.objects))
        name = chance.choice([name for name in FAILING if hasattr(failing, name)])
        _fail_once(failing, name, chance.randrange(4))
        with contextlib.suppress(StoreUnavailable, MediaUnavailable):
            await world.sweep()
        world.later(GRACE_MS)
    for part in (world.tables, world.objects):
        for name in FAILING:
            vars(part).pop(name, None)  # a fault that no call has met
    await world.sweep()
    assert [await world.is_stored(row) for row in rows] == [True] * 3 + [False] * 3


def _fail_once(part: object, method: str, calls: int) -> None:
    """The method fails once, after so many calls, before or after it took effect."""
    real, left = getattr(part, method), [calls]

    async def failing(*args: object) -> object:
        left[0] -= 1
        if left[0] == -1:
            setattr(part, method, real)
            if calls % 2:
                await real(*args)
            raise StoreUnavailable(method)
        return await real(*args)

    setattr(part, method, failing)
