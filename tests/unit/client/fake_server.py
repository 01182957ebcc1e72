"""A server in the process of the test, which speaks enough of the protocol for direct sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from time import time as true_time  # a test may set the clock of the device, which is time.time
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tidings_client import Client, direct_session, peer_of
from tidings_client.ids import MessageIds, uuid7_time_ms

Json = dict[str, Any]


MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


def true_ms() -> int:
    return int(true_time() * 1_000)


def an_id(ahead_ms: int) -> str:
    """By a clock that is so far ahead."""
    return MessageIds(lambda bits: bits).make(true_ms() + ahead_ms)


def refusal(client_msg_id: str) -> str:
    """As a gateway judges ids: 5 minutes ahead of the true time, or 90 days behind it."""
    made_ms = uuid7_time_ms(client_msg_id)
    if made_ms is None:
        return ""
    if made_ms > true_ms() + 5 * MINUTE_MS:
        return "clock_skew"
    return "too_old" if made_ms < true_ms() - 90 * DAY_MS else ""


class Server:
    """The token is the user's name. Keeps inboxes and watermarks in memory, and misbehaves on request."""

    def __init__(self) -> None:
        self.port = 0
        self.inboxes: dict[str, list[Json]] = {}
        self.logs: dict[str, list[Json]] = {}
        self.marks: dict[tuple[str, str], tuple[int, int]] = {}
        self.online: list[tuple[str, ServerConnection]] = []
        self.sends: list[Json] = []
        self.syncs: list[Json] = []
        self.hellos = 0
        self.answers_sends = True
        self.close_hello_with: list[int] = []
        self.limits: Json = {}
        self.longest_bytes = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def serve(self, connection: ServerConnection) -> None:
        hello = json.loads(await connection.recv())
        self.hellos += 1
        if self.close_hello_with:
            await connection.close(self.close_hello_with.pop(0), "by script")
            return
        user = hello["token"]
        welcome = {"type": "welcome", "user_id": user, "device_id": hello["device_id"], "connection_id": "1"}
        welcome |= {"server_time": true_ms(), "heartbeat_s": 20, "limits": self.limits}
        await self.say(connection, welcome)
        await self.say(connection, {"type": "live", "inbox_seq": len(self.inboxes.get(user, []))})
        self.online.append((user, connection))
        async for text in connection:
            self.longest_bytes = max(self.longest_bytes, len(text))
            for line in str(text).split("\n"):
                await self.answer(connection, user, json.loads(line))
        self.online.remove((user, connection))

    async def answer(self, connection: ServerConnection, user: str, frame: Json) -> None:
        match frame["type"]:
            case "send":
                self.sends.append(frame)
                if self.answers_sends:
                    await self.store(connection, user, frame)
            case "sync":
                self.syncs.append(frame)
                await self.say(connection, self.page(user, frame["after"], frame["limit"]))
            case "ack":
                for position in frame.get("delivered", ()):
                    await self.mark(user, position["session_id"], position["seq"], 0)
            case "read":
                await self.mark(user, frame["session_id"], frame["seq"], frame["seq"])

    async def store(self, connection: ServerConnection, user: str, frame: Json) -> None:
        session_id = frame.get("session_id") or direct_session(user, frame["to"])
        log = self.logs.setdefault(session_id, [])
        known = [m for m in log if (m["sender_id"], m["client_msg_id"]) == (user, frame["client_msg_id"])]
        if code := refusal(frame["client_msg_id"]):
            await self.refuse(connection, frame, code, "by script")
            return
        if frame["body"].get("text") == "forbidden":
            await self.refuse(connection, frame, "user_blocked", "unblock first")
            return
        message = known[0] if known else self.append(session_id, user, frame)
        ack = {name: message[name] for name in ("client_msg_id", "session_id", "message_id", "seq", "at")}
        await self.say(connection, {"type": "send_ack", "duplicate": bool(known)} | ack)
        for member in {user, peer_of(session_id, user) or user} if not known else ():
            inbox = self.inboxes.setdefault(member, [])
            inbox.append(message)
            await self.push(member, {"type": "message", "inbox_seq": len(inbox), "message": message})

    async def refuse(self, connection: ServerConnection, frame: Json, code: str, why: str) -> None:
        error = {"type": "send_error", "client_msg_id": frame["client_msg_id"], "code": code, "message": why}
        await self.say(connection, error | {"retryable": False})

    def append(self, session_id: str, user: str, frame: Json) -> Json:
        log = self.logs[session_id]
        seq = len(log) + 1
        place = {"message_id": f"{session_id}.{seq}", "session_id": session_id, "seq": seq, "at": 1}
        log.append(place | {"sender_id": user} | {name: frame[name] for name in ("client_msg_id", "kind", "body")})
        return log[-1]

    def page(self, user: str, after: int, limit: int) -> Json:
        inbox = self.inboxes.get(user, [])
        items = [{"inbox_seq": n + 1, "message": m} for n, m in enumerate(inbox)][after : after + limit]
        place = {"after": after, "next": after + len(items), "tail": len(inbox)}
        return {"type": "sync_page", "items": items, "more": after + len(items) < len(inbox)} | place

    async def mark(self, user: str, session_id: str, delivered: int, read: int) -> None:
        before = self.marks.get((session_id, user), (0, 0))
        self.marks[session_id, user] = delivered, read = max(delivered, before[0]), max(read, before[1])
        receipt = {"type": "receipt", "session_id": session_id, "user_id": user, "at": 1}
        peer = peer_of(session_id, user) or user
        await self.push(peer, receipt | {"delivered_seq": delivered, "read_seq": read})

    async def push(self, user: str, frame: Json) -> None:
        for name, connection in list(self.online):
            if name == user:
                await self.say(connection, frame)

    async def hang_up(self, code: int) -> None:
        for _, connection in list(self.online):
            await connection.close(code, "by script")

    @staticmethod
    async def say(connection: ServerConnection, frame: Json) -> None:
        await connection.send(json.dumps(frame))

    def rest(self, connection: ServerConnection, request: Request) -> Response | None:
        """GET /v1/sessions; everything else is the socket's."""
        if not request.path.startswith("/v1/sessions"):
            return None
        user = request.headers["Authorization"].removeprefix("Bearer ")
        sessions = []
        for session_id in self.logs:
            peer = peer_of(session_id, user)
            delivered, read = self.marks.get((session_id, peer or ""), (0, 0))
            marks = {"user_id": peer, "delivered_seq": delivered, "read_seq": read}
            sessions.append({"session_id": session_id, "peer": marks})
        body = json.dumps({"sessions": sessions}).encode()
        return Response(HTTPStatus.OK, "OK", Headers({"Content-Length": str(len(body)), "Connection": "close"}), body)

    def send_to(self, user: str, count: int) -> None:
        """Texts of alice, numbered, which nothing pushes."""
        session_id = direct_session("alice", user)
        self.logs.setdefault(session_id, [])
        for _ in range(count):
            seq = len(self.logs[session_id]) + 1
            frame = {"client_msg_id": f"a{seq}", "kind": "text", "body": {"text": f"{seq}"}}
            self.inboxes.setdefault(user, []).append(self.append(session_id, "alice", frame))

    def texts(self, session_id: str = "d:alice:bob") -> list[str]:
        return [message["body"]["text"] for message in self.logs.get(session_id, [])]

    @property
    def sent_ids(self) -> list[str]:
        return [frame["client_msg_id"] for frame in self.sends]


@asynccontextmanager
async def listening() -> AsyncIterator[Server]:
    script, protocols = Server(), [Subprotocol("tidings.v1.json")]
    async with serve(script.serve, "127.0.0.1", 0, subprotocols=protocols, process_request=script.rest) as running:
        script.port = next(iter(running.sockets)).getsockname()[1]
        yield script


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  the server is a script without events of its own
            await asyncio.sleep(0.005)


async def take(client: Client, count: int) -> list[str]:
    texts: list[str] = []
    async with asyncio.timeout(20):
        async for message in client.messages():
            texts.append(message.text)
            if len(texts) == count:
                break
    return texts
