"""Devices that keep every frame they are sent: for what is told, to whom, and in which order."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from deploy.local.stack import Stack
from tests.e2e.raw import PATIENCE_S, Frame, signed_in
from tests.integration.gateway_running import Socket


@dataclass
class Listener:
    """One connection of a new user; `frames` is what has come, in order.

    Keeps the inbox whole and acked by PROTOCOL's rules, which moves no watermark; reads no history.
    """

    user_id: str
    socket: Socket
    frames: list[Frame] = field(default_factory=list)
    messages: dict[tuple[str, int], Frame] = field(default_factory=dict)
    _places: set[int] = field(default_factory=set)
    _cursor: int = 0
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Until the connection ends."""
        for frame in self.frames:
            await self._take(frame)
        async for text in self.socket.connection:
            frames: list[Frame] = [json.loads(line) for line in str(text).split("\n")]
            self.frames += frames
            for frame in frames:
                await self._take(frame)
            self._came.set()

    async def _take(self, frame: Frame) -> None:
        kind = frame["type"]
        for item in frame["items"] if kind == "sync_page" else [frame] if kind == "message" else ():
            self.messages[item["message"]["session_id"], item["message"]["seq"]] = item["message"]
            self._places.add(item["inbox_seq"] or 0)
        before = self._cursor
        while self._cursor + 1 in self._places:
            self._cursor += 1
        if self._cursor > before:
            await self.socket.send({"type": "ack", "inbox_seq": self._cursor})
        if kind in ("live", "heartbeat") and frame["inbox_seq"] > self._cursor:
            await self.socket.send({"type": "sync", "after": self._cursor})

    def told(self, **wanted: object) -> list[Frame]:
        """Every frame with these fields, in order."""
        return [frame for frame in self.frames if wanted.items() <= frame.items()]

    def seqs(self, session_id: str) -> set[int]:
        """The messages of the session that came."""
        return {seq for name, seq in self.messages if name == session_id}

    def known_head(self, session_id: str) -> int:
        """How far the session has come, by its messages and by the heads of large groups; 0 for never heard of."""
        heads = [head for frame in self.frames for head in frame.get("heads", ()) if head["session_id"] == session_id]
        return max([head["seq"] for head in heads] + [*self.seqs(session_id)], default=0)

    async def hears(self, **wanted: object) -> Frame:
        """The first frame with these fields, whether or not it has come yet. TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := self.told(**wanted)):
                self._came.clear()
                await self._came.wait()
        return found[0]

    async def asks(self, **frame: object) -> Frame:
        """The answer to a frame. TimeoutError where it has none."""
        ref = uuid.uuid4().hex
        await self.socket.send({**frame, "ref": ref})
        return {name: value for name, value in (await self.hears(ref=ref)).items() if name != "ref"}


@asynccontextmanager
async def listening(stack: Stack, user_id: str, device_id: str, ordinal: int) -> AsyncIterator[Listener]:
    """Connected and live while the block runs."""
    async with signed_in(stack, user_id, device_id, ordinal) as socket:
        listener = Listener(user_id, socket, list(socket.held))
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.wait([task])
