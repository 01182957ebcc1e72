"""An independent client that writes down every watermark it is shown, and when, and finds what went back.

Nothing here is shared with the services or the SDK. Times are those of time.monotonic.
"""

import asyncio
import json
import random
import time
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.e2e.raw import text
from tests.sockets import SUBPROTOCOL

Place = tuple[str, str]  # session, user
Marks = tuple[int, int]  # delivered, read
_AGAIN_S = 0.5
_ACK_EVERY_S = 0.3
# What a call may answer while services are killed; no answer at all counts as one of these.
_RETRYABLE = (503, 504)


class Floors:
    """What a user was shown of each place, by when; every later answer has to show at least that."""

    def __init__(self) -> None:
        self._ends: dict[Place, list[float]] = {}
        self._maxima: dict[Place, list[Marks]] = {}

    def saw(self, place: Place, marks: Marks) -> None:
        """Shown by now."""
        maxima = self._maxima.setdefault(place, [])
        before = maxima[-1] if maxima else (0, 0)
        maxima.append((max(before[0], marks[0]), max(before[1], marks[1])))
        self._ends.setdefault(place, []).append(time.monotonic())

    def at(self, place: Place, moment_s: float) -> Marks:
        """The maxima of what was shown up to a moment."""
        count = bisect_right(self._ends.get(place, []), moment_s)
        return self._maxima[place][count - 1] if count else (0, 0)


@dataclass(frozen=True)
class Answer:
    """One session as a call showed it."""

    session_id: str
    head_seq: int
    read_seq: int
    unread: int


@dataclass
class Watcher:
    """A user: floors over all devices and calls, what broke a promise, and what is to be recounted."""

    user_id: str
    token: str
    urls: Sequence[str]
    floors: Floors = field(default_factory=Floors)
    heads: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    stored: int = 0
    unanswered: int = 0

    def shown(self, one: dict[str, Any], began_s: float) -> None:
        """A session in an answer to a call that began then."""
        session_id, head_seq = one["session_id"], one["head"]["seq"]
        views = {self.user_id: one} | ({one["peer"]["user_id"]: one["peer"]} if "peer" in one else {})
        for user_id, view in views.items():
            self.answered((session_id, user_id), (view["delivered_seq"], view["read_seq"]), began_s)
            if not view["read_seq"] <= view["delivered_seq"] <= head_seq:
                self.breaches.append(f"{self.user_id} is shown {one}")
        self.answers.append(Answer(session_id, head_seq, one["read_seq"], one["unread"]))

    def answered(self, place: Place, marks: Marks, began_s: float) -> None:
        """Not lower than anything that was shown before the call began."""
        floor = self.floors.at(place, began_s)
        if marks[0] < floor[0] or marks[1] < floor[1]:
            self.breaches.append(f"{self.user_id}: a call shows {place} at {marks}, after {floor}")
        self.floors.saw(place, marks)

    async def call(self, http: httpx2.AsyncClient, method: str, path: str, **body: Any) -> Any:
        """The JSON of a 200; None where the call is to be repeated."""
        try:
            response = await http.request(method, path, json=body or None)
        except httpx2.TransportError:
            self.unanswered += 1
            return None
        if response.status_code in _RETRYABLE:
            self.unanswered += 1
            return None
        assert response.status_code == 200, (path, response.status_code, response.text)
        return response.json()

    async def look(self, https: Sequence[httpx2.AsyncClient], chance: random.Random, every_s: float) -> None:
        """Without end: mark as read by REST, and look at the session and the list through any gateway."""
        while True:
            await asyncio.sleep(chance.uniform(0, 2 * every_s))
            if not self.heads:
                continue
            session_id = chance.choice(sorted(self.heads))
            path = f"/v1/sessions/{session_id}"
            if chance.random() < 0.4:
                seq = chance.randint(max(1, self.heads[session_id] - 20), self.heads[session_id])
                await self._put(chance.choice(https), session_id, seq)
            began_s = time.monotonic()
            if one := await self.call(chance.choice(https), "GET", path):
                self.shown(one, began_s)
            began_s = time.monotonic()
            if listed := await self.call(chance.choice(https), "GET", "/v1/sessions"):
                for one in listed["sessions"]:
                    self.shown(one, began_s)

    async def _put(self, http: httpx2.AsyncClient, session_id: str, seq: int) -> None:
        began_s = time.monotonic()
        answer = await self.call(http, "PUT", f"/v1/sessions/{session_id}/read", seq=seq)
        if answer is None:
            return
        if answer["read_seq"] < seq:
            self.breaches.append(f"{self.user_id}: PUT {seq} of {session_id} answers {answer}")
        self.stored += 1
        self.answered((session_id, self.user_id), (answer["delivered_seq"], answer["read_seq"]), began_s)


@dataclass
class WatchingDevice:
    """One device; it connects again, to the next gateway, whenever its connection ends."""

    watcher: Watcher
    device_id: str
    ordinal: int
    chance: random.Random
    connection: ClientConnection | None = None
    frames: int = 0
    _last: dict[Place, Marks] = field(default_factory=dict)
    _inbox_seq: int = 0

    async def run(self) -> None:
        """Without end."""
        while True:
            url = self.watcher.urls[self.ordinal % len(self.watcher.urls)].replace("http", "ws") + "/v1/ws"
            with suppress(OSError, TimeoutError, WebSocketException):
                async with connect(url, subprotocols=[SUBPROTOCOL], compression=None, open_timeout=3) as connection:
                    await self._serve(connection)
            self.connection = None
            self.ordinal += 1
            await asyncio.sleep(_AGAIN_S)

    async def send(self, *frames: dict[str, Any]) -> None:
        """Lost where there is no connection."""
        if self.connection is not None:
            with suppress(WebSocketException):
                await self.connection.send("\n".join(json.dumps(frame) for frame in frames))

    async def say(self, session_id: str) -> None:
        """One message, whatever becomes of it; sometimes another one right behind it."""
        await self.send({"type": "send", **text("x", session_id=session_id, attempt=1)})

    async def _serve(self, connection: ClientConnection) -> None:
        hello = {"type": "hello", "token": self.watcher.token, "device_id": self.device_id}
        await connection.send(json.dumps(hello))
        self.connection = connection
        acking = asyncio.create_task(self._ack())
        try:
            async for text in connection:
                for line in str(text).split("\n"):
                    self._take(json.loads(line))
        finally:
            acking.cancel()

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "message":
            message = frame["message"]
            heads = self.watcher.heads
            heads[message["session_id"]] = max(message["seq"], heads.get(message["session_id"], 0))
            self._inbox_seq = max(frame["inbox_seq"] or 0, self._inbox_seq)
        elif frame["type"] == "receipt":
            self.frames += 1
            place = (frame["session_id"], frame["user_id"])
            marks, before = (frame["delivered_seq"], frame["read_seq"]), self._last.get(place, (0, 0))
            if marks[0] < before[0] or marks[1] < before[1]:
                who = f"{self.watcher.user_id} {self.device_id}"
                self.watcher.breaches.append(f"{who}: a frame says {marks} of {place}, after {before}")
            self._last[place] = max(before[0], marks[0]), max(before[1], marks[1])
            self.watcher.floors.saw(place, marks)

    async def _ack(self) -> None:
        """What has come, and now and then that some of it is read."""
        while True:
            await asyncio.sleep(_ACK_EVERY_S)
            heads = dict(self.watcher.heads)
            delivered = [{"session_id": name, "seq": seq} for name, seq in heads.items()]
            frames: list[dict[str, Any]] = [{"type": "ack", "inbox_seq": self._inbox_seq, "delivered": delivered}]
            if heads and self.chance.random() < 0.5:
                name = self.chance.choice(sorted(heads))
                frames.append({"type": "read", "session_id": name, "seq": self.chance.randint(1, heads[name])})
            if self._inbox_seq:
                await self.send(*frames)


def recounted(watcher: Watcher, senders: dict[str, Sequence[str]], countable_from: dict[str, int]) -> list[str]:
    """Answers whose unread is another than a recount. `senders`: of each session's messages, seq 1 first."""
    wrong = []
    for answer in set(watcher.answers):
        written = senders[answer.session_id][: answer.head_seq]
        own = max((seq for seq, sender in enumerate(written, start=1) if sender == watcher.user_id), default=0)
        own = own if own >= countable_from[answer.session_id] else 0
        after = max(answer.read_seq, own, countable_from[answer.session_id] - 1)
        right = max(0, answer.head_seq - after)
        if answer.unread != right:
            wrong.append(f"{watcher.user_id}: {answer}, a recount says {right}")
    return wrong
