"""What a client says on one connection, and what the connection answers."""

import json
from collections.abc import Sequence
from typing import Any

from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.effects import Effect
from services.gateway.protocol.identity import Identity
from tidings.errors import Refused

WALL_MS = 1_764_000_000_000
HOUR_MS = 3_600_000
MESSAGE = b'{"seq":1}'


def verify(token: str, wall_ms: int) -> Identity:
    """Tokens of these tests are `user` or `user/milliseconds`."""
    if token == "expired":
        raise Refused("token_expired", "get a new one")
    if not token or token == "bad":
        raise Refused("unauthorized", "sign it")
    user_id, _, valid_for_ms = token.partition("/")
    return Identity(user_id, int(valid_for_ms or HOUR_MS))


def opened(now_ms: int = 0, **rules: Any) -> Connection:
    return Connection("c1", ConnectionRules(verify, **rules), now_ms)


def receive(connection: Connection, *frames: object, now_ms: int = 0) -> Sequence[Effect]:
    text = "\n".join(frame if isinstance(frame, str) else json.dumps(frame) for frame in frames)
    return connection.received(text, now_ms, WALL_MS)


def hello(token: str = "alice", device_id: str = "phone") -> dict[str, object]:
    return {"type": "hello", "token": token, "device_id": device_id}


def signed_in(now_ms: int = 0, **rules: Any) -> Connection:
    connection = opened(now_ms, **rules)
    receive(connection, hello(), now_ms=now_ms)
    sent(connection)
    return connection


def send(**changes: object) -> dict[str, object]:
    frame = {"type": "send", "client_msg_id": "m1", "to": "bob", "kind": "text", "body": {"text": "hi"}}
    return {**frame, **changes}


def sent(connection: Connection) -> list[dict[str, Any]]:
    return [json.loads(line) for line in connection.take_outgoing().split("\n") if line]


def only(connection: Connection) -> dict[str, Any]:
    (frame,) = sent(connection)
    return frame


def close_code(connection: Connection) -> int | None:
    return connection.closing[0] if connection.closing else None
