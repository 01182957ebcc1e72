"""HTTP of a real gateway, byte by byte: nothing hangs, every refusal can be read, connections live long enough."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.deployments import Deployment, running, settings
from tests.faults.store import FaultyStore
from tests.stored_rows import fill_session

APP = "https://app.example"
PAGE = f"Host: gateway.example\r\nOrigin: {APP}\r\n"
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1.json\r\n"
)
PATIENCE_S = 10.0


@dataclass
class Wire:
    """An answer as it came, the time it took, and whether the server closed in order."""

    status: int
    headers: dict[str, str]
    body: bytes
    is_closed: bool

    @property
    def problem(self) -> dict[str, Any]:
        return cast(dict[str, Any], json.loads(self.body))


async def wired(port: int, *parts: str | bytes, until_closed: bool = False) -> Wire:
    """Send the parts, each when the one before was sent, and read one answer; a reset connection raises."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for part in parts:
                writer.write(part if isinstance(part, bytes) else part.encode())
                await writer.drain()
                await asyncio.sleep(0.05)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if head.startswith("HTTP/1.1 100"):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            is_closed = until_closed and await reader.read() == b""
            return Wire(int(lines[0].split(" ")[1]), headers, body, is_closed)
    finally:
        writer.close()


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("HEAD_S", 0.3), ("BODY_S", 0.6), ("LINGER_S", 0.2)):
        monkeypatch.setattr(f"services.gateway.http.h11_protocol.{name}", value)


@pytest.mark.field_case("30")
async def test_idle_connection_outlives_proxies(tmp_path: Path) -> None:
    """By default 75 s; here the setting is 3 s, and the fourth request comes after 2.5 s of quiet."""
    assert settings(tmp_path).http.idle_s > 60
    async with running(settings(tmp_path, idle_s=3)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for pause_s in (0, 0.1, 2.5):
            await asyncio.sleep(pause_s)
            writer.write(b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.findall(rb"content-length: (\d+)", head)[0]))
        begun = time.monotonic()
        assert await reader.read() == b""
        assert 2.5 < time.monotonic() - begun < 6
        writer.close()


@pytest.mark.field_case("31")
@pytest.mark.parametrize(
    ("method", "headers", "status", "says"),
    [
        ("GET", "", 426, "proxy"),
        ("GET", "Content-Length: 0\r\n", 426, "proxy"),
        ("GET", "Content-Length: 5\r\n", 400, "without a body"),
        ("GET", "Transfer-Encoding: chunked\r\n", 400, "without a body"),
        ("POST", "Content-Length: 5\r\n", 400, "without a body"),
        ("GET", UPGRADE + "Content-Length: 5\r\n", 400, "without a body"),
        ("GET", UPGRADE + "Transfer-Encoding: chunked\r\n", 400, "without a body"),
        ("POST", UPGRADE, 426, "a handshake is a GET"),
    ],
)
async def test_socket_path_without_handshake_is_refused_at_once(
    tmp_path: Path, method: str, headers: str, status: int, says: str
) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        begun = time.monotonic()
        answer = await wired(gateway.port, f"{method} /v1/ws HTTP/1.1\r\n{PAGE}{headers}\r\n")
        assert time.monotonic() - begun < 2
        assert (answer.status, answer.problem["code"]) == (status, "invalid_frame")
        assert answer.headers.get("upgrade") == ("websocket" if status == 426 else None)
        assert says in answer.problem["detail"]
        assert answer.headers["access-control-allow-origin"] == APP


async def test_handshake_with_an_empty_body_is_one(tmp_path: Path) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        for extra in ("", "Content-Length: 0\r\n"):
            answer = await wired(gateway.port, f"GET /v1/ws HTTP/1.1\r\n{PAGE}{UPGRADE}{extra}\r\n")
            assert answer.status == 101


@pytest.mark.field_case("31")
@pytest.mark.parametrize(
    ("target", "headers", "status", "says"),
    [
        ("/v1/ws", UPGRADE + f"Cookie: {'y' * 8_200}\r\n", 431, "8 KiB a line"),
        ("/v1/ws", UPGRADE + "".join(f"X{number}: y\r\n" for number in range(127)), 431, "128 headers"),
        (f"/v1/ws?x={'y' * 8_200}", UPGRADE, 431, "8 KiB a line"),
        ("/v1/ws", UPGRADE.replace("Version: 13", "Version: 12"), 400, "Sec-WebSocket-Version"),
        ("/v1/ws", UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "AAAA"), 400, "Sec-WebSocket-Key"),
        ("/v1/ws", UPGRADE.replace("Sec-WebSocket-Key", "X-Key"), 400, "Sec-WebSocket-Key"),
        ("/v1/ws", UPGRADE + "Upgrade: websocket\r\n", 426, "Upgrade"),
        ("/v1/ws", UPGRADE + 'Sec-WebSocket-Protocol: "\r\n', 400, "Sec-WebSocket-Protocol"),
    ],
)
async def test_a_handshake_that_cannot_be_taken_is_answered(
    tmp_path: Path, target: str, headers: str, status: int, says: str
) -> None:
    """The WebSocket library neither answers nor closes what it cannot parse, and answers the rest in plain text."""
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        answer = await wired(gateway.port, f"GET {target} HTTP/1.1\r\n{PAGE}{headers}\r\n")
        assert (answer.status, answer.problem["code"]) == (status, "invalid_frame")
        assert says in answer.problem["detail"]
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.field_case("31")
@pytest.mark.parametrize(
    ("version", "headers"),
    [
        ("1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        ("1.0", "Transfer-Encoding: chunked\r\n"),
    ],
)
async def test_a_body_of_ambiguous_length_closes_the_connection(tmp_path: Path, version: str, headers: str) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        request = f"POST /v1/messages HTTP/{version}\r\n{PAGE}{headers}\r\n2\r\n{{}}\r\n0\r\n\r\n"
        answer = await wired(gateway.port, request, until_closed=True)
        assert (answer.status, answer.is_closed) == (400, True)
        assert "ambiguous" in answer.problem["detail"]


@pytest.mark.field_case("31")
@pytest.mark.parametrize(
    "broken",
    [
        "Transfer-Encoding: gzip\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "X: a\0b\r\n",
    ],
)
async def test_a_refused_head_has_the_headers_for_pages_and_the_date(tmp_path: Path, broken: str) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        answer = await wired(gateway.port, f"POST /v1/messages HTTP/1.1\r\n{PAGE}{broken}\r\n")
        assert answer.status in (400, 431, 501)
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["date"].endswith("GMT")


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("parts", [1, 2])
async def test_a_websocket_outlives_the_times_of_requests(tmp_path: Path, parts: int) -> None:
    """Also where the handshake comes in two packets."""
    handshake = f"GET /v1/ws HTTP/1.1\r\n{PAGE}{UPGRADE}\r\n".encode()
    half = len(handshake) // parts
    async with running(settings(tmp_path, allowed_origins=APP, idle_s=1)) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(handshake[:half])
        await asyncio.sleep(0.05)
        writer.write(handshake[half:])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                pytest.fail(f"the gateway sent {await reader.read(1)!r}")
        writer.close()


UNFINISHED: Sequence[tuple[str | bytes, ...]] = (
    (f"GET /v1/blocks HTTP/1.1\r\n{PAGE}",),
    (f"GET /v1/blocks HTTP/1.1\r\n{PAGE}", *["X: y\r\n"] * 8),
    (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Content-Length: 50\r\n\r\n", "{"),
    (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Content-Length: 50\r\n\r\n", *["{"] * 14),
    (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Transfer-Encoding: chunked\r\n\r\n", "5\r\n{"),
    (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Expect: 100-continue\r\nContent-Length: 50\r\n\r\n",),
)


@pytest.mark.field_case("31")
@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("parts", UNFINISHED)
async def test_request_that_never_ends_is_408(tmp_path: Path, parts: tuple[str, ...]) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        answer = await wired(gateway.port, *parts, until_closed=True)
        assert (answer.status, answer.problem["code"], answer.problem["retryable"]) == (408, "timeout", True)
        assert (answer.is_closed, answer.headers["access-control-allow-origin"]) == (True, APP)


@pytest.mark.usefixtures("_hurried")
async def test_unread_body_ends_the_connection(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway:
        answer = await wired(gateway.port, f"GET /v1/x HTTP/1.1\r\n{PAGE}Content-Length: 9\r\n\r\n", until_closed=True)
        assert (answer.status, answer.is_closed) == (404, True)


@pytest.mark.usefixtures("_hurried")
async def test_slow_call_is_not_cut_by_the_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a request ends with its last byte: a call of the log may take 5 s."""
    monkeypatch.setattr("services.gateway.submit.pending_calls.WAIT_S", 1.5)
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        body = {"client_msg_id": "m", "to": "bob", "kind": "text", "body": {"text": "hi"}}
        assert (await rest.post("/v1/messages", json=body)).status_code == 504
        assert (await rest.get("/v1/blocks")).status_code == 200


@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("\x16\x03\x01\x02garbage\r\n\r\n", 400),
        (f"GET / nothing HTTP/1.1\r\n{PAGE}\r\n", 400),
        ("GET /v1/blocks HTTP/1.1\r\n\r\n", 400),
        (f"GET /v1/blocks HTTP/1.1\r\n{PAGE}X: {'a' * 200_000}\r\n\r\n", 431),
        (f"GET /{'a' * 200_000} HTTP/1.1\r\n{PAGE}\r\n", 431),
        (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Transfer-Encoding: gzip\r\n\r\n{{}}", 501),
        (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{{}}", 400),
        (f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Content-Length: -1\r\n\r\n", 400),
    ],
)
async def test_request_that_is_not_http_gets_an_answer(tmp_path: Path, request_text: str, status: int) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        answer = await wired(gateway.port, request_text.encode("latin-1"), until_closed=True)
        assert (answer.status, answer.problem["code"], answer.is_closed) == (status, "invalid_frame", True)


@pytest.mark.usefixtures("_hurried")
async def test_page_reads_what_the_server_itself_refuses(tmp_path: Path) -> None:
    async with running(settings(tmp_path, allowed_origins=APP)) as gateway:
        for text in (
            f"GET /v1/blocks HTTP/1.1\r\n{PAGE}X: {'a' * 200_000}\r\n\r\n",
            f"POST /v1/tokens HTTP/1.1\r\n{PAGE}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            assert (await wired(gateway.port, text)).headers["access-control-allow-origin"] == APP


@pytest.mark.field_case("36")
async def test_500_does_not_reset_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FaultyStore()

    async def broken(*_arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(store, "user_sessions", broken)
    async with running(settings(tmp_path, allowed_origins=APP), store=store) as gateway:
        token = await gateway.token("alice")
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for _ in range(3):
            writer.write(f"GET /v1/sessions HTTP/1.1\r\n{PAGE}Authorization: Bearer {token}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert head.startswith("HTTP/1.1 500")
            assert f"access-control-allow-origin: {APP}" in head
            body = await reader.readexactly(int(re.findall(r"content-length: (\d+)", head)[0]))
            assert json.loads(body)["code"] == "unavailable"
        writer.close()


@pytest.mark.field_case("36")
async def test_retry_after_the_stated_wait_succeeds(tmp_path: Path) -> None:
    """Batches until the rate is met, again and again, each repeated once after the stated wait."""

    def batch(number: int) -> dict[str, object]:
        names = [f"b{number}-{index}" for index in range(40)]
        return {
            "messages": [{"client_msg_id": name, "to": "bob", "kind": "text", "body": {"text": "x"}} for name in names]
        }

    def waits_of(answer: dict[str, Any]) -> list[int]:
        return [one["retry_after_ms"] for one in answer["results"] if one.get("code") == "rate_limited"]

    chosen = settings(tmp_path, messages_per_s=200, burst=100)
    async with running(chosen) as gateway, gateway.rest("alice") as rest:
        acking = asyncio.create_task(_ack_all(gateway))
        refused = 0
        for number in range(12):
            waits = waits_of((await rest.post("/v1/messages:batch", json=batch(number))).json())
            if waits:
                refused += 1
                assert len({*waits}) == 1
                await asyncio.sleep(waits[0] / 1000)
                assert waits_of((await rest.post("/v1/messages:batch", json=batch(number))).json()) == []
        assert refused > 3
        acking.cancel()


async def _ack_all(gateway: Deployment) -> None:
    seq = 0
    while True:
        for command in await gateway.commands(1):
            seq += 1
            await gateway.ack(command, seq)


async def test_quoted_idempotency_key_is_what_it_quotes(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        message = {"to": "bob", "kind": "text", "body": {"text": "x"}}
        for header, key in (
            ('"key-1"', "key-1"),
            ("key-2", "key-2"),
            (r'"a\"b\\c"', 'a"b\\c'),
            ("a b", "a b"),
            ('a"b', 'a"b'),
        ):
            posting = asyncio.create_task(rest.post("/v1/messages", json=message, headers={"Idempotency-Key": header}))
            (command,) = await gateway.commands(1)
            assert command.client_msg_id == key
            await gateway.ack(command, 1)
            assert (await posting).status_code == 201
        for headers, body in (
            ([("Idempotency-Key", '"key')], message),
            ([("Idempotency-Key", '"a"b"')], message),
            ([("Idempotency-Key", '"a\\b"')], message),
            ([("Idempotency-Key", '"a";p=1')], message),
            ([("Idempotency-Key", '""')], message),
            ([("Idempotency-Key", "")], message),
            ([("Idempotency-Key", "a"), ("Idempotency-Key", "a")], message),
            ([("Idempotency-Key", '"a"')], {**message, "client_msg_id": "b"}),
            ([("Idempotency-Key", '"a"')], {**message, "client_msg_id": '"a"'}),
            ([("Idempotency-Key", "A")], {**message, "client_msg_id": "a"}),
        ):
            response = await rest.post("/v1/messages", json=body, headers=headers)
            assert (response.status_code, response.json()["code"]) == (400, "invalid_frame"), headers


@pytest.mark.field_case("32")
@pytest.mark.parametrize("listed", ["*", f"{APP}/", APP.upper() + ":443"])
async def test_rest_and_websocket_let_the_same_pages_in(tmp_path: Path, listed: str) -> None:
    store = FaultyStore()
    await fill_session(store, [1])
    async with running(settings(tmp_path, allowed_origins=listed), store=store) as gateway:
        own = f"127.0.0.1:{gateway.port}"
        for host, origin, is_allowed in (
            ("any.example", APP, True),
            ("any.example", "https://any.example", True),
            (own, f"http://{own}", True),
            (own, "https://evil.example", listed == "*"),
            (own, "null", listed == "*"),
        ):
            head = f"Host: {host}\r\nOrigin: {origin}\r\n"
            rest = await wired(gateway.port, f"GET /v1/blocks HTTP/1.1\r\n{head}\r\n")
            socket = await wired(gateway.port, f"GET /v1/ws HTTP/1.1\r\n{head}{UPGRADE}\r\n")
            assert (rest.headers.get("access-control-allow-origin") == origin) == is_allowed, (listed, origin)
            assert socket.status == (101 if is_allowed else 403), (listed, origin)
