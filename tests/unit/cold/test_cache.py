"""Objects on disk: one download for all readers, a bound, and files that stay while they are read."""

import asyncio
import contextlib
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults.media import ReadFault
from tests.unit.cold.slow_media import SlowMediaStore
from tests.waiting import until
from tidings.cold import cache as cache_module
from tidings.cold.cache import ObjectCache
from tidings.errors import ConfigurationError, MediaMissing, MediaUnavailable, UnreadableObject
from tidings.store.segment_rows import ColdPlace

MOST_BYTES = 1000


def place_of(key: str, content: bytes) -> ColdPlace:
    return ColdPlace(key, 0, 1, 1, 0, hashlib.sha256(content).digest(), b"", b"", 0)


@pytest.fixture
def store() -> SlowMediaStore:
    return SlowMediaStore()


@pytest_asyncio.fixture
async def cache(store: SlowMediaStore, tmp_path: Path) -> AsyncIterator[ObjectCache]:
    cache = ObjectCache(store, tmp_path / "cache", MOST_BYTES, fetch_timeout_s=5)
    await cache.start()
    yield cache
    await cache.close()


def put(store: SlowMediaStore, key: str, size: int = 300) -> ColdPlace:
    """Store an object of its own bytes."""
    content = (key.encode() * size)[:size]
    store.objects[key] = content
    return place_of(key, content)


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


async def read(cache: ObjectCache, place: ColdPlace) -> tuple[bytes, bool]:
    async with cache.file(place) as file:
        return file.path.read_bytes(), file.was_kept


async def test_an_object_is_fetched_once(cache: ObjectCache, store: SlowMediaStore) -> None:
    place = put(store, "cold/a")
    assert await read(cache, place) == (store.objects["cold/a"], False)
    assert await read(cache, place) == (store.objects["cold/a"], True)
    assert store.calls["open"] == 1


async def test_readers_at_once_share_one_download(cache: ObjectCache, store: SlowMediaStore) -> None:
    place = put(store, "cold/a")
    answers = await asyncio.gather(*(read(cache, place) for _ in range(20)))
    assert answers == [(store.objects["cold/a"], False)] * 20
    assert store.calls["open"] == 1


async def test_least_recently_used_objects_go_first(cache: ObjectCache, store: SlowMediaStore, tmp_path: Path) -> None:
    places = [put(store, f"cold/{name}") for name in "abcd"]
    for place in (*places[:3], places[0]):
        await read(cache, place)
    await read(cache, places[3])
    await until(lambda: len(files(tmp_path)) == 3)
    assert [(await read(cache, place))[1] for place in (places[0], places[2], places[3])] == [True] * 3
    assert not (await read(cache, places[1]))[1]


async def test_bound_of_bytes_is_kept(cache: ObjectCache, store: SlowMediaStore, tmp_path: Path) -> None:
    for number in range(30):
        await read(cache, put(store, f"cold/{number}", 50 + 37 * number % 400))
    await until(lambda: sum(path.stat().st_size for path in files(tmp_path)) <= MOST_BYTES)


async def test_a_file_in_use_stays_when_it_is_evicted(
    cache: ObjectCache, store: SlowMediaStore, tmp_path: Path
) -> None:
    place = put(store, "cold/a")
    async with cache.file(place) as file:
        for number in range(5):
            await read(cache, put(store, f"cold/{number}", 900))
        assert file.path.read_bytes() == store.objects["cold/a"]
    await until(lambda: len(files(tmp_path)) == 1)
    assert not (await read(cache, place))[1]


async def test_object_above_the_bound_is_read_and_not_kept(
    cache: ObjectCache, store: SlowMediaStore, tmp_path: Path
) -> None:
    small, large = put(store, "cold/small"), put(store, "cold/large", MOST_BYTES + 1)
    await read(cache, small)
    answers = await asyncio.gather(*(read(cache, large) for _ in range(2)))
    assert answers == [(store.objects["cold/large"], False)] * 2
    await until(lambda: len(files(tmp_path)) == 1)
    assert (await read(cache, small))[1], "a large object leaves the others"
    assert not (await read(cache, large))[1]


async def test_dropped_object_is_fetched_again(cache: ObjectCache, store: SlowMediaStore) -> None:
    place = put(store, "cold/a")
    async with cache.file(place) as file:
        cache.drop(place)
        cache.drop(place)
        assert file.path.read_bytes() == store.objects["cold/a"]
    assert not (await read(cache, place))[1]


async def test_wrong_bytes_are_refused_and_not_kept(cache: ObjectCache, store: SlowMediaStore, tmp_path: Path) -> None:
    place = put(store, "cold/a")
    good, store.objects["cold/a"] = store.objects["cold/a"], b"other" * 60
    with pytest.raises(UnreadableObject, match="SHA-256"):
        await read(cache, place)
    await until(lambda: not files(tmp_path))
    store.objects["cold/a"] = good
    assert (await read(cache, place))[0] == good


async def test_failed_and_cut_downloads_leave_nothing(
    cache: ObjectCache, store: SlowMediaStore, tmp_path: Path
) -> None:
    place = put(store, "cold/a")
    store.faults.script_read(ReadFault.FAILED, ReadFault.CUT)
    for _ in range(2):
        with pytest.raises(MediaUnavailable):
            await read(cache, place)
    await until(lambda: not files(tmp_path))
    assert (await read(cache, place))[0] == store.objects["cold/a"]


async def test_missing_object_is_named(cache: ObjectCache) -> None:
    with pytest.raises(MediaMissing, match="cold/none"):
        await read(cache, place_of("cold/none", b""))


@pytest_asyncio.fixture
async def impatient(store: SlowMediaStore, tmp_path: Path) -> AsyncIterator[ObjectCache]:
    """A cache whose readers wait for 0.2 s."""
    cache = ObjectCache(store, tmp_path / "cache", MOST_BYTES, fetch_timeout_s=0.2)
    await cache.start()
    yield cache
    await cache.close()


async def test_wait_is_bounded_and_a_retry_finds_the_download(
    impatient: ObjectCache, store: SlowMediaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_BATCH_BYTES", 100)
    monkeypatch.setattr(cache_module, "LEAST_BYTES_PER_S", 100)
    store.chunk_bytes, store.pause_s = 100, 0.1
    place = put(store, "cold/a", 400)
    with pytest.raises(MediaUnavailable, match="its download runs"):
        await read(impatient, place)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(MediaUnavailable):
                assert (await read(impatient, place))[0] == store.objects["cold/a"]
                break
    assert store.calls["open"] == 1


async def test_store_that_never_answers_holds_no_place(impatient: ObjectCache, store: SlowMediaStore) -> None:
    store.may_answer.clear()
    place = put(store, "cold/a")
    with pytest.raises(MediaUnavailable):
        await read(impatient, place)
    await until(lambda: store.at_once == 0)
    store.may_answer.set()
    assert (await read(impatient, place))[0] == store.objects["cold/a"]


async def test_download_that_trickles_is_ended(impatient: ObjectCache, store: SlowMediaStore, tmp_path: Path) -> None:
    store.chunk_bytes, store.pause_s = 1, 0.05
    with pytest.raises(MediaUnavailable):
        await read(impatient, put(store, "cold/a"))
    await until(lambda: store.at_once == 0 and not files(tmp_path), within_s=10)


async def test_downloads_at_once_are_bounded(cache: ObjectCache, store: SlowMediaStore) -> None:
    store.pause_s = 0.01
    places = [put(store, f"cold/{number}", 60) for number in range(12)]
    await asyncio.gather(*(read(cache, place) for place in places))
    assert store.most_at_once == 4


async def test_queued_download_without_readers_never_starts(cache: ObjectCache, store: SlowMediaStore) -> None:
    store.may_answer.clear()
    busy = [asyncio.create_task(read(cache, put(store, f"cold/{number}", 60))) for number in range(4)]
    await until(lambda: store.at_once == 4)
    left = asyncio.create_task(read(cache, put(store, "cold/left")))
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait({left})
    store.may_answer.set()
    await asyncio.gather(*busy)
    assert (await read(cache, put(store, "cold/last")))[1] is False
    assert store.calls["open"] == 5


async def test_a_reader_that_leaves_does_not_end_the_download(cache: ObjectCache, store: SlowMediaStore) -> None:
    place = put(store, "cold/a")
    store.may_answer.clear()
    left, stays = (asyncio.create_task(read(cache, place)) for _ in range(2))
    await until(lambda: store.at_once == 1)
    left.cancel()
    await asyncio.wait({left})
    store.may_answer.set()
    assert (await stays)[0] == store.objects["cold/a"]


async def test_object_too_large_for_any_segment_is_refused(
    cache: ObjectCache, store: SlowMediaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "MOST_OBJECT_BYTES", 200)
    with pytest.raises(UnreadableObject, match="more than 200 bytes"):
        await read(cache, put(store, "cold/a"))


async def test_close_ends_downloads_and_removes_the_files(store: SlowMediaStore, tmp_path: Path) -> None:
    cache = ObjectCache(store, tmp_path / "cache", MOST_BYTES, fetch_timeout_s=5)
    await cache.start()
    await read(cache, put(store, "cold/a"))
    store.may_answer.clear()
    waiting = asyncio.create_task(read(cache, put(store, "cold/b")))
    await until(lambda: store.at_once == 1)
    await cache.close()
    with pytest.raises(MediaUnavailable, match="stops"):
        await waiting
    assert list((tmp_path / "cache").iterdir()) == []


async def test_start_removes_what_dead_processes_left(store: SlowMediaStore, tmp_path: Path) -> None:
    program = f"""
import asyncio, os
from pathlib import Path
from tidings.cold.cache import ObjectCache
from tidings.media.memory import MemoryMediaStore
cache = ObjectCache(MemoryMediaStore(), Path({str(tmp_path / "cache")!r}), 10, 1)
asyncio.run(cache.start())
os.kill(os.getpid(), 9)
"""
    dead = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await dead.wait() == -9
    (left,) = (tmp_path / "cache").iterdir()
    (left / "0.parquet").write_bytes(b"left")
    (tmp_path / "cache" / "other").mkdir()
    one, two = (ObjectCache(store, tmp_path / "cache", MOST_BYTES, 5) for _ in range(2))
    await asyncio.gather(one.start(), two.start())
    names = [path.name for path in (tmp_path / "cache").iterdir()]
    assert (left.name in names, "other" in names, len(names)) == (False, True, 3), "the living ones keep theirs"
    place = put(store, "cold/a")
    assert [await read(each, place) for each in (one, two)] == [(store.objects["cold/a"], False)] * 2
    await one.close()
    await two.close()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["other"]


async def test_folder_that_cannot_be_made_is_named(store: SlowMediaStore, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="TIDINGS_COLD_CACHE_DIR"):
        await ObjectCache(store, tmp_path / "file", MOST_BYTES, 5).start()


async def test_files_are_not_readable_for_others(cache: ObjectCache, store: SlowMediaStore) -> None:
    async with cache.file(put(store, "cold/a")) as file:
        assert os.stat(file.path).st_mode & 0o077 == 0
        assert os.stat(file.path.parent).st_mode & 0o077 == 0
