"""Objects between the object store and files on disk, and their comparison with what the directory says."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

from tidings.cold.checksums import RowsChecksum
from tidings.cold.objects import ArchivedSegment, decode_groups
from tidings.errors import MediaMissing, MediaUnavailable, UnreadableObject
from tidings.media.base import MediaStore
from tidings.store.rows import MessageRow

_CHUNK_BYTES = 256 * 1024
# The archiver never stores an object of this key.
_PROBE = "cold/probe"


async def bytes_of(path: Path) -> AsyncIterator[bytes]:
    """A file in chunks. Each read is short, because the file was written a moment ago."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


async def fetch(objects: MediaStore, key: str, path: Path) -> bytes:
    """Write an object to a file. Returns the SHA-256 of its bytes. Raises MediaMissing and MediaUnavailable."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        async for chunk in objects.open(key):
            digest.update(chunk)
            await asyncio.to_thread(file.write, chunk)
    return digest.digest()


async def ensure_answers(objects: MediaStore) -> None:
    """Raises MediaUnavailable if the store as a whole does not answer. Otherwise an error was about one object."""
    await objects.size(_PROBE)


class ObjectFile:
    """One archived object at a time in a file on disk. It is fetched once for all questions about it in a row."""

    def __init__(self, objects: MediaStore, path: Path) -> None:
        """`path`: of the file."""
        self.path = path
        self._objects = objects
        # The key, and the digest of the bytes, or why there are none.
        self._fetched: tuple[str, bytes | str] | None = None

    async def problem(self, key: str, sha256: bytes, segments: Sequence[ArchivedSegment]) -> str:
        """Why readers would refuse the object or one of these segments; empty if they would not.

        Raises MediaUnavailable if the store is away. An object that alone cannot be read is a problem. Without a
        problem, `path` has the object.
        """
        digest = await self._digest(key)
        if isinstance(digest, str):
            return digest
        if digest != sha256:
            return "its bytes are not those that were stored"
        try:
            return await asyncio.to_thread(first_problem, self.path, segments)
        except UnreadableObject as error:
            return str(error)

    def discard(self) -> None:
        """Remove the file. The next question fetches the object again."""
        self._fetched = None
        self.path.unlink(missing_ok=True)

    async def _digest(self, key: str) -> bytes | str:
        """Of the bytes, or why there are none."""
        if self._fetched is None or self._fetched[0] != key:
            self._fetched = None
            try:
                self._fetched = key, await fetch(self._objects, key, self.path)
            except MediaMissing:
                self._fetched = key, "the object is missing"
            except MediaUnavailable as error:
                await ensure_answers(self._objects)
                self._fetched = key, f"the object is unreadable ({error})"
        return self._fetched[1]


def first_problem(path: Path, segments: Iterable[ArchivedSegment]) -> str:
    """What differs first between the rows of an object and the checksums of its segments; empty if nothing does.

    UnreadableObject: it cannot be decoded.
    """
    for one, parts in groupby(_parts(path, sorted(segments, key=attrgetter("first_row"))), key=itemgetter(0)):
        checksum, next_seq = RowsChecksum(), one.first_seq
        for _, rows in parts:
            for row in rows:
                if (row.session_id, row.segment, row.seq) != (one.session_id, one.segment, next_seq):
                    return f"{one.session_id}, segment {one.segment}: seq {next_seq} is another message"
                next_seq += 1
            checksum.add(rows)
        if checksum.digest() != one.rows_sha256:
            return f"{one.session_id}, segment {one.segment}: its rows have another checksum"
    return ""


def _parts(path: Path, segments: Sequence[ArchivedSegment]) -> Iterator[tuple[ArchivedSegment, Sequence[MessageRow]]]:
    """The rows of segments, which are in the order of their rows. A row group is decoded once for all its segments."""
    if not segments:
        return
    waiting = deque(segments)
    row = end = segments[0].first_row
    for rows in decode_groups(path, row, segments[-1].first_row + segments[-1].rows - row):
        end += len(rows)
        while waiting and waiting[0].first_row < end:
            one = waiting[0]
            stop = one.first_row + one.rows
            yield one, rows[max(one.first_row - row, 0) : stop - row]
            if stop > end:
                break
            waiting.popleft()
        row = end
