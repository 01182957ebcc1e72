"""A process that stores 100 MiB, reads part of them, and prints by how many MiB its memory grew for each.

Arguments: folder, or endpoint and bucket of S3.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.contract.media.objects import MIB
from tidings.media.backends import prepare_folder
from tidings.media.base import MediaStore
from tidings.media.config import MediaStoreConfig
from tidings.media.obstore_store import ObstoreMediaStore

UPLOADED_MIB = 100
READ_MIB = 40  # moto reads the whole object for each range
_CHUNK = bytes(65_536)


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(_CHUNK)):
        yield bytes(bytearray(_CHUNK))


async def _read(store: MediaStore, size: int) -> None:
    received = 0
    async for chunk in store.open("big", 0, size):
        received += len(chunk)
    assert received == size


def _status_kib(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def _begin() -> int:
    """Let the peak begin at the memory of now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_kib("VmRSS")


async def _growths(store: MediaStore) -> list[float]:
    await store.put("small", _chunks(MIB))
    before = _begin()
    await store.put("big", _chunks(UPLOADED_MIB * MIB))
    upload = _status_kib("VmHWM") - before
    before = _begin()
    await _read(store, READ_MIB * MIB)
    download = _status_kib("VmHWM") - before
    await store.close()
    return [round(kib / 1024, 1) for kib in (upload, download)]


def main(place: list[str]) -> None:
    if len(place) == 1:
        config = MediaStoreConfig(folder=place[0])
        prepare_folder(Path(place[0]))
    else:
        config = MediaStoreConfig(
            endpoint=place[0], bucket=place[1], access_key_id="id", secret_access_key="secret", allow_http=True
        )
    sys.stdout.write(" ".join(map(str, asyncio.run(_growths(ObstoreMediaStore(config))))))


if __name__ == "__main__":
    main(sys.argv[1:])
