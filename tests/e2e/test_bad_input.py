"""Whatever a client sends to the public port: the documented code, never a 5xx, and no other client is disturbed."""

import json
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from deploy.local.stack import Stack
from tests.e2e import raw
from tests.e2e.raw import call, opened, rest_of, signed_in, token_of
from tests.integration.test_gateway_rest import BAD_CALLS, is_problem
from tests.sockets import SUBPROTOCOL, Frame, Socket
from tests.unit.persister.builders import DAY_MS, uuid7

TOO_BIG = "x" * 65_537
DEEP = '{"a":' * 33 + "1" + "}" * 33
# Close codes that a client's own fault may bring (PROTOCOL); anything else would be the gateway's fault.
CLIENTS_FAULT = {1007, 1009, 4400, 4401}
PIECES = 500
_FILE = {"name": "a.txt", "url": "/v1/media/1", "size": 1, "content_type": "text/plain"}


def _text(text: str = "hello", **changes: Any) -> Frame:
    """A message to a peer of one's own."""
    return raw.text(text, **{"to": "bad-peer", **changes})


# -- REST ------------------------------------------------------------------------------------------


async def test_every_malformed_call_gets_its_code(stack: Stack) -> None:
    async with rest_of(stack, "alice") as http:
        for method, path, body, status, code in BAD_CALLS:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            is_problem(await http.request(method, path, content=content), status, code)


async def test_refusals_of_the_persister_get_their_codes(stack: Stack) -> None:
    now_ms = int(time.time() * 1000)
    async with rest_of(stack, f"judged-{uuid.uuid4().hex[:8]}") as http:
        first = _text()
        await call(http, "POST", "/v1/messages", **first)
        for message, status, code in [
            (first | {"body": {"text": "something else"}}, 409, "conflict"),
            (_text(reply_to=1_000), 400, "invalid_body"),
            (_text(client_msg_id=uuid7(now_ms + 60 * 60_000)), 409, "clock_skew"),
            (_text(client_msg_id=uuid7(now_ms - 91 * DAY_MS)), 409, "too_old"),
        ]:
            is_problem(await http.post("/v1/messages", json=message), status, code)


async def test_tokens_are_judged_alike_by_rest_and_by_the_socket(stack: Stack) -> None:
    key = stack.token_key_file.read_text().strip()
    now_s = int(time.time())
    good = {"sub": "alice", "aud": "tidings", "iat": now_s, "exp": now_s + 600}
    tokens = [
        ("", "unauthorized"),
        ("x.y.z", "unauthorized"),
        (jwt.encode(good, "", algorithm="none"), "unauthorized"),
        (jwt.encode(good, "another key that is long enough for HS256", algorithm="HS256"), "unauthorized"),
        (jwt.encode(good | {"aud": "another"}, key, algorithm="HS256"), "unauthorized"),
        (jwt.encode(good | {"sub": "a b"}, key, algorithm="HS256"), "unauthorized"),
        (jwt.encode({**good, "exp": now_s - 60}, key, algorithm="HS256"), "token_expired"),
    ] + [
        (jwt.encode({k: v for k, v in good.items() if k != name}, key, algorithm="HS256"), "unauthorized")
        for name in good
    ]
    async with httpx2.AsyncClient(base_url=stack.url()) as http:
        for token, code in tokens:
            headers = {"Authorization": f"Bearer {token}".strip()}
            is_problem(await http.get("/v1/sessions", headers=headers), 401, code)
            async with opened(stack) as socket:
                await socket.send({"type": "hello", "token": token, "device_id": "phone"})
                error = await socket.like(type="error")
                assert (error["code"], error["fatal"], await socket.closed()) == (code, True, 4401), token


async def test_too_many_messages_are_refused_with_the_time_to_wait(stack: Stack) -> None:
    user = f"eager-{uuid.uuid4().hex[:8]}"
    async with signed_in(stack, user) as socket:
        # More than a burst and what is allowed in the seconds that it takes.
        frames = [{"type": "send"} | _text("x", to=user) for _ in range(3_000)]
        for start in range(0, len(frames), 250):
            await socket.send(*frames[start : start + 250])
        refused = await socket.like(type="send_error")
    assert (refused["code"], refused["retryable"]) == ("rate_limited", True)
    assert refused["retry_after_ms"] > 0


# -- WebSocket -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "subprotocol", "origin", "status"),
    [
        ("/v1/ws", SUBPROTOCOL, "https://elsewhere.example", 403),
        ("/v1/ws", SUBPROTOCOL, "null", 403),
        ("/v1/ws", "tidings.v9.json", None, 400),
        ("/v1/ws", None, None, 400),
        ("/v1/elsewhere", SUBPROTOCOL, None, 404),
    ],
)
async def test_a_wrong_handshake_is_refused(
    stack: Stack, path: str, subprotocol: str | None, origin: str | None, status: int
) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(
            stack.url().replace("http", "ws") + path,
            subprotocols=[Subprotocol(subprotocol)] if subprotocol else None,
            origin=Origin(origin) if origin else None,
        ):
            pass
    assert refusal.value.response.status_code == status


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not JSON", 4400),
        ("[]", 4400),
        (b"\x00\x01", 4400),
        ('{"type":"ping"}', 4400),
        ('{"type":"hello","device_id":"phone"}', 4401),
        (TOO_BIG, 1009),
        (DEEP, 4400),
    ],
)
async def test_any_wrong_frame_before_sign_in_is_fatal(stack: Stack, message: str | bytes, code: int) -> None:
    async with opened(stack) as socket:
        await socket.connection.send(message)
        assert await socket.closed() == code


async def test_silent_connection_is_closed(stack: Stack) -> None:
    async with opened(stack) as socket:
        assert await socket.closed() == 4408


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not JSON", 4400),
        ("[]", 4400),
        ("1", 4400),
        (b"\x00\x01", 4400),
        (DEEP, 4400),
        (TOO_BIG, 1009),
        ("\n".join(['{"type":"unknown"}'] * 10), 4400),
        ('{"type":"hello","token":"x","device_id":"phone"}', 4401),
    ],
)
async def test_fatal_frames_after_sign_in_close_the_connection(stack: Stack, message: str | bytes, code: int) -> None:
    async with signed_in(stack, "fatal", uuid.uuid4().hex) as socket:
        await socket.connection.send(message)
        assert await socket.closed() == code


async def test_a_text_message_that_is_no_utf_8_closes_with_1007(stack: Stack) -> None:
    async with signed_in(stack, "fatal", uuid.uuid4().hex) as socket:
        await socket.connection.send(b'{"type":"\xff\xfe"}', text=True)
        assert await socket.closed() == 1007


@pytest.mark.parametrize(
    ("frame", "answer", "code"),
    [
        ({"type": "unknown"}, "error", "invalid_frame"),
        ({"kind": "text"}, "error", "invalid_frame"),
        ({"type": "sync", "after": -1}, "error", "invalid_frame"),
        ({"type": "sync", "after": "1"}, "error", "invalid_frame"),
        ({"type": "sync", "after": 0, "limit": 0}, "error", "invalid_frame"),
        ({"type": "ack", "inbox_seq": 2**60}, "error", "invalid_frame"),
        ({"type": "ack", "delivered": [{"session_id": "d:x:y", "seq": 1}]}, "error", "session_not_found"),
        ({"type": "read", "session_id": "d:x:y", "seq": 1}, "error", "session_not_found"),
        ({"type": "read", "session_id": "d:bad-peer:mild", "seq": 0}, "error", "invalid_frame"),
        ({"type": "send", "client_msg_id": ""}, "error", "invalid_frame"),
        ({"type": "send"} | _text(to="a b"), "send_error", "invalid_frame"),
        ({"type": "send"} | _text(to=None), "send_error", "invalid_frame"),
        ({"type": "send"} | _text(to=None, session_id="d:x:y"), "send_error", "session_not_found"),
        ({"type": "send"} | _text(to=None, session_id="g:guessed"), "send_error", "session_not_found"),
        ({"type": "send"} | _text(kind="system"), "send_error", "invalid_body"),
        ({"type": "send"} | _text(kind="poem"), "send_error", "invalid_body"),
        ({"type": "send"} | _text(""), "send_error", "invalid_body"),
        ({"type": "send"} | _text("x" * 8_001), "send_error", "invalid_body"),
        ({"type": "send"} | _text("水" * 8_200), "send_error", "invalid_body"),
        ({"type": "send"} | _text(reply_to=10_000), "send_error", "invalid_body"),
        ({"type": "send"} | _text(mentions=["a"] * 51), "send_error", "invalid_body"),
        ({"type": "send"} | _text(kind="image", body={"width": 1, "height": 1}), "send_error", "invalid_body"),
        ({"type": "send"} | _text(kind="file", body=_FILE), "send_error", "media_not_found"),
    ],
)
async def test_refused_frames_are_answered_and_keep_the_connection(
    stack: Stack, frame: Mapping[str, Any], answer: str, code: str
) -> None:
    async with signed_in(stack, "mild", uuid.uuid4().hex) as socket:
        await socket.send({**frame, "ref": "r1"}, {"type": "ping", "id": "after"})
        answers = [await socket.next(), await socket.next()]
        if answers[0]["type"] == "pong":  # what the log judges comes later
            answers.reverse()
        assert answers[1] == {"type": "pong", "id": "after"}
        assert {"type": answer, "code": code, "ref": "r1"}.items() <= answers[0].items()
        assert answers[0]["message"]


# -- anything --------------------------------------------------------------------------------------


@pytest.mark.bad_input("B1")
async def test_gateway_survives_any_bytes_on_its_socket(stack: Stack) -> None:
    chance = random.Random(3)
    before = stack.process("gateway-0").pid()
    async with signed_in(stack, "witness") as witness:
        thrown = 0
        token = await token_of(stack, "thrower")
        while thrown < PIECES:
            async with opened(stack) as socket:
                await socket.send({"type": "hello", "token": token, "device_id": uuid.uuid4().hex})
                thrown += await _throw(socket, chance, PIECES - thrown)
        await witness.send({"type": "ping", "id": "still there"})
        assert await witness.like(type="pong") == {"type": "pong", "id": "still there"}
    assert stack.process("gateway-0").pid() == before


@pytest.mark.bad_input("B1")
async def test_rest_answers_no_request_with_5xx(stack: Stack) -> None:
    chance = random.Random(4)
    calls = sorted({(method, path.partition("?")[0]) for method, path, *_ in BAD_CALLS})
    async with rest_of(stack, "thrower") as http:
        for number in range(PIECES):
            method, path = calls[number % len(calls)]
            query = "&".join(f"{name}={_junk(chance)[:20].hex('%')}" for name in ("limit", "after", "before_seq"))
            response = await http.request(method, f"{path}?{query}", content=_piece(chance))
            assert response.status_code < 500, (method, path, response.text)


async def _throw(socket: Socket, chance: random.Random, most: int) -> int:
    """Pieces until the gateway has had enough; how many."""
    for thrown in range(1, most + 1):
        piece, is_text = _piece(chance), chance.random() < 0.8
        await socket.connection.send(piece, text=is_text)
        if is_text and not _is_utf_8(piece):
            assert await socket.closed() == 1007
            return thrown
        try:
            await socket.send({"type": "ping", "id": f"after {thrown}"})
            await socket.like(type="pong", id=f"after {thrown}")
        except ConnectionClosed:
            assert socket.connection.close_code in CLIENTS_FAULT
            return thrown
    return most


def _is_utf_8(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True


def _piece(chance: random.Random) -> bytes:
    """Random bytes, random JSON, or a good frame with something wrong in it."""
    match chance.randrange(3):
        case 0:
            return _junk(chance)
        case 1:
            return json.dumps(_json(chance, 4)).encode()
        case _:
            frame = chance.choice(_GOOD_FRAMES) | {chance.choice(_FIELDS): _json(chance, 2)}
            return json.dumps(frame).encode()


_GOOD_FRAMES: Sequence[Frame] = [
    {"type": "send"} | _text(to="thrower"),
    {"type": "sync", "after": 0},
    {"type": "ack", "inbox_seq": 1, "delivered": [{"session_id": "d:thrower:thrower", "seq": 1}]},
    {"type": "read", "session_id": "d:thrower:thrower", "seq": 1},
    {"type": "ping", "id": 1},
]
_FIELDS = (
    "type",
    "body",
    "to",
    "session_id",
    "client_msg_id",
    "reply_to",
    "mentions",
    "after",
    "delivered",
    "seq",
    "ref",
)


def _junk(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 200))


def _json(chance: random.Random, depth: int) -> Any:
    match chance.randrange(9 if depth else 7):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice([0, -1, 1, 2**53, 2**64, -(2**70), 10**30])
        case 3:
            return chance.choice([0.5, -0.0, 1e308, float("nan"), float("inf")])
        case 4:
            return "".join(chance.choice('aé水😀\x00\ud800"\\\n') for _ in range(chance.randrange(20)))
        case 5:
            return chance.choice(["", "d:thrower:thrower", "g:x", "text", "thrower"])
        case 6:
            return []
        case 7:
            return [_json(chance, depth - 1) for _ in range(chance.randrange(4))]
        case _:
            return {chance.choice(_FIELDS): _json(chance, depth - 1) for _ in range(chance.randrange(4))}
