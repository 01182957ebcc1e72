"""Inputs from the field through a whole gateway, by REST and by WebSocket, over a log and tables in memory."""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from services.gateway.protocol.limits import MESSAGE_BYTES
from tests.deployments import Deployment, deployed

FAMILY = "👨‍👩‍👧‍👦"
TWO_ESCAPES = "\\ud83d\\ude00"
HOST = b"Host: g\r\nConnection: close\r\nAuthorization: Bearer TOKEN\r\n"
RAW_CALLS = [
    b"GET /v1/sessions/\xff\xfe HTTP/1.1\r\n" + HOST,
    b"GET /v1/sessions/%ff%fe HTTP/1.1\r\n" + HOST,
    b"GET /v1/sessions/%ed%a0%80 HTTP/1.1\r\n" + HOST,
    b"GET /v1/inbox?after=\xff HTTP/1.1\r\n" + HOST,
    b"GET /v1/inbox?after=%ff&limit=%fe HTTP/1.1\r\n" + HOST,
    b"GET /v1/inbox HTTP/1.1\r\n" + b"Host: g\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n",
    b"GET /v1/inbox HTTP/1.1\r\n" + HOST + b"X-\xff: 1\r\n",
    b"POST /v1/tokens HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n\xff\xfe",
    b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Idempotency-Key: \xff\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /\xff/ws HTTP/1.1\r\n" + HOST,
    b"\xff\xfe /v1/inbox HTTP/1.1\r\n" + HOST,
    b"GET /v1/ws\xff HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"GET /v1/ws HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: \xff\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"GET /v1/ws HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: \xff\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
]


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path) as deployment:
        yield deployment


def message(text: str = "hi", **changes: Any) -> dict[str, Any]:
    made = {"client_msg_id": uuid.uuid4().hex, "to": "bob", "kind": "text", "body": {"text": text}}
    return {**made, **changes}


async def raw(there: Deployment, request: bytes) -> bytes:
    """The first line of what is answered to these bytes; the server may close without one."""
    host, _, port = there.urls[0].removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request if b"\r\n\r\n" in request else request + b"\r\n")
    answer = await reader.readline()
    writer.close()
    return answer


@pytest.mark.field_case("8", "9")
async def test_invisible_name_makes_no_group_and_no_file(there: Deployment) -> None:
    for name in ("\u200b", "\u2800", "\u3164", "\u00ad", "\ufe0f", "\uffff", "a\u061cb", "a\u200eb", "a\u202eb"):
        body: dict[str, Any] = {"client_msg_id": uuid.uuid4().hex, "name": name, "members": []}
        status, problem = await there.call("alice", "POST", "/v1/groups", body)
        assert (status, problem["code"]) == (400, "invalid_frame"), ascii(name)
    for name in (FAMILY, "می\u200cخواهم", "e\u0301", "1️⃣"):
        group = await there.group("alice", name=name)
        assert (await there.call("alice", "GET", f"/v1/groups/{group}"))[1]["name"] == name


@pytest.mark.field_case("10")
async def test_the_list_shows_a_preview_of_whole_clusters(there: Deployment) -> None:
    for text, preview in (
        ("a" * 99 + FAMILY, "a" * 99),
        ("\u202egnp.exe", "gnp.exe"),
        ("one\ntwo\nthree", "one two three"),
        ("a\x00b\x1b[2Jc", "ab[2Jc"),
    ):
        sent = await there.call("alice", "POST", "/v1/messages", message(text))
        assert sent[0] == 201
        _, session = await there.call("alice", "GET", "/v1/sessions/d:alice:bob")
        assert session["head"]["preview"] == preview


@pytest.mark.field_case("11")
async def test_a_broken_entry_of_a_batch_fails_alone(there: Deployment) -> None:
    broken = [
        '{"client_msg_id":"surrogate","to":"bob","kind":"text","body":{"text":"\\ud83d"}}',
        '{"client_msg_id":"deep","to":"bob","kind":"custom","body":{"type":"t","data":' + "[" * 40 + "]" * 40 + "}}",
        '{"client_msg_id":"NaN","to":"bob","kind":"custom","body":{"type":"t","data":NaN}}',
        '{"client_msg_id":"digits","to":"bob","kind":"custom","body":{"type":"t","data":' + "9" * 5_000 + "}}",
        '{"client_msg_id":"inexact","to":"bob","kind":"custom","body":{"type":"t","data":1e400}}',
        "{",
    ]
    for entry in broken[:5]:
        good = [json.dumps(message()), json.dumps(message())]
        content = '{"messages":[' + ",".join((good[0], entry, good[1])) + "]}"
        answer = await (await there.client("alice")).post("/v1/messages:batch", content=content)
        assert answer.status_code == 200, answer.text
        first, failed, last = answer.json()["results"]
        assert last["seq"] == first["seq"] + 1
        assert failed["client_msg_id"] == json.loads(entry.replace("1e400", "0"), parse_int=len)["client_msg_id"]
        assert failed["code"] in ("invalid_frame", "invalid_body")
        assert not failed["retryable"]
    whole = await (await there.client("alice")).post("/v1/messages:batch", content='{"messages":[{}]')
    assert whole.status_code == 400


@pytest.mark.field_case("12")
async def test_a_send_above_the_limit_fails_alone(there: Deployment) -> None:
    url = there.urls[0].replace("http:", "ws:") + "/v1/ws"
    token = (await there.call("alice", "POST", "/v1/tokens", {"user_id": "alice"}))[1]["token"]
    big = json.dumps({"type": "send", **message(client_msg_id="big")}).replace('"hi"', f'"{TWO_ESCAPES * 6_144}"')
    async with connect(url, subprotocols=[Subprotocol("tidings.v1.json")]) as socket:
        await socket.send(json.dumps({"type": "hello", "token": token, "device_id": "phone"}))
        for line in (json.dumps({"type": "send", **message(client_msg_id="a")}), big):
            await socket.send(line)
        await socket.send(json.dumps({"type": "send", **message(client_msg_id="b")}))
        found: dict[str, str] = {}
        while len(found) < 3:
            for line in str(await socket.recv()).split("\n"):
                frame = json.loads(line)
                if frame["type"] in ("send_ack", "send_error"):
                    found[frame["client_msg_id"]] = frame.get("code", "stored")
        assert found == {"a": "stored", "big": "too_large", "b": "stored"}
        await socket.send("x" * (MESSAGE_BYTES + 1))
        await socket.wait_closed()
        assert socket.close_code == 1009


@pytest.mark.field_case("13")
async def test_the_same_number_written_otherwise_is_a_duplicate(there: Deployment) -> None:
    def custom(client_msg_id: str, number: str) -> str:
        frame = message(client_msg_id=client_msg_id, kind="custom", body={"type": "t", "data": {"n": "N"}})
        return json.dumps(frame).replace('"N"', number)

    client = await there.client("alice")
    for one, other in (("1e19", "10000000000000000000"), ("5.0", "5"), ("-0", "0"), ("9007199254740993.0",) * 2):
        name = uuid.uuid4().hex
        first = await client.post("/v1/messages", content=custom(name, one))
        again = await client.post("/v1/messages", content=custom(name, other))
        assert (first.status_code, again.status_code) == (201, 201), again.text
        assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    refused = await client.post("/v1/messages", content=custom(uuid.uuid4().hex, "100000000000000000001"))
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_body")


@pytest.mark.field_case("11")
async def test_bytes_that_are_no_text_make_an_answer_and_no_traceback(
    there: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        _, issued = await there.call("alice", "POST", "/v1/tokens", {"user_id": "alice"})
        for request in RAW_CALLS:
            answer = await raw(there, request.replace(b"TOKEN", issued["token"].encode()))
            assert answer.startswith(b"HTTP/1.1 4"), (request, answer)
        url = there.urls[0].replace("http:", "ws:") + "/v1/ws"
        for piece in (b"\xff\xfe", b'{"type":"hello","token":"\xed\xa0\x80"}'):
            async with connect(url, subprotocols=[Subprotocol("tidings.v1.json")]) as socket:
                await socket.send(piece, text=True)
                await socket.wait_closed()
                assert socket.close_code == 1007
        status, _ = await there.call("alice", "GET", "/v1/inbox")
    assert status == 200
    assert [
        record.getMessage() for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR
    ] == []
