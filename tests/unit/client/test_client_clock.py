"""A whole client on a device whose clock is minutes or days off, against a server that judges ids by its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from time import time as true_time
from typing import Any

import httpx2
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.unit.client.test_client import Server, until
from tidings_client import ApiError, Client, FailedDraft, FileOutbox, IdChanged, SendFailed, Status, backoff
from tidings_client.drafts import Draft
from tidings_client.group_calls import GroupCalls
from tidings_client.ids import MessageIds, uuid7_time_ms
from tidings_client.rest import Rest
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
OFFS = [6 * MINUTE_MS, -6 * MINUTE_MS, 3 * DAY_MS, -100 * DAY_MS]
Json = dict[str, Any]


class Judge(Server):
    """Refuses ids that are 5 minutes ahead of the true time, or 90 days behind it."""

    async def store(self, connection: ServerConnection, user: str, frame: Json) -> None:
        code = refusal(frame["client_msg_id"], now_ms())
        if code:
            error = {"type": "send_error", "client_msg_id": frame["client_msg_id"], "code": code}
            await self.say(connection, error | {"message": "by script", "retryable": False})
            return
        await super().store(connection, user, frame)


def refusal(client_msg_id: str, server_ms: int) -> str:
    made_ms = uuid7_time_ms(client_msg_id)
    if made_ms is None:
        return ""
    if made_ms > server_ms + 5 * MINUTE_MS:
        return "clock_skew"
    return "too_old" if made_ms < server_ms - 90 * DAY_MS else ""


def now_ms() -> int:
    return int(true_time() * 1_000)


class DeviceClock:
    """The wall clock of the device, which the server does not share."""

    def __init__(self) -> None:
        self.off_ms = 0

    def __call__(self) -> float:
        return true_time() + self.off_ms / 1_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> DeviceClock:
    device = DeviceClock()
    monkeypatch.setattr(time, "time", device)
    monkeypatch.setattr(backoff, "BASE_MS", 20)
    return device


@pytest.fixture
async def server() -> AsyncIterator[Judge]:
    script = Judge()
    listening = serve(
        script.serve, "127.0.0.1", 0, subprotocols=[Subprotocol("tidings.v1.json")], process_request=script.rest
    )
    async with listening as running:
        script.port = next(iter(running.sockets)).getsockname()[1]
        yield script


def texts(server: Server) -> list[str]:
    return [message["body"]["text"] for message in server.logs.get("d:alice:bob", [])]


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
async def test_messages_of_before_the_first_connection_are_sent(
    server: Judge, clock: DeviceClock, off_ms: int, tmp_path: Path
) -> None:
    clock.off_ms = off_ms
    changed: list[str] = []
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        reading = asyncio.create_task(collect(alice, changed))
        early = [await alice.send(f"{n}", to="bob") for n in range(3)]
        await alice.connected()
        late = await alice.send("3", to="bob")
        for sent in [*early, late]:
            await sent.acked()
    assert texts(server) == ["0", "1", "2", "3"]
    assert [message["client_msg_id"] for message in server.logs["d:alice:bob"][:3]] == [
        sent.client_msg_id for sent in early
    ]
    await reading
    assert bool(changed) == (off_ms in (6 * MINUTE_MS, 3 * DAY_MS, -100 * DAY_MS))
    assert not {frame["client_msg_id"] for frame in server.sends}.intersection(changed)
    box = FileOutbox(tmp_path / "outbox")
    assert await box.load() == ()
    await box.close()


async def collect(client: Client, changed: list[str]) -> None:
    changed.extend([event.was async for event in client.events() if isinstance(event, IdChanged)])


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
async def test_an_outbox_of_a_wrong_clock_ends_as_sent(
    server: Judge, clock: DeviceClock, off_ms: int, tmp_path: Path
) -> None:
    clock.off_ms = off_ms
    path = tmp_path / "outbox"
    async with Client("ws://127.0.0.1:9", "alice", outbox=FileOutbox(path)) as offline:
        await offline.send("x", to="bob")
        await offline.close()
    clock.off_ms = 0
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        [unsent] = alice.unsent()
        await unsent.sent.acked()
        assert alice.unsent() == []
    assert texts(server) == ["x"]


@pytest.mark.field_case("2")
async def test_an_outbox_as_an_older_client_left_it_ends_as_sent(server: Judge, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    older = FileOutbox(path)
    await older.load()
    made = [MessageIds(lambda bits: bits).make(now_ms() + 6 * MINUTE_MS + n) for n in range(2)]
    await older.add([Draft(client_msg_id, "text", {"text": "x"}, to="bob") for client_msg_id in made])
    await older.close()
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        for unsent in alice.unsent():
            await unsent.sent.acked()
    assert texts(server) == ["x", "x"]
    again = FileOutbox(path)
    assert await again.load() == ()
    await again.close()


@pytest.mark.field_case("2")
async def test_a_clock_set_right_in_the_process_is_followed(server: Judge, clock: DeviceClock) -> None:
    clock.off_ms = DAY_MS
    async with asyncio.timeout(20), Client(server.url, "alice") as alice:
        await (await alice.send("0", to="bob")).acked()
        clock.off_ms = 0
        later = await alice.send("1", to="bob")
        await later.acked()
        assert abs((uuid7_time_ms(later.client_msg_id) or 0) - now_ms()) < MINUTE_MS


class Groups:
    """Answers `POST /v1/groups` as a gateway does, with a `Date`."""

    def __init__(self, off_ms: int, *, with_date: bool = True) -> None:
        self.keys: list[str] = []
        device = ServerTime(device_ms=lambda: now_ms() + off_ms)
        ids = MessageIds(lambda bits: bits)
        self.time = device
        self.with_date = with_date
        self.rest = Rest("http://server", Tokens("token"), httpx2.MockTransport(self.answer), device)
        self.groups = GroupCalls(self.rest, lambda: ids.make(device.now_ms()), self.own_id)

    async def own_id(self) -> str:
        return "alice"

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        code = refusal(self.keys[-1], now_ms())
        headers = {"Date": formatdate(true_time(), usegmt=True)} if self.with_date else {}
        if code:
            return httpx2.Response(409, headers=headers, json={"code": code, "retryable": False})
        return httpx2.Response(201, headers=headers, json={"session_id": "g:1", "seq": 1})


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_ms", OFFS)
async def test_a_first_call_by_a_wrong_clock_is_done(off_ms: int) -> None:
    gateway = Groups(off_ms)
    assert (await gateway.groups.create("team", ["bob"])).session_id == "g:1"
    assert len(gateway.keys) <= 2
    assert (await gateway.groups.create("other")).seq == 1
    assert len(gateway.keys) <= 3
    assert abs((gateway.time.device_ahead_ms or 0) - off_ms) < 5_000


async def test_a_first_call_without_a_date_is_refused_in_the_end() -> None:
    gateway = Groups(DAY_MS, with_date=False)
    with pytest.raises(ApiError, match="clock_skew"):
        await gateway.groups.create("team")
    assert len(gateway.keys) == 3


async def test_a_command_under_an_id_of_ones_own_goes_under_that_alone() -> None:
    gateway = Groups(0)
    made = MessageIds(lambda bits: bits).make(now_ms() + DAY_MS)
    with pytest.raises(ApiError, match="clock_skew"):
        await gateway.groups.create("team", client_msg_id=made)
    assert gateway.keys == [made]


@pytest.mark.parametrize("date", [None, "", "soon", "Mon, 99 Nov 2026 02:27:04 GMT", "Mon, 30 Nov 99999 02:27:04 GMT"])
def test_a_date_that_is_none_teaches_nothing(date: str | None) -> None:
    device = ServerTime(device_ms=lambda: 7)
    device.learn_date(date)
    assert device.known_ms is None
    assert device.now_ms() == 7


def test_a_date_corrects_a_time_that_is_wrong_by_now() -> None:
    passed = 0
    device = ServerTime(lambda: passed, lambda: 0)
    device.learn(1_764_000_000_123)
    device.learn_date(formatdate(1_764_000_002, usegmt=True))
    assert device.known_ms == 1_764_000_000_123
    device.learn_date(formatdate(1_764_000_900, usegmt=True))
    assert device.known_ms == 1_764_000_900_000
    assert device.device_ahead_ms == -1_764_000_900_000


@pytest.mark.field_case("37")
async def test_after_a_restart_pending_and_failed_messages_are_listed(server: Judge, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        with pytest.raises(SendFailed):
            await (await alice.send("forbidden", to="bob", mentions=["bob"])).acked()
        server.answers_sends = False
        await alice.send("pending", to="bob")
        await alice.close()
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        failed, pending = alice.unsent()
        assert (failed.message.body, failed.message.to, failed.code) == ({"text": "forbidden"}, "bob", "user_blocked")
        assert (failed.sent.status, failed.reason) == (Status.FAILED, "unblock first")
        assert (pending.message.body, pending.code, pending.sent.status) == ({"text": "pending"}, None, Status.SENDING)
        await until(lambda: len(server.sends) == 3)
        server.answers_sends = True
        await server.hang_up(1000)
        await pending.sent.acked()
        assert [one.code for one in alice.unsent()] == ["user_blocked"]
        again = await alice.resend(failed.message.client_msg_id)
        assert again is failed.sent
        with pytest.raises(SendFailed):
            await again.acked()
        assert [frame["client_msg_id"] for frame in server.sends].count(failed.message.client_msg_id) == 2
        alice.discard(failed.message.client_msg_id)
        alice.discard(failed.message.client_msg_id)
        assert alice.unsent() == []
        with pytest.raises(KeyError):
            await alice.resend(failed.message.client_msg_id)
    box = FileOutbox(path)
    assert (await box.load(), await box.failed()) == ((), ())
    await box.close()


async def test_a_failed_message_whose_id_was_refused_goes_under_a_new_one(server: Judge, tmp_path: Path) -> None:
    made = MessageIds(lambda bits: bits).make(now_ms() + DAY_MS)
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(tmp_path / "outbox")) as alice:
        sent = await alice.send("x", to="bob", client_msg_id=made)
        with pytest.raises(SendFailed, match="clock_skew"):
            await sent.acked()
        again = await alice.resend(made)
        await again.acked()
        assert (again.client_msg_id != made, alice.unsent()) == (True, [])


async def test_a_failed_message_that_turns_up_is_forgotten(server: Judge, tmp_path: Path) -> None:
    path, draft = tmp_path / "outbox", Draft("a1", "text", {"text": "x"}, to="bob")
    box = FileOutbox(path)
    await box.load()
    await box.add([draft])
    await box.fail([FailedDraft(draft, "timeout", "no answer to the last try")])
    await box.close()
    async with asyncio.timeout(20), Client(server.url, "alice", outbox=FileOutbox(path)) as alice:
        assert [one.code for one in alice.unsent()] == ["timeout"]
        async with Client(server.url, "alice", device_id="other") as other:
            await (await other.send("x", to="bob", client_msg_id="a1")).acked()
        async for _ in alice.messages():
            break
        assert alice.unsent() == []
    assert path.read_bytes().endswith(b'{"settled":"a1"}\n')
