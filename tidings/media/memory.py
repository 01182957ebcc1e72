"""The object store in memory: the same promises as the adapter on obstore, with faults that tests set.

Unit tests, simulations and the embedded mode use it. The objects end with the process.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from tidings.clock import Clock
from tidings.errors import MediaMissing, MediaUnavailable
from tidings.media.base import StoredObject, check_key, check_prefix, check_range
from tidings.media.memory_faults import ChangeFault, Faults, ReadFault

_CHUNK_BYTES = 256 * 1024


class MemoryMediaStore:
    """Implements MediaStore. Tests assert on `calls` (calls by method) and change `objects` (bytes by key)."""

    def __init__(self, clock: Clock | None = None, faults: Faults | None = None, *, signs: bool = False) -> None:
        """Without a clock, objects are of 1970. `signs`: `sign` returns URLs, which nothing answers."""
        self.faults = faults or Faults()
        self.calls: Counter[str] = Counter()
        self.objects: dict[str, bytes] = {}
        self._modified_ms: dict[str, int] = {}
        self._clock = clock
        self._signs = signs
        self._is_stalled = False

    def stall(self) -> None:
        """Let every call raise MediaUnavailable, with nothing applied."""
        self._is_stalled = True

    def heal(self) -> None:
        """End `stall`."""
        self._is_stalled = False

    async def put(self, key: str, chunks: AsyncIterator[bytes]) -> None:
        check_key(key)
        self.calls["put"] += 1
        data = b"".join([chunk async for chunk in chunks])
        fault = await self._change()
        if fault is not ChangeFault.LOST:
            self.objects[key] = data
            self._modified_ms[key] = self._clock.wall_ms() if self._clock else 0
        if fault is not ChangeFault.NONE:
            raise MediaUnavailable(f"storing {key}: {fault.value}")

    async def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        check_key(key)
        check_range(start, length)
        self.calls["open"] += 1
        fault = await self._read()
        data = self.objects.get(key)
        end = start + length if length is not None else max(start, len(data or b""))
        if data is None or end > len(data):
            raise MediaMissing(f"there is no object {key}, or it has no bytes up to {end:,}")
        promised, end = end, (start + end) // 2 if fault is ReadFault.CUT else end
        for begin in range(start, end, _CHUNK_BYTES):
            yield data[begin : min(begin + _CHUNK_BYTES, end)]
            await asyncio.sleep(0)
        if fault is ReadFault.CUT:
            raise MediaUnavailable(f"{key} was cut short: byte {promised:,} was promised, {end:,} have come")

    async def size(self, key: str) -> int | None:
        check_key(key)
        self.calls["size"] += 1
        await self._read_whole()
        return len(self.objects[key]) if key in self.objects else None

    async def delete(self, keys: Sequence[str]) -> None:
        wanted = [check_key(key) for key in keys]
        self.calls["delete"] += 1
        fault = await self._change()
        if fault is not ChangeFault.LOST:
            for key in wanted:
                self.objects.pop(key, None)
                self._modified_ms.pop(key, None)
        if fault is not ChangeFault.NONE:
            raise MediaUnavailable(f"deleting {len(wanted)} objects: {fault.value}")

    async def list(self, prefix: str = "") -> AsyncIterator[StoredObject]:
        prefix = check_prefix(prefix)
        self.calls["list"] += 1
        fault = await self._read()
        found = [key for key in self.objects if not prefix or key.startswith(f"{prefix}/")]
        for key in found[: len(found) // 2] if fault is ReadFault.CUT else found:
            if key in self.objects:
                yield StoredObject(key, len(self.objects[key]), self._modified_ms.get(key, 0))
        if fault is ReadFault.CUT:
            raise MediaUnavailable(f"the list of {prefix!r} was cut short")

    async def sign(self, key: str, expires_s: int, content_disposition: str, content_type: str) -> str | None:
        check_key(key)
        return f"memory:{key}?expires_s={expires_s}" if self._signs else None

    async def close(self) -> None:
        """The objects stay."""

    async def _change(self) -> ChangeFault:
        await asyncio.sleep(0)  # lets other tasks run, as with a real server
        return ChangeFault.LOST if self._is_stalled else self.faults.change()

    async def _read(self) -> ReadFault:
        await asyncio.sleep(0)
        fault = ReadFault.FAILED if self._is_stalled else self.faults.read()
        if fault is ReadFault.FAILED:
            raise MediaUnavailable(f"the object store in memory: {fault.value}")
        return fault

    async def _read_whole(self) -> None:
        if await self._read() is ReadFault.CUT:
            raise MediaUnavailable("the answer was cut short")
