"""What every object store promises of uploads: whole or nothing, whatever ends them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contract.media.conftest import Place
from tests.contract.media.objects import MIB, chunks_of, keys_below, pattern, read

# Before the first part, in the first part, at its end, and with parts that are stored.
CUTS = [0, 1, 65_536, 5 * MIB, 5 * MIB + 65_536, 12 * MIB]


class _ClientIsGone(OSError):
    """An OSError, which obstore raises too."""


async def _cut_after(size: int) -> AsyncIterator[bytes]:
    async for chunk in chunks_of(pattern(size)):
        yield chunk
    raise _ClientIsGone("cut")


async def _waiting_after(size: int, reached: asyncio.Event) -> AsyncIterator[bytes]:
    async for chunk in chunks_of(pattern(size)):
        yield chunk
    reached.set()
    await asyncio.Event().wait()


@pytest.mark.parametrize("size", CUTS)
async def test_cut_upload_leaves_nothing(place: Place, name: str, size: int) -> None:
    with pytest.raises(_ClientIsGone, match="cut"):
        await place.store.put(f"{name}/cut", _cut_after(size))
    assert await keys_below(place.store, name) == []
    assert place.unfinished() == []


@pytest.mark.parametrize("size", CUTS)
async def test_cancelled_upload_leaves_nothing(place: Place, name: str, size: int) -> None:
    reached = asyncio.Event()
    upload = asyncio.create_task(place.store.put(f"{name}/cancelled", _waiting_after(size, reached)))
    await reached.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert await keys_below(place.store, name) == []
    assert place.unfinished() == []


async def test_upload_cancelled_twice_leaves_nothing(place: Place, name: str) -> None:
    reached = asyncio.Event()
    upload = asyncio.create_task(place.store.put(f"{name}/cancelled", _waiting_after(12 * MIB, reached)))
    await reached.wait()
    upload.cancel()
    await asyncio.sleep(0)
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await place.store.close()
    assert await keys_below(place.store, name) == []
    assert place.unfinished() == []


async def test_cut_upload_keeps_the_earlier_object(place: Place, name: str) -> None:
    await place.store.put(f"{name}/one", chunks_of(b"earlier"))
    with pytest.raises(_ClientIsGone):
        await place.store.put(f"{name}/one", _cut_after(6 * MIB))
    assert await read(place.store, f"{name}/one") == b"earlier"


async def test_object_is_hidden_until_it_is_whole(place: Place, name: str) -> None:
    reached = asyncio.Event()
    upload = asyncio.create_task(place.store.put(f"{name}/slow", _waiting_after(12 * MIB, reached)))
    await reached.wait()
    assert await place.store.size(f"{name}/slow") is None
    assert await keys_below(place.store, name) == []
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload


@pytest.mark.parametrize("size", [1000, 11 * MIB])
async def test_two_puts_of_one_key_give_one_whole_object(place: Place, name: str, size: int) -> None:
    first, second = pattern(size, seed=1), pattern(size + 1, seed=2)
    await asyncio.gather(*(place.store.put(f"{name}/one", chunks_of(data)) for data in (first, second)))
    assert await read(place.store, f"{name}/one") in (first, second)
    assert await keys_below(place.store, name) == [f"{name}/one"]
    assert place.unfinished() == []


async def test_many_uploads_at_once_stay_apart(place: Place, name: str) -> None:
    objects = {f"{name}/{seed}": pattern(6 * MIB, seed=seed) for seed in range(5)}
    await asyncio.gather(*(place.store.put(key, chunks_of(data)) for key, data in objects.items()))
    for key, data in objects.items():
        assert await read(place.store, key) == data
