"""Whole objects on the local disk, as files that a reader opens. The least recently used ones go first."""

import asyncio
import contextlib
import hashlib
import itertools
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tidings import metrics
from tidings.errors import ConfigurationError, MediaUnavailable, UnreadableObject
from tidings.logging import logger
from tidings.media.base import MediaStore
from tidings.own_folder import OwnFolder
from tidings.store.segment_rows import ColdPlace

# A download that is slower is ended. 240 MiB, the largest object, may take four minutes; its readers do not wait so
# long, but a retry of theirs finds it.
LEAST_BYTES_PER_S = 1024 * 1024
# A segment of 10,000 messages with bodies of 24 KiB has 240 MiB. Whatever is larger is no object of the archiver.
MOST_OBJECT_BYTES = 512 * 1024 * 1024
# More wait, so that paging through many objects takes neither the whole network nor all threads.
_DOWNLOADS = 4
# Written and hashed at once, in 2 ms of a thread.
_BATCH_BYTES = 1024 * 1024

_log = logger("tidings.cold")


class CachedFile(NamedTuple):
    """An object on disk. `was_kept`: it was there, and no download was waited for."""

    path: Path
    was_kept: bool


class _Name(NamedTuple):
    """An object, and the digest of its bytes."""

    object_key: str
    sha256: bytes


@dataclass(slots=True)
class _Entry:
    """An object that is on disk or on its way. `users`: the readers that wait for it or have it open."""

    path: Path
    task: asyncio.Task[None] | None = None
    size: int = 0
    users: int = 0
    is_complete: bool = False
    is_dropped: bool = False


class ObjectCache:
    """The objects that one process has read last, within a number of bytes. Downloads under way come on top of that."""

    def __init__(self, objects: MediaStore, folder: Path, most_bytes: int, fetch_timeout_s: float) -> None:
        """`fetch_timeout_s`: the longest wait of a reader for an object. Its download continues without it."""
        self._objects = objects
        self._folder = folder
        self._most_bytes = most_bytes
        self._fetch_timeout_s = fetch_timeout_s
        self._own: OwnFolder | None = None
        self._numbers = itertools.count()
        self._entries: OrderedDict[_Name, _Entry] = OrderedDict()
        self._kept_bytes = 0
        self._downloads = asyncio.Semaphore(_DOWNLOADS)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Make the folder, and remove what dead processes left. Raises ConfigurationError."""
        try:
            self._own = await asyncio.to_thread(OwnFolder, self._folder)
        except OSError as error:
            raise ConfigurationError(f"TIDINGS_COLD_CACHE_DIR: {self._folder} cannot be used: {error}") from error

    async def close(self) -> None:
        """End downloads, and remove the files."""
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._entries.clear()
        self._count(-self._kept_bytes)
        if self._own is not None:
            await asyncio.to_thread(self._own.remove)
            self._own = None

    @contextlib.asynccontextmanager
    async def file(self, place: ColdPlace) -> AsyncIterator[CachedFile]:
        """The object's file, which stays until the block ends. Call `start` first.

        MediaUnavailable, also when the wait takes too long. MediaMissing. UnreadableObject: the bytes have another
        digest than the place says. OSError: the disk is full or fails.
        """
        name = _Name(place.object_key, place.object_sha256)
        entry = self._entries.get(name)
        if entry is None:
            entry = self._begin(name)
        was_kept = entry.is_complete
        self._entries.move_to_end(name)
        entry.users += 1
        try:
            if not was_kept:
                await self._wait_for(entry, name)
            yield CachedFile(entry.path, was_kept)
        finally:
            entry.users -= 1
            if entry.is_dropped and not entry.users:
                self._remove(entry)

    def drop(self, place: ColdPlace) -> None:
        """Keep the object no longer, because its content is wrong. Readers that have it open are not disturbed."""
        name = _Name(place.object_key, place.object_sha256)
        entry = self._entries.get(name)
        if entry is not None and entry.is_complete:
            self._drop(name, entry)

    def _begin(self, name: _Name) -> _Entry:
        if self._own is None:
            raise RuntimeError("the cache of cold objects is not started")
        entry = self._entries[name] = _Entry(self._own.path / f"{next(self._numbers)}.parquet")
        entry.task = asyncio.create_task(self._fetch(name, entry))
        self._tasks.add(entry.task)
        entry.task.add_done_callback(self._forget)
        return entry

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # mark it as retrieved, because all readers may have left

    async def _wait_for(self, entry: _Entry, name: _Name) -> None:
        """Not wait_for, because a reader that leaves must not end the download of the others."""
        assert entry.task is not None
        done, _ = await asyncio.wait({entry.task}, timeout=self._fetch_timeout_s)
        if not done:
            raise MediaUnavailable(
                f"{name.object_key} has not come within {self._fetch_timeout_s:g} s; its download runs"
            )
        if entry.task.cancelled():
            raise MediaUnavailable(f"the download of {name.object_key} was ended, because the process stops")
        entry.task.result()

    async def _fetch(self, name: _Name, entry: _Entry) -> None:
        try:
            async with self._downloads:
                if not entry.users:
                    return  # all readers left while it waited for its turn
                entry.size = await self._download(name, entry.path)
            entry.is_complete = True
        finally:
            if not entry.is_complete:
                del self._entries[name]
                self._remove(entry)
        self._count(entry.size)
        if entry.size > self._most_bytes:
            self._drop(name, entry)  # without it every other object would have to go
        self._make_room()

    async def _download(self, name: _Name, path: Path) -> int:
        """Write the object's bytes to a file, which has its name only when they are all there and right."""
        part = path.with_suffix(".part")
        digest = hashlib.sha256()
        size = 0
        began = asyncio.get_running_loop().time()
        try:
            await asyncio.to_thread(part.touch, mode=0o600)
            async with asyncio.timeout(self._fetch_timeout_s) as limit:
                async for batch in _batches(self._objects.open(name.object_key)):
                    await asyncio.to_thread(_append, part, batch, digest)
                    size += len(batch)
                    if size > MOST_OBJECT_BYTES:
                        raise UnreadableObject(f"it has more than {MOST_OBJECT_BYTES:,} bytes")
                    limit.reschedule(began + self._fetch_timeout_s + size / LEAST_BYTES_PER_S)
            if digest.digest() != name.sha256:
                raise UnreadableObject(
                    f"its SHA-256 is {digest.hexdigest()}, and the directory has {name.sha256.hex()}"
                )
            await asyncio.to_thread(part.rename, path)
        except TimeoutError:
            raise MediaUnavailable(
                f"{name.object_key} came too slowly: {size:,} bytes, then its time was over"
            ) from None
        return size

    def _make_room(self) -> None:
        """Drop the least recently used objects above the bound."""
        for name, entry in list(self._entries.items()):
            if self._kept_bytes <= self._most_bytes:
                return
            if entry.is_complete:
                self._drop(name, entry)

    def _drop(self, name: _Name, entry: _Entry) -> None:
        del self._entries[name]
        self._count(-entry.size)
        entry.is_dropped = True
        if not entry.users:
            self._remove(entry)

    def _count(self, more_bytes: int) -> None:
        self._kept_bytes += more_bytes
        metrics.COLD_CACHE_BYTES.set(self._kept_bytes)

    def _remove(self, entry: _Entry) -> None:
        """Delete the file in a thread, without waiting for it."""
        task = asyncio.create_task(asyncio.to_thread(_delete, entry.path))
        self._tasks.add(task)
        task.add_done_callback(self._forget)


async def _batches(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger parts."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _BATCH_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _append(path: Path, batch: bytes, digest: "hashlib._Hash") -> None:
    """Write and hash. The file must exist, so that a late call does not make again what was removed."""
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(batch)
    digest.update(batch)


def _delete(path: Path) -> None:
    for one in (path, path.with_suffix(".part")):
        try:
            one.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("a cached object cannot be removed", path=str(one), reason=str(error))
