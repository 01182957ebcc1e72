"""Where messages wait until they are stored, so that a restart sends them again under the same id."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Protocol

import msgspec

from tidings_client.cursors import replace_file, sync_folder
from tidings_client.sending import Draft

COMPACT_AFTER = 1_000  # settled messages in the file before it is written anew


class Outbox(Protocol):
    async def load(self) -> Sequence[Draft]:
        """What is not settled, in the order of composing; each with the number of its next try."""
        ...

    async def add(self, drafts: Sequence[Draft]) -> None:
        """Returns when they would survive a crash. OSError if they would not."""
        ...

    async def settle(self, client_msg_ids: Sequence[str]) -> None:
        """These are stored or given up. Losing this note costs a repeat, which the server recognises."""
        ...

    async def close(self) -> None: ...


class MemoryOutbox:
    """Forgets with the process."""

    async def load(self) -> Sequence[Draft]:
        return ()

    async def add(self, drafts: Sequence[Draft]) -> None:
        pass

    async def settle(self, client_msg_ids: Sequence[str]) -> None:
        pass

    async def close(self) -> None:
        pass


class _Line(msgspec.Struct, omit_defaults=True):
    """One line of the file: a message added, or one settled."""

    add: Draft | None = None
    settled: str | None = None


class FileOutbox:
    """An append-only file of JSON lines. A line that a crash has cut off was never promised and is
    dropped at the next start, which also writes the file anew. One process at a time may hold it."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._live: dict[str, Draft] = {}
        self._settled = 0
        self._file: FileIO | None = None
        self._lock: FileIO | None = None

    async def load(self) -> Sequence[Draft]:
        """BlockingIOError if another process holds it; ValueError if the file is damaged before its end."""
        try:
            return await asyncio.to_thread(self._load)
        except (OSError, ValueError):
            await self.close()
            raise

    async def add(self, drafts: Sequence[Draft]) -> None:
        await asyncio.to_thread(self._add, drafts)

    async def settle(self, client_msg_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self._settle, client_msg_ids)

    async def close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None

    def _load(self) -> Sequence[Draft]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileIO(self._path.with_name(self._path.name + ".lock"), "w")
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        content = self._path.read_bytes() if self._path.exists() else b""
        for draft in _unsettled(self._path, content):
            self._live[draft.client_msg_id] = replace(draft, attempt=draft.attempt + 1)
        self._compact()
        return tuple(self._live.values())

    def _add(self, drafts: Sequence[Draft]) -> None:
        file = self._append(_Line(add=draft) for draft in drafts)
        os.fsync(file.fileno())
        self._live.update((draft.client_msg_id, draft) for draft in drafts)

    def _settle(self, client_msg_ids: Sequence[str]) -> None:
        self._append(_Line(settled=client_msg_id) for client_msg_id in client_msg_ids)
        for client_msg_id in client_msg_ids:
            self._live.pop(client_msg_id, None)
        self._settled += len(client_msg_ids)
        if self._settled >= max(COMPACT_AFTER, 2 * len(self._live)):
            self._compact()

    def _append(self, lines: Iterable[_Line]) -> FileIO:
        if self._file is None:
            raise ValueError("the outbox must be loaded before it is used")
        _write(self._file, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return self._file

    def _compact(self) -> None:
        lines = (msgspec.json.encode(_Line(add=draft)) + b"\n" for draft in self._live.values())
        replace_file(self._path, b"".join(lines))
        if self._file is not None:
            self._file.close()
        self._file = FileIO(self._path, "a")
        sync_folder(self._path.parent)
        self._settled = 0


def _unsettled(path: Path, content: bytes) -> Iterable[Draft]:
    *whole, _cut_off = content.split(b"\n")
    live: dict[str, Draft] = {}
    for number, text in enumerate(whole, start=1):
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}, line {number}, is damaged ({error}); mend or remove it") from error
        if line.add is not None:
            live[line.add.client_msg_id] = line.add
        elif line.settled is not None:
            live.pop(line.settled, None)
    return live.values()


def _write(file: FileIO, content: bytes) -> None:
    """All of it, or the file as it was: a half-written line would spoil the next one."""
    start = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(start)
        raise
