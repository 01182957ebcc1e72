"""The object store as a port. Adapters: media/obstore_store.py and media/memory.py. One contract suite tests both.

Every call raises MediaUnavailable if the store does not answer in bounded time, or answers with an error. The outcome
of a put or a delete is then unknown: law 8 (a time-out is unknown, never failed).
"""

import re
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, Protocol

# Characters that no store, file system or URL treats in a way of its own. S3 allows 1,024 bytes, files 255 a name.
_SEGMENT = re.compile(r"[A-Za-z0-9_.:=-]{1,200}")
_MAX_KEY = 700


class StoredObject(NamedTuple):
    """An object as a listing shows it. `size` is in bytes; `modified_ms` is the store's clock."""

    key: str
    size: int
    modified_ms: int


class MediaStore(Protocol):
    """Whole, immutable objects. The caller makes the keys, and never writes other bytes under a key that has been used.

    A key or prefix that `check_key` refuses raises ValueError, because users' text is never part of a key.
    """

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store one object, in the memory of one part (5 MiB), however large it is.

        Nothing is visible under the key before all chunks have come. If `chunks` raises, or the task is cancelled
        before the last chunk, nothing is left behind, and the error passes through. A call that is cancelled later, or
        raises MediaUnavailable, leaves the whole object or none. If the process is killed, or S3 cannot be reached,
        hidden parts stay in S3. A lifecycle rule of the bucket removes those.
        """
        ...

    def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start`, `length` of them or all up to the end, in chunks, in flat memory.

        Nothing is read before the first chunk is asked for, so its error says that no byte was delivered. An empty
        range has no chunk, but the object must exist. MediaMissing: there is no such object, or it ends before the
        range does. MediaUnavailable, at any chunk: the store does not answer, cut the body short or replaced the
        object. The iterator never ends before all bytes of the range have come.
        """
        ...

    async def size(self, key: str) -> int | None:
        """The bytes of the object, or None if the store says that there is none."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects. A missing one is no error. After MediaUnavailable any of them may be gone."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        """All objects below the folder `prefix`, in no order. `a/b` lists `a/b/c`, but neither `a/b` nor `a/bc`.

        MediaUnavailable, at any object: the rest is unknown. The iterator never ends before all objects have come.
        """
        ...

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None:
        """A URL that answers GET without credentials for `expires_s` (1 to 604,800), with these two headers.

        The answer is also marked as one that no cache keeps.
        None if the store cannot sign: the caller then sends the bytes itself. Whether the object exists is not checked.
        """
        ...

    async def close(self) -> None:
        """Wait for what is being removed. The process may end afterwards."""
        ...


def is_key(key: str) -> bool:
    """Whether the key is a relative path of plain segments."""
    segments = key.split("/")
    return len(key) <= _MAX_KEY and all(_SEGMENT.fullmatch(one) and one.strip(".") for one in segments)


def check_key(key: str) -> str:
    """The key itself. Raises ValueError unless it is a relative path of plain segments, `media/2026-11/ab12`."""
    if not is_key(key):
        raise ValueError(f"{key[:100]!r} is no key of an object: use segments of A-Z a-z 0-9 _ . : = - between slashes")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix without a slash at its end. Empty is the whole store. Raises as `check_key` does."""
    prefix = prefix.removesuffix("/")
    return check_key(prefix) if prefix else ""


def check_range(start: int, length: int | None) -> None:
    """Raises ValueError for a negative number."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"a range of {length} bytes from {start} on cannot be read; neither may be negative")
