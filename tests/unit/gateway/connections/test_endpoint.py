"""The socket's endpoint: a handshake that is refused, and a connection that a fault ends."""

import json
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.gateway.reads.inbox import InboxPage
from tests.builders import bucket, inbox_row, session, write_confirmed
from tests.deployments import deployed
from tests.fakes.cold import FakeCold
from tests.unit.gateway.parts import hello, parts


async def test_fault_closes_the_connection_with_a_code_and_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_asked: object) -> InboxPage:
        raise ValueError("a bug")

    gateway = await parts()
    monkeypatch.setattr(gateway.reads.inbox, "page", broken)
    with capture_logs() as logs:
        said = await gateway.converse(hello("alice"), '{"type":"sync","after":0}', is_closed=True)
    assert said[-1]["code"] == 4503
    assert [(one["user_id"], one["code"]) for one in logs if one["event"] == "connection closed"] == [("alice", 4503)]
    assert len(gateway.connections.registry) == 0
    await gateway.submit.publisher.flush(1)


async def test_sync_of_an_unreadable_archived_message_says_so(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        await write_confirmed(there.store, [*session("d:alice:bob", 3), bucket("alice", 0, 1), inbox_row("alice", 1)])
        await FakeCold().take(there.store, "d:alice:bob", 1)
        (error,) = await there.answers("alice", {"type": "sync", "after": 0})
        assert error["code"] == "unavailable"
        assert error["message"] == (
            "archived messages cannot be read now; sync again, and if it lasts, the operator has to repair them"
        )


@pytest.mark.parametrize(
    ("scope", "status", "code"),
    [
        ({"path": "/elsewhere"}, 404, "invalid_frame"),
        ({"headers": [(b"origin", b"https://evil.example")]}, 403, "origin_not_allowed"),
        ({"subprotocols": []}, 400, "invalid_frame"),
    ],
)
async def test_a_refused_handshake_is_a_problem_with_a_code(scope: dict[str, Any], status: int, code: str) -> None:
    begin, body = await (await parts()).converse(**scope)
    assert (begin["status"], json.loads(body["body"])["code"]) == (status, code)
    assert (b"content-type", b"application/problem+json") in begin["headers"]
