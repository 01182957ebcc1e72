"""Sends the content of an upload: bounded in number, memory and pace, and in the time that a slow client may take."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

from starlette.responses import Response

from services.gateway.media.places import MOST_BYTES_PER_S, Places
from tidings import metrics
from tidings.pace import Pace

# Of one user at a gateway. Browsers open six connections to a host.
DOWNLOADS_PER_USER = 8
# A part that the client does not take in this time ends the download: at least 4 kB/s.
PART_BYTES = 256 * 1024
PART_S = 60.0
_Message = MutableMapping[str, Any]


class Download(Response):
    """An answer with the bytes of `chunks`. Its place is held until the last byte, or until the client has gone.

    Nothing is sent before the first chunk, so that the errors of `Places` and of the object store are still answers.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        status: int,
        headers: Mapping[str, str],
        content_type: str,
        place: "contextlib.AbstractContextManager[None]",
    ) -> None:
        """`place`: from `Places.taken`, not yet entered."""
        self.status_code = status
        self.background = None
        self.body = b""
        self._chunks = chunks
        self._place = place
        # Not as `media_type`, because Starlette would add `charset=utf-8` to each text, whatever its bytes are.
        self.init_headers({**headers, "Content-Type": content_type})

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Serve one request. An answer that ends early closes the connection."""
        with self._place:
            first = await anext(self._chunks, b"")
            gone = asyncio.ensure_future(_gone(receive))
            try:
                await self._send(first, gone, send)
            except TimeoutError:
                pass
            finally:
                gone.cancel()

    async def _send(
        self, first: bytes, gone: "asyncio.Future[None]", send: Callable[[_Message], Awaitable[None]]
    ) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        pace = Pace(time.monotonic(), MOST_BYTES_PER_S)
        async for part in _parts(first, self._chunks):
            if gone.done():
                return
            async with asyncio.timeout(PART_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
            metrics.MEDIA_BYTES.labels("out").inc(len(part))
            if wait_s := pace.wait_s(len(part), time.monotonic()):
                await asyncio.sleep(wait_s)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Callable[[], Awaitable[_Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _parts(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for part in _cut(first):
        yield part
    async for chunk in chunks:
        for part in _cut(chunk):
            yield part


def _cut(chunk: bytes) -> Iterator[bytes]:
    return (chunk[start : start + PART_BYTES] for start in range(0, len(chunk), PART_BYTES))


def download_places(at_once: int) -> Places:
    """The places of one gateway."""
    return Places("downloads", at_once, DOWNLOADS_PER_USER)
