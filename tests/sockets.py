"""WebSockets without the SDK: frames in and out, and no rule of a client."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol("tidings.v1.json")
PATIENCE_S = 60.0
Frame = dict[str, Any]


@dataclass
class Socket:
    """A connection. `frames` is what has come, in order, and `taken` counts those that a test has taken."""

    connection: ClientConnection
    welcome: Frame = field(default_factory=dict)
    frames: list[Frame] = field(default_factory=list)
    taken: int = 0

    async def send(self, *frames: Frame) -> None:
        """All in one message."""
        await self.connection.send("\n".join(json.dumps(frame) for frame in frames))

    async def next(self, within_s: float = PATIENCE_S) -> Frame:
        """The next frame, whatever it is. TimeoutError, ConnectionClosed."""
        async with asyncio.timeout(within_s):
            while self.taken == len(self.frames):
                self.frames += [json.loads(line) for line in str(await self.connection.recv()).split("\n")]
        self.taken += 1
        return self.frames[self.taken - 1]

    async def like(self, within_s: float = PATIENCE_S, **wanted: object) -> Frame:
        """The next frame with these fields. Those before it are passed over. TimeoutError, ConnectionClosed."""
        async with asyncio.timeout(within_s):
            while not wanted.items() <= (frame := await self.next(within_s)).items():
                pass
        return frame

    async def expect(self, kind: str) -> Frame:
        """The next frame, of this type. Heartbeats before it are passed over."""
        while (frame := await self.next())["type"] != kind:
            assert frame["type"] == "heartbeat", frame
        return frame

    async def sign_in(self, token: str, device_id: str) -> None:
        """Up to the `welcome`."""
        await self.send({"type": "hello", "token": token, "device_id": device_id})
        self.welcome = await self.expect("welcome")

    async def closed(self, within_s: float = PATIENCE_S) -> int | None:
        """The close code, once the server has closed; None for a connection without a close frame. TimeoutError."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(within_s):
                while True:
                    await self.connection.recv()
        return self.connection.close_code

    def seqs(self, session_id: str) -> list[int]:
        """The seqs of a session's messages, in the order in which they came by read diffusion."""
        messages = [frame for frame in self.frames if frame["type"] == "message" and frame["inbox_seq"] is None]
        return [frame["message"]["seq"] for frame in messages if frame["message"]["session_id"] == session_id]


@contextlib.asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Socket]:
    """A WebSocket of the gateway at an HTTP URL, not signed in."""
    options = {"compression": None, "open_timeout": PATIENCE_S, **options}
    async with connect(f"{url.replace('http', 'ws', 1)}/v1/ws", subprotocols=[SUBPROTOCOL], **options) as connection:
        yield Socket(connection)
