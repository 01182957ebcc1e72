"""Ids of dots only come in by no edge that needs no tables."""

import json
from collections.abc import Callable

import pytest

from services.gateway.protocol import group_commands as commands
from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.tokens import Tokens, issue, secret_key
from tidings.errors import Refused

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
NOW_MS = 10**12


def signed_in() -> Connection:
    connection = Connection("c", ConnectionRules(lambda _token, _wall_ms: Identity("alice", 3_600_000)), 0)
    connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, NOW_MS)
    connection.take_outgoing()
    return connection


def answers(connection: Connection, frame: dict[str, object]) -> list[dict[str, object]]:
    assert not list(connection.received(json.dumps(frame), 0, NOW_MS))
    return [json.loads(line) for line in (connection.take_outgoing() or "").split("\n")]


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "...", "." * 64])
def test_frames_with_an_id_of_dots_are_refused(dots: str) -> None:
    send = {"type": "send", "client_msg_id": "m", "kind": "text", "body": {"text": "x"}}
    for fields, code in (
        ({"to": dots}, "invalid_frame"),
        ({"session_id": f"d:{dots}:alice"}, "invalid_frame"),
        ({"to": "bob", "mentions": [dots]}, "invalid_body"),
    ):
        (answer,) = answers(signed_in(), {**send, **fields})
        assert (answer["type"], answer["code"]) == ("send_error", code)
    connection = Connection("c", ConnectionRules(lambda _token, _wall_ms: Identity("alice", 1)), 0)
    (answer,) = answers(connection, {"type": "hello", "token": "t", "device_id": dots})
    assert (answer["code"], answer["fatal"]) == ("invalid_frame", True)


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_token_of_dots_is_unauthorized(dots: str) -> None:
    token, _ = issue(SECRET.encode(), "tidings", dots, NOW_MS, 60)
    with pytest.raises(Refused) as refused:
        Tokens([secret_key(SECRET)], "tidings").verify(token, NOW_MS)
    assert refused.value.code == "unauthorized"


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_group_commands_about_dots_are_refused(dots: str) -> None:
    asker = commands.Asker("alice", "m")
    calls: list[Callable[[], object]] = [
        lambda: commands.creating(asker, b"k" * 32, {"name": "n", "members": [dots]}),
        lambda: commands.adding(asker, "g:x", {"user_ids": ["bob", dots]}),
        lambda: commands.removing(asker, "g:x", dots),
        lambda: commands.changing_member(asker, "g:x", dots, {"role": "admin"}),
        lambda: commands.transferring(asker, "g:x", {"user_id": dots}),
    ]
    for call in calls:
        with pytest.raises(Refused) as refused:
            call()
        assert refused.value.code == "invalid_frame"
