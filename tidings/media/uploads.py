"""One object into obstore, chunk by chunk. A cancelled or failed upload leaves nothing.

obstore removes a multipart upload if its iterator raises. It leaves the parts if its future is cancelled, or if
its writer is closed by an exception. So the upload runs in a task of its own that is never cancelled, and ends by an
error of its iterator.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import obstore
from obstore.store import ObjectStore

from tidings.media.answers import answering

# The smallest part that S3 takes, but for the last. With one in flight an upload of 100 MiB adds 5 MiB of memory.
PART_BYTES = 5 * 1024 * 1024
_PARTS_IN_FLIGHT = 1
# Each hand-over to obstore's threads costs about 0.1 ms, so small chunks are joined.
_BLOCK_BYTES = 256 * 1024


class Uploads:
    """All uploads into one store."""

    def __init__(self, store: ObjectStore, tidy: Callable[[str], Awaitable[None]]) -> None:
        """`tidy`: removes what obstore leaves around the object of a failed upload, by its key."""
        self._store = store
        self._tidy = tidy
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        """Store the chunks as one object. Raises the errors of `chunks` as they are, and MediaUnavailable."""
        blocks = _joined(chunks)
        head = await _up_to_a_part(blocks)
        if sum(map(len, head)) < PART_BYTES:
            async with self._storing(key):
                await obstore.put_async(self._store, key, b"".join(head), use_multipart=False)
        else:
            await self._put_parts(key, _Parts(head), blocks)

    async def settled(self) -> None:
        """Wait until no multipart upload runs."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _put_parts(self, key: str, parts: "_Parts", blocks: AsyncIterator[bytes]) -> None:
        task = asyncio.create_task(self._upload(key, parts))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(parts.end_reading)
        try:
            async for block in blocks:
                await parts.add(block)
            await parts.add(None)
            await asyncio.shield(task)
        except BaseException:
            parts.stop()
            with suppress(Exception):
                await asyncio.shield(task)
            raise

    async def _upload(self, key: str, parts: "_Parts") -> None:
        async with self._storing(key):
            await obstore.put_async(
                self._store, key, parts, use_multipart=True, chunk_size=PART_BYTES, max_concurrency=_PARTS_IN_FLIGHT
            )

    @asynccontextmanager
    async def _storing(self, key: str) -> AsyncIterator[None]:
        try:
            with answering(f"storing {key}"):
                yield
        except BaseException:
            await self._tidy(key)
            raise


class _Parts:
    """The iterator that obstore reads: the blocks of the head, and then one at a time."""

    def __init__(self, head: deque[bytes]) -> None:
        self._head = head
        self._next: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
        self._is_stopped = False
        self._reader: asyncio.Task[None] | None = None

    async def add(self, block: bytes | None) -> None:
        """Wait for room. None is the end. Raises the error of an upload that has failed."""
        await self._next.put(block)
        if self._reader is not None:
            self._reader.result()
            raise RuntimeError("obstore ended an upload before it had read all of it")

    def stop(self) -> None:
        """Let the next read raise, so that obstore removes what it has."""
        self._is_stopped = True
        self._make_room()
        self._next.put_nowait(None)

    def end_reading(self, reader: asyncio.Task[None]) -> None:
        """The upload has ended, so `add` must not wait for it."""
        self._reader = reader
        self._make_room()

    def _make_room(self) -> None:
        while not self._next.empty():
            self._next.get_nowait()

    def __aiter__(self) -> "_Parts":
        return self

    async def __anext__(self) -> bytes:
        block = self._head.popleft() if self._head else await self._next.get()
        if self._is_stopped:
            raise _Stopped
        if block is None:
            raise StopAsyncIteration
        return block


class _Stopped(Exception):
    """Makes obstore remove the parts."""


async def _joined(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in blocks of at least _BLOCK_BYTES, but for the last. No block is empty."""
    waiting, size = list[bytes](), 0
    async for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size >= _BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


async def _up_to_a_part(blocks: AsyncIterator[bytes]) -> deque[bytes]:
    """The first blocks, until they fill a part or there are no more."""
    head, size = deque[bytes](), 0
    async for block in blocks:
        head.append(block)
        size += len(block)
        if size >= PART_BYTES:
            break
    return head
