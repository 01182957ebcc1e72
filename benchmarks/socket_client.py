"""A minimal WebSocket client, so that the client itself is not measured: about 5 µs per frame, no task per connection.

It masks with a key of zeros, which RFC 6455 allows and which needs no computation.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from typing import cast

_TEXT, _CLOSE, _PING, _PONG = 0x81, 0x88, 0x89, 0x8A


class SocketClient(asyncio.Protocol):
    """One connection. `on_text` gets every text message, `on_end` the reason of the end."""

    def __init__(self, on_text: Callable[[bytes], None], on_end: Callable[[str], None]) -> None:
        """Not connected yet; `connect` opens the connection."""
        self._on_text = on_text
        self._on_end = on_end
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._is_open = False
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        # uvloop's transports have no common base class.
        self._transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            (
                "GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Protocol: tidings.v1.json\r\n\r\n"
            ).encode()
        )

    def data_received(self, data: bytes) -> None:
        """Handle complete frames, and keep the rest."""
        self._buffer += data
        if not self._is_open and not self._take_handshake():
            return
        while self._take_frame():
            pass

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end once."""
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(f"no WebSocket: {bytes(self._buffer[:200])!r}"))
        self._on_end(str(exc) if exc else "closed")

    def send(self, text: bytes) -> None:
        """Send one text message."""
        self._write(_TEXT, text)

    def close(self) -> None:
        """Close without a close frame."""
        if self._transport is not None:
            self._transport.close()

    def _write(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes((opcode, 0x80 | size)) if size < 126 else bytes((opcode, 0xFE)) + size.to_bytes(2, "big")
        assert self._transport is not None
        assert size < 65_536
        self._transport.write(head + b"\0\0\0\0" + payload)

    def _take_handshake(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if b" 101 " not in self._buffer[:end]:
            self.close()
            return False
        del self._buffer[: end + 4]
        self._is_open = True
        self.opened.set_result(None)
        return True

    def _take_frame(self) -> bool:
        buffer = self._buffer
        if len(buffer) < 2:
            return False
        size, start = buffer[1] & 0x7F, 2
        if size >= 126:
            start = 4 if size == 126 else 10
            if len(buffer) < start:
                return False
            size = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + size:
            return False
        opcode, payload = buffer[0], bytes(buffer[start : start + size])
        del buffer[: start + size]
        self._handle(opcode, payload)
        return True

    def _handle(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            self._on_text(payload)
        elif opcode == _PING:
            self._write(_PONG, payload)
        elif opcode == _CLOSE:
            self.close()
            self._on_end(f"close {int.from_bytes(payload[:2], 'big')} {payload[2:].decode(errors='replace')}")


async def connect(
    host: str, port: int, on_text: Callable[[bytes], None], on_end: Callable[[str], None]
) -> SocketClient:
    """Open a connection. Raises ConnectionError if the server refuses it."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: SocketClient(on_text, on_end), host, port)
    await asyncio.wait_for(client.opened, 30)
    return client
