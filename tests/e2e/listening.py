"""Devices that keep every frame they are sent, so that tests compare content, receivers and order."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

from deploy.local.stack import Stack
from tests.e2e.raw import signed_in
from tests.sockets import PATIENCE_S, Frame, Socket

FOR_EVER_S = 1e6


@dataclass
class Listener:
    """One connection of a new user. It acks nothing, so that no watermark moves, and reads no history."""

    user_id: str
    socket: Socket
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def frames(self) -> list[Frame]:
        """What has come, in order."""
        return self.socket.frames

    async def listen(self) -> None:
        """Until the connection ends."""
        with suppress(ConnectionClosed):
            while await self.socket.next(FOR_EVER_S):
                self._came.set()

    def frames_with(self, **wanted: object) -> list[Frame]:
        """Every frame with these fields, in order."""
        return [frame for frame in self.frames if wanted.items() <= frame.items()]

    def seqs(self, session_id: str) -> set[int]:
        """The messages of the session that came."""
        messages = [frame["message"] for frame in self.frames_with(type="message")]
        return {message["seq"] for message in messages if message["session_id"] == session_id}

    def known_head(self, session_id: str) -> int:
        """How far the session has come, by its messages and by the heads of large groups; 0 before the first."""
        heads = [head for frame in self.frames for head in frame.get("heads", ()) if head["session_id"] == session_id]
        return max([head["seq"] for head in heads] + [*self.seqs(session_id)], default=0)

    async def first_with(self, **wanted: object) -> Frame:
        """The first frame with these fields, whether or not it has come yet. TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := self.frames_with(**wanted)):
                self._came.clear()
                await self._came.wait()
        return found[0]

    async def asks(self, **frame: object) -> Frame:
        """The answer to a frame. TimeoutError where it has none."""
        ref = uuid.uuid4().hex
        await self.socket.send({**frame, "ref": ref})
        return {name: value for name, value in (await self.first_with(ref=ref)).items() if name != "ref"}


@asynccontextmanager
async def listening(stack: Stack, user_id: str, device_id: str, ordinal: int) -> AsyncIterator[Listener]:
    """Connected and live while the block runs."""
    async with signed_in(stack, user_id, device_id, ordinal) as socket:
        listener = Listener(user_id, socket)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.wait([task])
