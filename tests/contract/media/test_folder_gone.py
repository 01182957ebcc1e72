"""A folder whose volume is not mounted is no empty store: nothing is written there, and nothing seems removed."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.contract.media.objects import MIB, chunks_of, pattern, read
from tidings.errors import MediaUnavailable
from tidings.media.backends import prepare_folder
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore


@pytest_asyncio.fixture
async def folder_store(tmp_path: Path) -> AsyncIterator[ObstoreMediaStore]:
    """A store with one object, in `tmp_path`/media."""
    prepare_folder(tmp_path / "media")
    store = ObstoreMediaStore(MediaStoreConfig(folder=str(tmp_path / "media")))
    await store.put("a/one", chunks_of(b"1"))
    yield store
    await store.close()


async def _list(store: ObstoreMediaStore) -> object:
    return [found async for found in store.list()]


CALLS: dict[str, Callable[[ObstoreMediaStore], Awaitable[object]]] = {
    "put": lambda store: store.put("a/two", chunks_of(b"2")),
    "put in parts": lambda store: store.put("a/two", chunks_of(pattern(6 * MIB))),
    "open": lambda store: read(store, "a/one"),
    "size": lambda store: store.size("a/one"),
    "delete": lambda store: store.delete(["a/one"]),
    "list": _list,
}


@pytest.mark.promise("G1")
@pytest.mark.parametrize("is_mount_point", [False, True], ids=["no folder", "empty folder"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("is_new_process", [False, True], ids=["running", "new process"])
async def test_a_folder_that_is_away_answers_nothing(
    folder_store: ObstoreMediaStore,
    tmp_path: Path,
    call: Callable[[ObstoreMediaStore], Awaitable[object]],
    *,
    is_mount_point: bool,
    is_new_process: bool,
) -> None:
    folder = tmp_path / "media"
    folder.rename(tmp_path / "away")
    if is_mount_point:
        folder.mkdir()
    store = ObstoreMediaStore(MediaStoreConfig(folder=str(folder))) if is_new_process else folder_store
    for _ in range(2):
        with pytest.raises(MediaUnavailable, match="not mounted"):
            await call(store)
    assert not folder.exists() or not list(folder.iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    (tmp_path / "away").rename(folder)
    assert await read(store, "a/one") == b"1"


async def test_an_object_is_not_stored_if_the_folder_goes_meanwhile(
    folder_store: ObstoreMediaStore, tmp_path: Path
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield pattern(6 * MIB)
        (tmp_path / "media").rename(tmp_path / "away")
        yield pattern(MIB)

    with pytest.raises(MediaUnavailable):
        await folder_store.put("a/two", chunks())


async def test_the_mark_of_a_folder_is_no_object(folder_store: ObstoreMediaStore, tmp_path: Path) -> None:
    assert prepare_folder(tmp_path / "media") is False
    assert [found.key async for found in folder_store.list()] == ["a/one"]
