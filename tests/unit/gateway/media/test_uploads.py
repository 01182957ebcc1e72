"""Uploads over tables and objects in memory. Images go through their real process."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image

from services.gateway.media import uploads as uploads_module
from services.gateway.media.images import ImageExaminer, ImageLimits
from services.gateway.media.places import MOST_BYTES_PER_S
from services.gateway.media.uploads import (
    LEAST_COUNTED_BYTES,
    UPLOADS_BURST,
    UPLOADS_PER_USER,
    Upload,
    UploadRules,
    Uploads,
)
from tests.fakes.clock import FakeClock
from tests.faults.drawn import WriteFault
from tests.faults.media import FaultyMediaStore
from tests.faults.store import FaultyStore
from tests.unit.gateway.media.pictures import picture, pixels
from tidings import ids
from tidings.errors import MediaUnavailable, Refused, StoreUnavailable
from tidings.pace import MOST_AHEAD_S
from tidings.store.media_rows import MediaRow

NOW_MS = 1_795_435_200_000
UNLIMITED = UploadRules(b"k" * 32, image_bytes=20_000, file_bytes=50_000, user_bytes_per_day=2**40)
RULES = UploadRules(b"k" * 32, image_bytes=20_000, file_bytes=50_000, user_bytes_per_day=3 * LEAST_COUNTED_BYTES)


@dataclass
class World:
    """One gateway's uploads, and what is behind them."""

    tables: FaultyStore = field(default_factory=FaultyStore)
    objects: FaultyMediaStore = field(default_factory=FaultyMediaStore)
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW_MS))

    def gateway(self, rules: UploadRules = RULES) -> Uploads:
        return Uploads(self.tables, self.objects, ImageExaminer(ImageLimits()), self.clock, rules)

    async def used(self) -> int:
        return await self.tables.media_usage("alice", ids.day_of(NOW_MS))

    async def take(self, content: bytes, key: str = "", user_id: str = "alice", declared: str = "") -> MediaRow:
        return await self.gateway().take(Upload(user_id, key, declared or None, "a.bin"), chunks(content))


async def chunks(content: bytes, size: int = 700) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        await call()  # type: ignore[misc]
    return caught.value


async def test_file_is_stored_as_it_was_sent() -> None:
    world = World()
    content = bytes(range(256)) * 40
    row = await world.take(content, declared="text/plain")
    assert (row.owner_id, row.content_type, row.size, row.is_image) == ("alice", "text/plain", len(content), False)
    assert world.objects.objects == {row.object_key: content}
    assert await world.tables.media([row.media_id]) == {row.media_id: row}
    assert await world.tables.media_usage("alice", ids.day_of(NOW_MS)) == LEAST_COUNTED_BYTES


async def test_image_has_sides_and_a_thumbnail() -> None:
    world = World()
    row = await world.take(picture(image=pixels(640, 480)))
    thumb = Image.open(io.BytesIO(world.objects.objects[row.thumb_key]))
    assert (row.width, row.height, row.content_type) == (640, 480, "image/png")
    assert (thumb.size, thumb.format, row.thumb_size) == ((320, 240), "WEBP", len(world.objects.objects[row.thumb_key]))


@pytest.mark.parametrize("content", [b"one" * 500, picture(image=pixels(640, 480))])
async def test_repeat_of_a_key_with_equal_bytes_is_one_upload(content: bytes) -> None:
    world = World()
    first = await world.take(content, "key")
    again = await world.take(content, "key")
    assert again == first
    assert len(world.objects.objects) == (2 if first.is_image else 1)
    assert (await world.take(content, "key", user_id="bob")).media_id != first.media_id
    assert (await world.take(content)).media_id != first.media_id


async def test_repeat_of_a_key_with_other_bytes_is_a_conflict() -> None:
    world = World()
    await world.take(b"one", "key")
    assert (await refusal(lambda: world.take(b"two", "key"))).code == "conflict"


async def test_tries_of_one_key_at_once_leave_one_upload() -> None:
    world = World()
    gateways = [world.gateway() for _ in range(5)]
    tries = (one.take(Upload("alice", "key", None, "a"), chunks(b"x" * 5_000)) for one in gateways)
    rows = await asyncio.gather(*tries)
    assert len(set(rows)) == 1
    assert list(world.objects.objects) == [rows[0].object_key]


async def test_repeat_of_a_removed_upload_is_a_conflict() -> None:
    world = World()
    row = await world.take(b"one", "key")
    await world.tables.mark_media(row.media_id, NOW_MS, 0)
    assert (await refusal(lambda: world.take(b"one", "key"))).code == "conflict"


@pytest.mark.bad_input("B1")
@pytest.mark.parametrize(
    ("content", "declared", "code"),
    [
        (b"", "", "invalid_body"),
        (b"x" * (RULES.file_bytes + 1), "", "too_large"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * RULES.image_bytes, "", "too_large"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", "invalid_body"),
        (b"<html><script>", "image/png", "invalid_body"),
        (picture(image=pixels(640, 480))[:-40], "", "invalid_body"),
        (b"\x89PNG\r\n\x1a\n", "", "invalid_body"),
    ],
)
async def test_bad_upload_is_refused_and_leaves_nothing(content: bytes, declared: str, code: str) -> None:
    world = World()
    assert (await refusal(lambda: world.take(content, declared=declared))).code == code
    assert not world.objects.objects
    assert await world.tables.media_usage("alice", ids.day_of(NOW_MS)) == 0


async def test_upload_of_exactly_the_limit_is_taken() -> None:
    assert (await World().take(b"x" * RULES.file_bytes)).size == RULES.file_bytes


async def test_upload_that_is_cut_off_leaves_nothing() -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield b"x" * 1_000
        raise Refused("invalid_frame", "the body ended")

    world = World()
    assert (await refusal(lambda: world.gateway().take(Upload("alice", "", None, "a"), cut()))).code == "invalid_frame"
    assert not world.objects.objects


async def test_upload_is_paced() -> None:
    began = time.monotonic()
    rules = replace(UNLIMITED, file_bytes=MOST_BYTES_PER_S)
    uploads = Uploads(FaultyStore(), FaultyMediaStore(), ImageExaminer(ImageLimits()), FakeClock(NOW_MS), rules)
    await uploads.take(Upload("alice", "", None, "a"), chunks(b"x" * MOST_BYTES_PER_S, 256 * 1024))
    assert time.monotonic() - began >= 1 - MOST_AHEAD_S


async def test_quota_counts_a_day_and_each_user_alone() -> None:
    world = World()
    for _ in range(3):
        await world.take(b"x" * 40_000)
    refused = await refusal(lambda: world.take(b"x"))
    assert refused.code == "rate_limited"
    assert refused.retry_after_ms == ids.DAY_MS - NOW_MS % ids.DAY_MS
    await world.take(b"x", user_id="bob")
    world.clock.now_ms += refused.retry_after_ms
    await world.take(b"x")


async def test_upload_that_may_be_uncounted_is_unavailable() -> None:
    world = World()
    world.tables.faults.script_write(WriteFault.LOST)
    with pytest.raises(StoreUnavailable):
        await world.take(b"x" * 10, "key")
    assert not await world.tables.media(list(world.tables._media))
    assert not world.objects.objects
    await world.take(b"x" * 10, "key")
    assert await world.used() == LEAST_COUNTED_BYTES


async def test_upload_is_counted_before_its_row_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """The process ends in this call."""

    async def killed(_row: MediaRow) -> MediaRow:
        raise Killed

    world = World()
    with monkeypatch.context() as until_its_end:
        until_its_end.setattr(world.tables, "add_media", killed)
        with pytest.raises(Killed):
            await world.take(b"x" * 10, "key")
    assert await world.used() == LEAST_COUNTED_BYTES
    await world.take(b"x" * 10, "key")
    assert await world.used() == LEAST_COUNTED_BYTES


async def test_smaller_try_of_one_key_lowers_no_usage() -> None:
    world, first_is_stored = World(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await first_is_stored.wait()

    smaller = asyncio.create_task(world.gateway(UNLIMITED).take(Upload("alice", "key", None, "a"), slow()))
    await asyncio.sleep(0.01)
    content = b"x" * 3 * LEAST_COUNTED_BYTES
    larger = world.gateway(replace(UNLIMITED, file_bytes=len(content)))
    await larger.take(Upload("alice", "key", None, "a"), chunks(content))
    first_is_stored.set()
    assert (await refusal(lambda: smaller)).code == "conflict"
    assert await world.used() == len(content)


async def test_uploads_at_once_exceed_the_quota_by_less_than_one() -> None:
    world = World()

    tries = (
        one.take(Upload("alice", "", None, "a"), chunks(b"x" * 40_000)) for one in [world.gateway() for _ in range(12)]
    )
    ended = await asyncio.gather(*tries, return_exceptions=True)
    assert {one.code for one in ended if isinstance(one, Refused)} == {"rate_limited"}
    counted = len(world.tables._media) * LEAST_COUNTED_BYTES
    assert counted < RULES.user_bytes_per_day + LEAST_COUNTED_BYTES
    assert len(world.objects.objects) == len(world.tables._media)


async def test_uploads_of_a_user_at_once_are_bounded() -> None:
    world, ending = World(), asyncio.Event()
    uploads = Uploads(world.tables, world.objects, ImageExaminer(ImageLimits()), world.clock, UNLIMITED)

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 600
        await ending.wait()

    running = [
        asyncio.create_task(uploads.take(Upload("alice", "", None, "a"), slow())) for _ in range(UPLOADS_PER_USER)
    ]
    await asyncio.sleep(0.01)
    assert (await refusal(lambda: uploads.take(Upload("alice", "", None, "a"), slow()))).code == "rate_limited"
    ending.set()
    await asyncio.gather(*running)
    await uploads.take(Upload("alice", "", None, "a"), slow())


@pytest.mark.parametrize("away", ["tables", "objects"])
async def test_upload_without_a_server_stores_no_row(away: str) -> None:
    world = World()
    (world.tables if away == "tables" else world.objects).stall()
    with pytest.raises((StoreUnavailable, MediaUnavailable)):
        await world.take(b"x" * 10, "key")
    (world.tables if away == "tables" else world.objects).heal()
    assert (await world.take(b"x" * 10, "key")).size == 10


async def test_many_small_uploads_are_limited_by_their_rate() -> None:
    world = World()
    uploads = Uploads(world.tables, world.objects, ImageExaminer(ImageLimits()), world.clock, UNLIMITED)
    for _ in range(UPLOADS_BURST):
        await uploads.take(Upload("alice", "", None, "a"), chunks(b"x"))
    refused = await refusal(lambda: uploads.take(Upload("alice", "", None, "a"), chunks(b"x")))
    assert refused.code == "rate_limited"
    world.clock.now_ms += refused.retry_after_ms or 0
    await uploads.take(Upload("alice", "", None, "a"), chunks(b"x"))


async def test_folder_without_room_is_unavailable(tmp_path: Path) -> None:
    world = World()
    rules = replace(RULES, folder=tmp_path / "missing")
    uploads = Uploads(world.tables, world.objects, ImageExaminer(ImageLimits()), world.clock, rules)
    refused = await refusal(lambda: uploads.take(Upload("alice", "", None, "a"), chunks(picture())))
    assert refused.code == "unavailable"
    assert not world.objects.objects


async def test_upload_beyond_its_time_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 1_000
        await asyncio.Event().wait()

    monkeypatch.setattr(uploads_module, "UPLOAD_S", 0.05)
    world = World()
    uploads = world.gateway()
    for _ in range(UPLOADS_PER_USER + 1):  # each leaves its place
        refused = await refusal(lambda: uploads.take(Upload("alice", "", None, "a"), endless()))
        assert refused.code == "timeout"
    assert not world.objects.objects
    assert await world.used() == 0
