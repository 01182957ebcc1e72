"""Keeps messages until the server has stored them, so that a restart sends them again under the same id."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Protocol

import msgspec

from tidings_client.cursors import replace_file, sync_folder
from tidings_client.drafts import Draft, FailedDraft
from tidings_client.errors import FileInUse

COMPACT_AFTER = 1_000  # settled messages in the file before it is rewritten


class Outbox(Protocol):
    async def load(self) -> Sequence[Draft]:
        """The pending messages in the order of composing, each with the number of its next try."""
        ...

    async def failed(self) -> Sequence[FailedDraft]:
        """The messages that have failed and are not settled. Called after `load`."""
        ...

    async def add(self, drafts: Sequence[Draft]) -> None:
        """Returns when the drafts would survive a crash. Raises OSError if they cannot be stored."""
        ...

    async def replace(self, changes: Sequence[tuple[str, Draft]]) -> None:
        """Returns when each draft has replaced the one with that id, durably. A crash leaves one of the two and never
        both. Raises OSError if that is not possible."""
        ...

    async def fail(self, failed: Sequence[FailedDraft]) -> None:
        """Note that these messages have failed. `failed` lists them until they are settled. If the note is lost, the
        client tries them again."""
        ...

    async def settle(self, client_msg_ids: Sequence[str]) -> None:
        """Note that these messages are stored or discarded. If the note is lost, the client repeats them and the
        server recognises the repeats."""
        ...

    async def close(self) -> None: ...


class MemoryOutbox:
    """Stores nothing, so pending messages are lost when the process ends."""

    async def load(self) -> Sequence[Draft]:
        return ()

    async def failed(self) -> Sequence[FailedDraft]:
        return ()

    async def add(self, drafts: Sequence[Draft]) -> None:
        pass

    async def replace(self, changes: Sequence[tuple[str, Draft]]) -> None:
        pass

    async def fail(self, failed: Sequence[FailedDraft]) -> None:
        pass

    async def settle(self, client_msg_ids: Sequence[str]) -> None:
        pass

    async def close(self) -> None:
        pass


class _Failure(msgspec.Struct):
    client_msg_id: str
    code: str
    reason: str


class _Line(msgspec.Struct, omit_defaults=True):
    """One line of the file: a message added, settled or failed. A line with `add` and `settled` replaces a message."""

    add: Draft | None = None
    settled: str | None = None
    failed: _Failure | None = None


class _Live:
    """The messages of the file that are not settled. A message keeps its place when its id changes."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._drafts: dict[int, Draft] = {}
        self._failures: dict[int, _Failure] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self._places)

    def apply(self, line: _Line) -> None:
        freed = None if line.settled is None else self._places.pop(line.settled, None)
        if line.add is not None:
            freed = self._put(line.add, freed)
        if freed is not None:
            del self._drafts[freed]
            self._failures.pop(freed, None)
        if line.failed is not None and (failed_place := self._places.get(line.failed.client_msg_id)) is not None:
            self._failures[failed_place] = line.failed

    def _put(self, draft: Draft, freed: int | None) -> int | None:
        """Put a draft at its own place, else at the freed one, else at the end. Returns the freed place if unused."""
        place = self._places.get(draft.client_msg_id, freed)
        if place is None:
            place, self._next = self._next, self._next + 1
        self._places[draft.client_msg_id] = place
        self._drafts[place] = draft
        self._failures.pop(place, None)
        return None if freed == place else freed

    def pending(self) -> Sequence[Draft]:
        return tuple(draft for place, draft in self._drafts.items() if place not in self._failures)

    def failed(self) -> Sequence[FailedDraft]:
        """In the order of composing."""
        found = [(self._drafts[place], failure) for place, failure in sorted(self._failures.items())]
        return tuple(FailedDraft(draft, failure.code, failure.reason) for draft, failure in found)

    def lines(self) -> Iterator[_Line]:
        """The lines of the compacted file."""
        for place, draft in self._drafts.items():
            yield _Line(add=draft, failed=self._failures.get(place))

    def try_again(self) -> None:
        """Count one try more for each pending draft, because the earlier process may have tried it."""
        for place, draft in self._drafts.items():
            if place not in self._failures:
                self._drafts[place] = replace(draft, attempt=draft.attempt + 1)


class FileOutbox:
    """An append-only file of JSON lines. A line that a crash has cut off was never accepted, so the next start drops
    it. Each start rewrites the file. One process at a time may hold it."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._live = _Live()
        self._settled = 0
        self._file: FileIO | None = None
        self._lock: FileIO | None = None

    async def load(self) -> Sequence[Draft]:
        """Raises FileInUse if another process holds the file, and ValueError if it is damaged before its end."""
        try:
            return await asyncio.to_thread(self._load)
        except (OSError, ValueError):
            await self.close()
            raise

    async def add(self, drafts: Sequence[Draft]) -> None:
        await asyncio.to_thread(self._write_down, [_Line(add=draft) for draft in drafts])

    async def failed(self) -> Sequence[FailedDraft]:
        return self._live.failed()

    async def replace(self, changes: Sequence[tuple[str, Draft]]) -> None:
        await asyncio.to_thread(self._write_down, [_Line(add=draft, settled=was) for was, draft in changes])

    async def fail(self, failed: Sequence[FailedDraft]) -> None:
        lines = [_Line(failed=_Failure(one.draft.client_msg_id, one.code, one.reason)) for one in failed]
        await asyncio.to_thread(self._note, lines)

    async def settle(self, client_msg_ids: Sequence[str]) -> None:
        await asyncio.to_thread(self._note, [_Line(settled=client_msg_id) for client_msg_id in client_msg_ids])

    async def close(self) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()
        self._file = self._lock = None

    def _load(self) -> Sequence[Draft]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileIO(self._path.with_name(self._path.name + ".lock"), "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileInUse(f"the outbox {self._path} is in use by another client; give each client its own") from error
        content = self._path.read_bytes() if self._path.exists() else b""
        self._live = _read(self._path, content)
        self._live.try_again()
        self._compact()
        return self._live.pending()

    def _write_down(self, lines: Sequence[_Line]) -> None:
        """Append lines. They are durable when the call returns."""
        file = self._append(lines)
        os.fsync(file.fileno())
        self._apply(lines)

    def _note(self, lines: Sequence[_Line]) -> None:
        """Append lines without a sync."""
        self._append(lines)
        self._apply(lines)

    def _apply(self, lines: Sequence[_Line]) -> None:
        for line in lines:
            self._live.apply(line)
            self._settled += line.settled is not None
        if self._settled >= max(COMPACT_AFTER, 2 * len(self._live)):
            self._compact()

    def _append(self, lines: Iterable[_Line]) -> FileIO:
        if self._file is None:
            raise ValueError("the outbox must be loaded before it is used")
        _write(self._file, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        return self._file

    def _compact(self) -> None:
        replace_file(self._path, b"".join(msgspec.json.encode(line) + b"\n" for line in self._live.lines()))
        if self._file is not None:
            self._file.close()
        self._file = FileIO(self._path, "a")
        sync_folder(self._path.parent)
        self._settled = 0


def _read(path: Path, content: bytes) -> _Live:
    *whole, _cut_off = content.split(b"\n")
    live = _Live()
    for number, text in enumerate(whole, start=1):
        try:
            line = msgspec.json.decode(text, type=_Line)
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path}, line {number}, is damaged ({error}); repair or remove it") from error
        live.apply(line)
    return live


def _write(file: FileIO, content: bytes) -> None:
    """Append all of `content` or nothing, because a partial line would corrupt the next one."""
    start = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[file.write(rest) :]
    except OSError:
        file.truncate(start)
        raise
