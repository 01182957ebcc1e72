"""Storage of a device's cursor. A cursor belongs to one user, one device and one deployment."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Protocol

import msgspec

from tidings_client.effects import Cursor


class CursorStore(Protocol):
    async def load(self) -> Cursor | None:
        """The last cursor saved; None on a new device."""
        ...

    async def save(self, cursor: Cursor) -> None:
        """Replace the saved cursor atomically. Raises OSError if that is not possible."""
        ...


class MemoryCursorStore:
    """Keeps the cursor in memory. Several clients of one process can use it, one after the other."""

    def __init__(self, cursor: Cursor | None = None) -> None:
        self.cursor = cursor

    async def load(self) -> Cursor | None:
        return self.cursor

    async def save(self, cursor: Cursor) -> None:
        self.cursor = cursor


class FileCursorStore:
    """One small JSON file, replaced atomically: a kill -9 leaves the old cursor or the new one. A lock orders the
    writes of two processes, and the file holds the cursor that was saved last."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    async def load(self) -> Cursor | None:
        """Raises ValueError if the file is not a cursor, because a silent restart would show every message again."""
        return await asyncio.to_thread(self._load)

    async def save(self, cursor: Cursor) -> None:
        await asyncio.to_thread(self._save, msgspec.json.encode(cursor))

    def _save(self, content: bytes) -> None:
        """Write under the lock, because all processes use the same name for the temporary file. A wait is one write."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(self._path.name + ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            replace_file(self._path, content)

    def _load(self) -> Cursor | None:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Cursor)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise ValueError(f"{self._path} is not a cursor file ({error}); remove it to start over") from error


def replace_file(path: Path, content: bytes) -> None:
    """Replace the file with `content`, durably and atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Sync a folder, because a rename or a new file is durable only after its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
