"""The object store in memory: the same promises as the adapter on obstore.

Unit tests, simulations and the embedded mode use it. The objects end with the process.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from tidings.clock import Clock
from tidings.errors import MediaMissing
from tidings.media.base import StoredObject, check_key, check_prefix, check_range

_CHUNK_BYTES = 256 * 1024


class MemoryMediaStore:
    """Implements MediaStore. Tests assert on `calls` (calls by method) and change `objects` (bytes by key)."""

    def __init__(self, clock: Clock | None = None, *, signs: bool = False) -> None:
        """Without a clock, objects are of 1970. `signs`: `sign` returns URLs, which nothing answers."""
        self.calls: Counter[str] = Counter()
        self.objects: dict[str, bytes] = {}
        self._modified_ms: dict[str, int] = {}
        self._clock = clock
        self._signs = signs

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        check_key(key)
        data = b"".join([chunk async for chunk in chunks])
        await self._answer("put")
        self.objects[key] = data
        self._modified_ms[key] = self._clock.wall_ms() if self._clock else 0

    async def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        check_range(start, length)
        await self._answer("open")
        data = self.objects.get(key)
        end = start + length if length is not None else max(start, len(data or b""))
        if data is None or end > len(data):
            raise MediaMissing(f"there is no object {key}, or it has no bytes up to {end:,}")
        for begin in range(start, end, _CHUNK_BYTES):
            yield data[begin : min(begin + _CHUNK_BYTES, end)]
            await asyncio.sleep(0)

    async def size(self, key: str) -> int | None:
        check_key(key)
        await self._answer("size")
        return len(self.objects[key]) if key in self.objects else None

    async def delete(self, keys: Sequence[str]) -> None:
        wanted = [check_key(key) for key in keys]
        await self._answer("delete")
        for key in wanted:
            self.objects.pop(key, None)
            self._modified_ms.pop(key, None)

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        prefix = check_prefix(prefix)
        await self._answer("list")
        for key in [key for key in self.objects if not prefix or key.startswith(f"{prefix}/")]:
            if key in self.objects:
                yield StoredObject(key, len(self.objects[key]), self._modified_ms.get(key, 0))

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None:
        check_key(key)
        self.calls["sign"] += 1
        return f"memory:{key}?expires_s={expires_s}" if self._signs else None

    async def close(self) -> None:
        """The objects stay."""

    async def _answer(self, method: str) -> None:
        self.calls[method] += 1
        await asyncio.sleep(0)  # lets other tasks run, as with a real server
