"""What every object store promises of objects that are stored: reading, listing, deleting."""

import time

import pytest

from tests.contract.media.objects import MIB, chunks_of, keys_below, pattern, read
from tidings.errors import MediaMissing
from tidings.media.base import MediaStore

PAGE = 1000


async def test_object_is_read_back_whole(store: MediaStore, name: str) -> None:
    for size in (1, 65_536, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 11 * MIB):
        data = pattern(size, seed=size)
        await store.put(f"{name}/{size}", chunks_of(data))
        assert await store.size(f"{name}/{size}") == size
        assert await read(store, f"{name}/{size}") == data


async def test_odd_chunks_make_the_same_object(store: MediaStore, name: str) -> None:
    data = pattern(6 * MIB)
    for chunk in (7_919, 3 * MIB + 1, 20 * MIB):
        await store.put(f"{name}/{chunk}", chunks_of(data, chunk))
        assert await read(store, f"{name}/{chunk}") == data


async def test_empty_object_exists(store: MediaStore, name: str) -> None:
    await store.put(f"{name}/empty", chunks_of(b""))
    assert await store.size(f"{name}/empty") == 0
    assert await read(store, f"{name}/empty") == b""
    assert await read(store, f"{name}/empty", 0, 0) == b""


@pytest.mark.parametrize(
    ("start", "length"),
    [(0, 1), (0, 10), (0, None), (0, 0), (9, 1), (9, None), (3, 4), (10, 0), (10, None), (5, 0)],
)
async def test_range_is_exact(store: MediaStore, name: str, start: int, length: int | None) -> None:
    await store.put(f"{name}/ten", chunks_of(b"0123456789"))
    expected = b"0123456789"[start:] if length is None else b"0123456789"[start : start + length]
    assert await read(store, f"{name}/ten", start, length) == expected


@pytest.mark.parametrize(("start", "length"), [(0, 11), (9, 2), (10, 1), (11, 0), (11, None), (11, 1), (2**40, 1)])
async def test_range_beyond_the_end_is_missing(store: MediaStore, name: str, start: int, length: int | None) -> None:
    await store.put(f"{name}/ten", chunks_of(b"0123456789"))
    with pytest.raises(MediaMissing):
        await read(store, f"{name}/ten", start, length)


async def test_range_across_blocks_is_exact(store: MediaStore, name: str) -> None:
    data = pattern(9 * MIB)
    await store.put(f"{name}/nine", chunks_of(data))
    for start, length in ((0, 4 * MIB), (4 * MIB - 1, 2), (4 * MIB, MIB), (1, 8 * MIB + 7), (9 * MIB - 1, 1)):
        assert await read(store, f"{name}/nine", start, length) == data[start : start + length]


async def test_object_shorter_than_the_range_gives_no_byte(store: MediaStore, name: str) -> None:
    await store.put(f"{name}/short", chunks_of(pattern(6 * MIB)))
    with pytest.raises(MediaMissing):
        await anext(store.open(f"{name}/short", 0, 7 * MIB))


async def test_missing_object_differs_from_an_empty_one(store: MediaStore, name: str) -> None:
    assert await store.size(f"{name}/none") is None
    for start, length in ((0, None), (0, 0), (0, 5), (3, 5)):
        with pytest.raises(MediaMissing):
            await anext(store.open(f"{name}/none", start, length))


async def test_folder_of_objects_is_no_object(store: MediaStore, name: str) -> None:
    await store.put(f"{name}/a/b", chunks_of(b"x"))
    assert await store.size(f"{name}/a") is None
    with pytest.raises(MediaMissing):
        await read(store, f"{name}/a")


async def test_delete_twice_is_no_error(store: MediaStore, name: str) -> None:
    await store.put(f"{name}/one", chunks_of(b"1"))
    await store.put(f"{name}/two", chunks_of(b"2"))
    for _ in range(2):
        await store.delete([f"{name}/none", f"{name}/one"])
    await store.delete([])
    assert await store.size(f"{name}/one") is None
    assert await keys_below(store, name) == [f"{name}/two"]


async def test_later_put_replaces_the_object(store: MediaStore, name: str) -> None:
    await store.put(f"{name}/one", chunks_of(pattern(6 * MIB)))
    await store.put(f"{name}/one", chunks_of(b"short"))
    assert await read(store, f"{name}/one") == b"short"


async def test_list_has_size_and_time(store: MediaStore, name: str) -> None:
    before_ms = time.time_ns() // 1_000_000
    await store.put(f"{name}/one", chunks_of(b"12345"))
    (found,) = [found async for found in store.list(name)]
    assert (found.key, found.size) == (f"{name}/one", 5)
    # S3 shows whole seconds. Memory has no clock here.
    assert found.modified_ms == 0 or before_ms - 1000 <= found.modified_ms <= before_ms + 60_000


async def test_list_has_what_is_below_the_folder(store: MediaStore, name: str) -> None:
    keys = [f"{name}/a", f"{name}/a/b", f"{name}/ab/c", f"{name}/b"]
    for key in (keys[1], *keys[2:]):
        await store.put(key, chunks_of(b"x"))
    assert await keys_below(store, name) == keys[1:]
    assert await keys_below(store, f"{name}/") == keys[1:]
    assert await keys_below(store, f"{name}/a") == [keys[1]]
    assert await keys_below(store, f"{name}/b") == []
    assert await keys_below(store, f"{name}/none") == []
    assert set(keys[1:]) <= set(await keys_below(store, ""))


async def test_list_and_delete_go_beyond_a_page(store: MediaStore, name: str) -> None:
    keys = [f"{name}/{number:04}" for number in range(PAGE + 7)]
    for key in keys:
        await store.put(key, chunks_of(b"x"))
    assert await keys_below(store, name) == keys
    await store.delete(keys)
    assert await keys_below(store, name) == []


async def test_keys_with_every_character_work(store: MediaStore, name: str) -> None:
    key = f"{name}/d:alice:bob/2026-11/A_b.c=d-e..f/.hidden"
    await store.put(key, chunks_of(b"x"))
    assert await read(store, key) == b"x"
    assert await keys_below(store, name) == [key]


_NO_PATHS = ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.", "a/...", "a" * 201, "/".join(["a" * 100] * 8)]
_NO_PLAIN_TEXT = ["a\nb", "a\x00", "a b", "a%2fb", "a#1", "é", "a?b", "a\\b"]


@pytest.mark.parametrize("key", _NO_PATHS + _NO_PLAIN_TEXT)
async def test_key_with_tricks_is_refused(store: MediaStore, key: str) -> None:
    calls = [store.put(key, chunks_of(b"x")), anext(store.open(key)), store.size(key), store.delete([key])]
    for call in [*calls, store.sign(key, 60, "attachment", "text/plain")]:
        with pytest.raises(ValueError, match="no key"):
            await call


async def test_negative_range_is_refused(store: MediaStore, name: str) -> None:
    for start, length in ((-1, 1), (0, -1), (-1, None)):
        with pytest.raises(ValueError, match="negative"):
            await anext(store.open(f"{name}/one", start, length))
