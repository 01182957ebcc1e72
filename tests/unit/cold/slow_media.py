"""An object store whose answers a test holds back, changes, or makes slow."""

import asyncio
from collections.abc import AsyncIterator

from tests.faults.media import FaultyMediaStore


class SlowMediaStore(FaultyMediaStore):
    """Every `open` waits for `may_answer`, and between two chunks for `pause_s`."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.pause_s = 0.0
        self.at_once = 0
        self.most_at_once = 0
        self.chunk_bytes = 64 * 1024

    async def open(self, key: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.may_answer.wait()
            whole = b"".join([chunk async for chunk in super().open(key, start, length)])
            for begin in range(0, len(whole), self.chunk_bytes):
                yield whole[begin : begin + self.chunk_bytes]
                await asyncio.sleep(self.pause_s)
        finally:
            self.at_once -= 1
