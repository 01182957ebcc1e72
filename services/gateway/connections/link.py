"""A connection and its socket. Callers queue frames in the state machine and `flush`. They never wait for a client."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from services.gateway.protocol.connection import Connection

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

# A client that does not take its close frame within this time is dropped.
CLOSE_WITHIN_S = 5.0


class Link:
    """The writer task exists only while frames are queued, so an idle connection has none."""

    __slots__ = ("_dropping", "_send", "_serving", "_writer", "connection", "is_gone", "is_open")

    def __init__(self, connection: Connection, send: Send) -> None:
        """Must be called in the task that serves the socket."""
        self.connection = connection
        self.is_open = True
        self.is_gone = False
        self._send = send
        self._serving = asyncio.current_task()
        self._writer: asyncio.Task[None] | None = None
        self._dropping: asyncio.TimerHandle | None = None

    def flush(self) -> None:
        """Write the queued frames, and close if the state machine is closing. Returns at once."""
        if self._writer is None and self.is_open and (self.connection.has_outgoing or self.connection.closing):
            self._writer = asyncio.get_running_loop().create_task(self._write())
        if self.connection.closing and self._dropping is None and not self.is_gone:
            self._dropping = asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, self._drop)

    def gone(self) -> None:
        """The socket has ended."""
        self.is_open = False
        self.is_gone = True
        if self._dropping is not None:
            self._dropping.cancel()
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            while text := self.connection.take_outgoing():
                await self._send({"type": "websocket.send", "text": text})
            if self.connection.closing:
                code, reason = self.connection.closing
                self.is_open = False
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError):
            # The client has left, or uvicorn has closed the socket (1007, 1009). The reading side ends by itself.
            self.is_open = False
        finally:
            self._writer = None

    def _drop(self) -> None:
        if self._serving is not None and not self.is_gone:
            self._serving.cancel()
