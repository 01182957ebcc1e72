"""One WebSocket connection, from opening to its end. It sends and receives frames without interpreting them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tidings_client import frames

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0  # after this the connection is dropped without an answer
MAX_MESSAGE_BYTES = 1 << 20  # the server sends at most 256 KiB
CLOSED_WITHOUT_CODE = 1006


async def open_socket(url: str) -> Socket:
    """Open a connection. Raises OSError, TimeoutError or a WebSocketException if that fails."""
    connection = await connect(
        url,
        subprotocols=[Subprotocol(frames.SUBPROTOCOL)],
        compression=None,
        ping_interval=None,  # the protocol has its own heartbeat
        open_timeout=OPEN_TIMEOUT_S,
        close_timeout=CLOSE_TIMEOUT_S,
        max_size=MAX_MESSAGE_BYTES,
    )
    return Socket(connection)


class Socket:
    """A connection with a writer task. Its queue is bounded by the sources: tries in flight, and joined acks.
    `max_bytes` is the limit of one WebSocket message, from `welcome`."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.max_bytes = frames.MAX_CLIENT_MESSAGE_BYTES
        self._waiting: list[frames.ClientFrame] = []
        self._wake = asyncio.Event()
        self._leaving = False
        self._writer = asyncio.create_task(self._write())

    def send(self, frame: frames.ClientFrame) -> None:
        """Queue a frame. The writer joins queued frames, in order."""
        self._waiting.append(frame)
        self._wake.set()

    async def received(self) -> AsyncIterator[Iterator[frames.ServerFrame]]:
        """The frames of each WebSocket message, until the connection ends. Then `ending` has the cause."""
        try:
            while True:
                yield frames.decode(await self._connection.recv())
        except ConnectionClosed:
            return

    @property
    def ending(self) -> tuple[int, str]:
        """Close code and reason, once `received` has ended."""
        return self._connection.close_code or CLOSED_WITHOUT_CODE, self._connection.close_reason or ""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Write the queued frames, then close. Safe to repeat."""
        self._leaving = True
        self._wake.set()
        await asyncio.wait([self._writer], timeout=CLOSE_TIMEOUT_S)
        self._writer.cancel()
        await self._connection.close(code, reason)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            try:
                for text in frames.encode(waiting, self.max_bytes):
                    await self._connection.send(text)
            except ConnectionClosed:
                return
            if self._leaving and not self._waiting:
                return
