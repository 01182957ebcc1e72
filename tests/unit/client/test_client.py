"""The asyncio client against a small server in the same process: resume, refusal, renewal, echo, examples."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from time import time as true_time  # a test may set the clock of the device, which is time.time
from types import ModuleType
from typing import Any

import httpx2
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tidings_client import (
    Client,
    FileCursorStore,
    FileOutbox,
    MemoryCursorStore,
    NotAuthorized,
    Replaced,
    SendFailed,
    Status,
    StatusChanged,
    Stopped,
    Unreachable,
    backoff,
    direct_session,
    peer_of,
)
from tidings_client.drafts import Draft
from tidings_client.echo import echo
from tidings_client.outbox import MemoryOutbox
from tidings_client.rest import Rest

EXAMPLES = Path(__file__).parents[3] / "sdk/python/examples"
Json = dict[str, Any]


class Server:
    """Speaks enough of the protocol for direct sessions; the token is the user's name. Keeps inboxes and
    watermarks in memory, and can be told to misbehave."""

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
        await self.say(
            connection,
            welcome
            | {
                "server_time": int(true_time() * 1_000),
                "heartbeat_s": 20,
                "limits": self.limits,
            },
        )
        await self.say(connection, {"type": "live", "inbox_seq": len(self.inboxes.get(user, []))})
        self.online.append((user, connection))
        async for text in connection:
            self.longest_bytes = max(self.longest_bytes, len(text))
            for line in str(text).split("\n"):
                await self.hear(connection, user, json.loads(line))
        self.online.remove((user, connection))

    async def hear(self, connection: ServerConnection, user: str, frame: Json) -> None:
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
        if frame["body"].get("text") == "forbidden":
            error = {"type": "send_error", "client_msg_id": frame["client_msg_id"], "code": "user_blocked"}
            await self.say(connection, error | {"message": "unblock first", "retryable": False})
            return
        message = known[0] if known else self.append(session_id, user, frame)
        ack = {name: message[name] for name in ("client_msg_id", "session_id", "message_id", "seq", "at")}
        await self.say(connection, {"type": "send_ack", "duplicate": bool(known)} | ack)
        for member in {user, peer_of(session_id, user) or user} if not known else ():
            inbox = self.inboxes.setdefault(member, [])
            inbox.append(message)
            await self.tell(member, {"type": "message", "inbox_seq": len(inbox), "message": message})

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
        await self.tell(peer, receipt | {"delivered_seq": delivered, "read_seq": read})

    async def tell(self, user: str, frame: Json) -> None:
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


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    script = Server()
    listening = serve(
        script.serve,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("tidings.v1.json")],
        process_request=script.rest,
    )
    async with listening as running:
        script.port = next(iter(running.sockets)).getsockname()[1]
        yield script


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats and reconnects without the waiting; their real times are the core's tests."""
    monkeypatch.setattr(backoff, "BASE_MS", 20)


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


def text_to(server: Server, user: str, count: int) -> None:
    session_id = direct_session("alice", user)
    server.logs.setdefault(session_id, [])
    for _ in range(count):
        seq = len(server.logs[session_id]) + 1
        frame = {"client_msg_id": f"a{seq}", "kind": "text", "body": {"text": f"{seq}"}}
        server.inboxes.setdefault(user, []).append(server.append(session_id, "alice", frame))


async def test_a_sender_sees_its_message_acked_delivered_and_read(server: Server) -> None:
    async with Client(server.url, "alice") as alice, Client(server.url, "bob") as bob:
        sent = await alice.send("hello", to="bob")
        await sent.acked()
        assert (sent.session_id, sent.seq) == ("d:alice:bob", 1)
        assert await take(bob, 1) == ["hello"]
        async with asyncio.timeout(20):
            await sent.delivered()
            bob.mark_read("d:alice:bob", 1)
            await sent.read()
        assert sent.status is Status.READ


async def test_same_id_in_two_sessions_has_two_statuses(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        events = alice.events()
        seen = asyncio.ensure_future(anext(events))
        await (await alice.send("x", to="bob", client_msg_id="same")).acked()
        await seen
        server.answers_sends = False
        second = await alice.send("y", to="carol", client_msg_id="same")
        await server.mark("bob", "d:alice:bob", 1, 1)
        async for event in events:
            if isinstance(event, StatusChanged) and event.status is Status.READ:
                break
        assert second.status is Status.SENDING
        await alice.close()


async def test_a_refused_message_raises_with_its_code(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        sent = await alice.send("forbidden", to="bob")
        with pytest.raises(SendFailed, match="user_blocked: unblock first"):
            await sent.acked()
        assert sent.status is Status.FAILED


@pytest.mark.promise("G5")
async def test_a_thousand_messages_at_once_keep_their_order(server: Server) -> None:
    async with Client(server.url, "alice") as alice, Client(server.url, "bob") as bob:
        texts = [str(n) for n in range(1_000)]
        handles = await asyncio.gather(*(alice.send(text, to="bob") for text in texts))
        assert await take(bob, 1_000) == texts
        assert [(await handle.acked()).seq for handle in handles] == list(range(1, 1_001))


@pytest.mark.promise("G7")
async def test_client_resumes_without_gap_or_repeat(server: Server) -> None:
    async with Client(server.url, "bob") as bob:
        text_to(server, "bob", 3)
        assert await take(bob, 3) == ["1", "2", "3"]
        await server.hang_up(1001)
        text_to(server, "bob", 2)
        assert await take(bob, 2) == ["4", "5"]
        assert server.syncs[-1]["after"] == 3
        assert server.hellos == 2


async def test_unanswered_messages_are_resent_under_the_same_id(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        server.answers_sends = False
        handles = [await alice.send(text, to="bob") for text in "abc"]
        await until(lambda: len(server.sends) == 3)
        server.answers_sends = True
        await server.hang_up(1000)
        for handle in handles:
            await handle.acked()
    ids = [handle.client_msg_id for handle in handles]
    assert [frame["client_msg_id"] for frame in server.sends] == ids + ids
    assert [frame["attempt"] for frame in server.sends] == [1, 1, 1, 2, 2, 2]


async def test_a_replaced_client_stops_and_does_not_come_back(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        await alice.connected()
        await until(lambda: bool(server.online))
        server.answers_sends = False
        pending = await alice.send("x", to="bob")
        await server.hang_up(4409)
        with pytest.raises(Replaced):
            await take(alice, 1)
        with pytest.raises(Replaced):
            await pending.acked()
        with pytest.raises(Replaced):
            await alice.send("y", to="bob")
        await asyncio.sleep(0.2)
    assert server.hellos == 1


async def test_expired_token_is_requested_again_from_the_provider(server: Server) -> None:
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        return "alice"

    server.close_hello_with = [4401]
    async with Client(server.url, provider) as alice:
        await alice.connected()
    assert asked == 2


async def test_a_fixed_token_that_is_refused_ends_the_client(server: Server) -> None:
    server.close_hello_with = [4401]
    async with Client(server.url, "alice") as alice:
        with pytest.raises(NotAuthorized):
            await alice.connected()


async def test_a_provider_that_cannot_be_reached_is_asked_again_later(server: Server) -> None:
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise Unreachable("not yet")
        return "alice"

    async with Client(server.url, provider) as alice:
        await alice.connected()
    assert asked == 3


async def test_network_failure_in_token_renewal_keeps_the_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def provider() -> str:
        nonlocal asked
        asked += 1
        if asked > 1:
            raise ConnectionError("not now")
        return "alice"

    monkeypatch.setattr("tidings_client.tokens.life_of", lambda *_: 200)
    monkeypatch.setattr("tidings_client.core.RENEW_AFTER_MS", 10)
    monkeypatch.setattr("tidings_client.core.RENEW_AGAIN_MS", 10)
    async with asyncio.timeout(20), Client(server.url, provider) as alice:
        await until(lambda: asked >= 4)
        assert (await (await alice.send("still here", to="bob")).acked()).seq == 1
        assert server.hellos == 1


async def test_token_provider_error_stops_the_client_and_is_named() -> None:
    async def provider() -> str:
        raise KeyError("secret store")

    async with Client("ws://127.0.0.1:1", provider) as client:
        with pytest.raises(Stopped, match="secret store"):
            await client.connected()


async def test_live_shows_deliveries_whose_receipts_were_lost(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        sent = await alice.send("x", to="bob")
        await sent.acked()
        server.marks["d:alice:bob", "bob"] = (1, 1)
        await server.hang_up(1001)
        async with asyncio.timeout(20):
            await sent.read()


async def test_events_tell_the_statuses_in_order(server: Server) -> None:
    async with Client(server.url, "alice") as alice:
        await alice.connected()
        events = alice.events()
        first = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await alice.send("x", to="bob")
        seen = [await first, await anext(events)]
        statuses = [event.status for event in seen if isinstance(event, StatusChanged)]
        assert statuses == [Status.SENDING, Status.SENT]


async def test_outbox_survives_a_restart_and_keeps_message_ids(server: Server, tmp_path: Path) -> None:
    server.answers_sends = False
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        sent = await alice.send("kept", to="bob")
        await until(lambda: len(server.sends) == 1)
        await alice.close()
    server.answers_sends = True
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")):
        await until(lambda: bool(server.logs))
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        await alice.connected()
    assert [(frame["client_msg_id"], frame["attempt"]) for frame in server.sends] == [
        (sent.client_msg_id, 1),
        (sent.client_msg_id, 2),
    ]


async def test_too_large_message_fails_locally_and_leaves_the_outbox(server: Server, tmp_path: Path) -> None:
    kept = FileOutbox(tmp_path / "outbox")
    await kept.load()
    await kept.add([Draft("old", "text", {"text": "x" * 70_000}, to="bob")])
    await kept.close()
    async with Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        big, good = await alice.send("x" * 70_000, to="bob"), await alice.send("good", to="bob")
        with pytest.raises(SendFailed, match="too_large"):
            await big.acked()
        await good.acked()
    assert [frame["client_msg_id"] for frame in server.sends] == [good.client_msg_id]
    left = FileOutbox(tmp_path / "outbox")
    assert await left.load() == ()
    await left.close()


@pytest.mark.parametrize("fault", [float("nan"), "\ud83d", 10**5_000], ids=["NaN", "half surrogate", "digits"])
async def test_data_that_json_cannot_hold_fails_alone(server: Server, fault: object) -> None:
    async with Client(server.url, "alice") as alice:
        bad = await alice.send_body("custom", {"type": "t", "data": fault}, to="bob")
        good = await alice.send("good 😀", to="bob")
        with pytest.raises(SendFailed, match="invalid_body"):
            await bad.acked()
        await good.acked()
    assert [frame["client_msg_id"] for frame in server.sends] == [good.client_msg_id]


async def test_cursor_file_resumes_after_the_last_handled_message(server: Server, tmp_path: Path) -> None:
    text_to(server, "bob", 3)
    store = FileCursorStore(tmp_path / "cursor")
    async with Client(server.url, "bob", cursors=store) as bob:
        assert await take(bob, 2) == ["1", "2"]
    async with Client(server.url, "bob", cursors=store) as bob:
        assert await take(bob, 1) == ["3"]


async def test_message_whose_handler_raises_is_not_handled(server: Server) -> None:
    text_to(server, "bob", 1)
    store = MemoryCursorStore()

    async def fails_in_hand() -> None:
        async with Client(server.url, "bob", cursors=store) as bob:
            await take(bob, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails_in_hand()
    async with Client(server.url, "bob", cursors=store) as bob:
        assert await take(bob, 1) == ["1"]


async def run_echo(server: Server, cursors: MemoryCursorStore) -> None:
    async with Client(server.url, "echo", device_id="echo", cursors=cursors) as client:
        await echo(client)


async def test_the_echo_answers_each_message_once_across_restarts(server: Server) -> None:
    text_to(server, "echo", 5)
    for replies_tried in (5, 10, 15):  # without its cursor, as after a crash that lost it
        task = asyncio.create_task(run_echo(server, MemoryCursorStore()))
        await until(partial(lambda expected: len(server.sends) == expected, replies_tried))
        await until(lambda: len(server.logs["d:alice:echo"]) == 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    replies = [m["body"]["text"] for m in server.logs["d:alice:echo"] if m["sender_id"] == "echo"]
    assert replies == ["1", "2", "3", "4", "5"]
    assert server.marks["d:alice:echo", "echo"][1] == 5


async def test_echo_waits_until_its_reply_is_stored(server: Server) -> None:
    text_to(server, "echo", 1)
    server.answers_sends = False
    cursors = MemoryCursorStore()
    task = asyncio.create_task(run_echo(server, cursors))
    await until(lambda: len(server.sends) >= 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert cursors.cursor is None


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_examples_do_what_they_say(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    bot = asyncio.create_task(example("echo_bot").main(server.url, "bob"))
    await until(lambda: bool(server.online))
    async with asyncio.timeout(20):
        await example("send_and_wait").main(server.url, "alice", "bob", "hello")
        await example("tail").main(server.url, "alice", count=2)
    bot.cancel()
    await asyncio.gather(bot, return_exceptions=True)
    assert capsys.readouterr().out.splitlines() == [
        "d:alice:bob 1 acked",
        "d:alice:bob 1 delivered",
        "d:alice:bob 1 read",
        "d:alice:bob 1 alice hello",
        "d:alice:bob 2 bob hello",
    ]


class Markup(str):
    """As libraries for HTML have it."""

    __slots__ = ()


@pytest.mark.parametrize("data", [object(), Markup("<b>"), {None: 1}])
@pytest.mark.parametrize("is_kept_in_a_file", [True, False])
async def test_body_that_json_cannot_hold_fails_alone(
    server: Server, tmp_path: Path, data: object, is_kept_in_a_file: bool
) -> None:
    outbox = FileOutbox(tmp_path / "outbox") if is_kept_in_a_file else None
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=outbox) as alice:
        sent = await alice.send_body("custom", {"type": "t", "data": data}, to="bob")
        with pytest.raises(SendFailed, match="invalid_body: JSON cannot represent the message"):
            await sent.acked()
        assert (await (await alice.send("still here", to="bob")).acked()).seq == 1


class BrokenOutbox(MemoryOutbox):
    """One of somebody's own, with errors of its own."""

    async def add(self, drafts: Sequence[Draft]) -> None:
        raise RuntimeError("no such table")


async def test_outbox_errors_reach_the_sender_and_the_client_goes_on(server: Server) -> None:
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=BrokenOutbox()) as alice:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no such table"):
                await alice.send("x", to="bob")
        await alice.connected()


async def test_frames_are_joined_no_further_than_the_server_allows(server: Server) -> None:
    server.limits = {"frame_bytes": 2_000}
    async with Client(server.url, "alice") as alice:
        await alice.connected()
        sends = [alice.send("x" * 500, to="bob") for _ in range(20)]
        for sent in await asyncio.gather(*sends):
            await sent.acked()
    assert 500 < server.longest_bytes <= 2_000


def group_calls(request: httpx2.Request) -> httpx2.Response:
    if request.method == "POST":
        assert json.loads(request.content) == {"name": "team", "members": ["bob"]}
        return httpx2.Response(201, json={"session_id": "g:1", "seq": 1})
    members = [{"user_id": "alice", "role": "owner", "joined_seq": 1}, {"user_id": "bob", "joined_seq": 1}]
    return httpx2.Response(200, json={"members": members})


async def test_a_404_of_a_proxy_does_not_drop_a_group(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    added = {"event": "members_added", "user_ids": ["bob"], "mode": "read"}
    frames = [{"client_msg_id": "a1", "kind": "system", "body": added}]
    frames += [{"client_msg_id": f"a{seq}", "kind": "text", "body": {"text": f"{seq}"}} for seq in (2, 3)]
    server.logs["g:1"] = []
    first, *others = [server.append("g:1", "alice", frame) for frame in frames]
    server.inboxes["bob"] = [first]
    answers = [httpx2.Response(404, text="<html>"), httpx2.Response(200, json={"messages": others})]
    transport = httpx2.MockTransport(lambda _request: answers.pop(0))
    monkeypatch.setattr("tidings_client.client.Rest", partial(Rest, transport=transport))
    monkeypatch.setattr(backoff, "BASE_MS", 10)
    async with asyncio.timeout(20), Client(server.url, "bob") as bob:
        messages = bob.messages()
        assert (await anext(messages)).seq == 1
        await server.tell("bob", {"type": "message", "message": others[-1]})
        assert [(await anext(messages)).seq for _ in others] == [2, 3]
    assert not answers


async def test_the_example_of_a_group_makes_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tidings_client.client.Rest", partial(Rest, transport=httpx2.MockTransport(group_calls)))
    async with asyncio.timeout(20):
        await example("group").main(server.url, "alice", "team", "bob")
    assert capsys.readouterr().out == "g:1 1\nalice owner\nbob member\n"
