"""Things in a local store that are no objects. Each call about them ends, and all other objects are served."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.media.objects import chunks_of, read
from tidings.errors import MediaMissing, MediaUnavailable
from tidings.media.backends import prepare_folder
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore

SOON_S = 10.0


async def test_deleted_object_leaves_no_folder(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    store = ObstoreMediaStore(MediaStoreConfig(folder=str(tmp_path)))
    await store.put("1/a/one", chunks_of(b"1"))
    await store.put("1/b/two", chunks_of(b"2"))
    await store.delete(["1/a/one"])
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["b"]
    await store.delete(["1/b/two"])
    await store.put("1/b/two", chunks_of(b"2"))
    assert await read(store, "1/b/two") == b"2"
    await store.close()


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "error"), [(loop, MediaUnavailable), (os.mkfifo, MediaUnavailable), (Path.mkdir, MediaMissing)]
)
async def test_read_of_what_is_no_file_ends(
    tmp_path: Path, make: Callable[[Path], None], error: type[Exception]
) -> None:
    """obstore opens a FIFO, and waits for a writer that never comes."""
    prepare_folder(tmp_path)
    store = ObstoreMediaStore(MediaStoreConfig(folder=str(tmp_path)))
    await store.put("cold/sound", chunks_of(b"sound"))
    make(tmp_path / "cold" / "odd")
    async with asyncio.timeout(SOON_S):
        for length in (None, 3):
            with pytest.raises(error):
                await read(store, "cold/odd", 0, length)
        if error is MediaMissing:
            assert await store.size("cold/odd") is None
        else:
            with pytest.raises(error):
                await store.size("cold/odd")
        assert await read(store, "cold/sound") == b"sound"
    await store.close()
