"""Real answers of every call, held against the schemas of /openapi.json (`Deployment.call` does it)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployments import Deployment, deployed
from tests.unit.gateway.documented import Document
from tests.unit.gateway.media.pictures import picture, pixels


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path) as deployment:
        yield deployment


def message(client_msg_id: str, **fields: Any) -> dict[str, Any]:
    return {"client_msg_id": client_msg_id, "to": "bob", "kind": "text", "body": {"text": "hi"}, **fields}


async def test_answers_of_every_call_are_as_documented(there: Deployment) -> None:
    await there.call("alice", "POST", "/v1/tokens", {"user_id": "alice", "ttl_s": 60})
    await there.call("alice", "POST", "/v1/messages", message("m1", mentions=["bob"]))
    await there.call("bob", "POST", "/v1/messages", message("m2", to="alice", reply_to=1))
    batch = [message("m3"), message("m4", kind="custom", body={"type": "poll", "data": [1.5]}), {"to": 5}]
    await there.call("alice", "POST", "/v1/messages:batch", {"messages": batch})
    direct = "/v1/sessions/d:alice:bob"
    await there.call("bob", "PUT", f"{direct}/read", {"seq": 3})
    await there.call("alice", "GET", "/v1/inbox?after=0&limit=3")
    await there.call("alice", "GET", "/v1/inbox?after=1000")
    await there.call("alice", "GET", "/v1/sessions?limit=1")
    await there.call("alice", "GET", direct)
    await there.call("alice", "GET", "/v1/sessions/d:alice:nobody")
    await there.call("alice", "GET", f"{direct}/messages?after_seq=1000")
    await there.call("alice", "GET", f"{direct}/messages?before_seq=3&limit=1")
    await there.call("alice", "GET", f"{direct}/messages?at=1790000000000&limit=1")
    await there.call("alice", "GET", f"{direct}/messages/1/receipts")
    await there.call("alice", "PUT", "/v1/blocks/eve")
    await there.call("alice", "GET", "/v1/blocks")
    await there.call("alice", "DELETE", "/v1/blocks/eve")
    await group_calls(there)
    await media_calls(there)
    assert there.document is not None
    documented = {one["operationId"] for _, _, one in there.document.operations()}
    assert {name for name, status in there.document.seen if status < 300} == documented


async def group_calls(there: Deployment) -> None:
    await there.call("dora", "PUT", "/v1/blocks/alice")
    name = await there.group("alice", "bob", "carol", "dora", settings={"who_can_add": "admins"})
    group, session = f"/v1/groups/{name}", f"/v1/sessions/{name}"
    await there.call("alice", "GET", group)
    await there.call("alice", "PATCH", group, {"name": "Crew", "settings": {"share_history": True}})
    await there.call("alice", "POST", f"{group}/members", {"user_ids": ["bob", "erin", "dora"]})
    await there.call("alice", "POST", f"{group}/members", {"user_ids": ["bob"]})
    await there.call("alice", "PUT", f"{group}/members/bob", {"role": "admin", "muted_until": 4 * 10**12})
    await there.call("alice", "GET", f"{group}/members?limit=2")
    await there.call("alice", "POST", "/v1/messages", message("g1", to=None, session_id=name))
    await there.call("carol", "PUT", f"{session}/read", {"seq": 6})
    await there.call("alice", "GET", session)
    await there.call("alice", "GET", f"{session}/messages")
    await there.call("alice", "GET", f"{session}/messages/5/receipts?limit=1")
    await there.call("alice", "GET", "/v1/sessions")
    await there.call("alice", "DELETE", f"{group}/members/erin")
    await there.call("alice", "POST", f"{group}/transfer", {"user_id": "bob"})
    await there.call("bob", "DELETE", group)


async def media_calls(there: Deployment) -> None:
    uploaded = (
        await there.bytes("alice", "POST", "/v1/media", picture(image=pixels(640, 480)), X_File_Name="a.png")
    ).json()
    file = (await there.bytes("alice", "POST", "/v1/media", b"text", Content_Type="text/plain")).json()
    await there.bytes("alice", "GET", uploaded["thumb_url"])
    for headers in ({}, {"Range": "bytes=1-2"}, {"Range": "bytes=99-"}, {"If_None_Match": '"x"'}):
        await there.bytes("alice", "GET", file["url"], None, **headers)
    await there.bytes("bob", "GET", file["url"])
    await there.bytes("alice", "POST", "/v1/media", b"")


async def test_examples_of_the_document_are_taken(there: Deployment) -> None:
    """An example with a UUIDv7 would be `too_old` one day."""
    assert await there.call("alice", "GET", "/v1/blocks")
    assert there.document is not None
    for path, taken in (("/v1/tokens", 200), ("/v1/messages", 201), ("/v1/messages:batch", 200), ("/v1/groups", 201)):
        example = there.document.paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        status, answer = await there.call("alice", "POST", path, example)
        assert status == taken, answer


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", "/v1/messages", message("m1", body={"text": ""}), "invalid_body"),
        ("POST", "/v1/messages", message("m1", to=None, session_id="g:none"), "session_not_found"),
        ("POST", "/v1/messages", message("01800000-0000-7000-8000-000000000000"), "too_old"),
        ("POST", "/v1/messages", message("fffffff0-0000-7000-8000-000000000000"), "clock_skew"),
        ("POST", "/v1/messages", message("m1", body={"text": "x" * 70_000}), "too_large"),
        ("GET", "/v1/sessions/d:bob:carol", None, "session_not_found"),
        ("GET", "/v1/sessions/d:alice:bob/messages?before_seq=1&after_seq=1", None, "invalid_frame"),
        ("GET", "/v1/sessions/d:alice:bob/messages/1/receipts", None, "message_not_found"),
        ("GET", "/v1/sessions/d:alice:bob/messages/x/receipts", None, "invalid_frame"),
        ("GET", "/v1/sessions?before=x", None, "invalid_frame"),
        ("GET", "/v1/groups/g:none/members?after=a%20b", None, "session_not_found"),
        ("DELETE", "/v1/groups/g:none", None, "session_not_found"),
        ("PUT", "/v1/blocks/alice", None, "invalid_frame"),
    ],
)
async def test_errors_are_as_documented(there: Deployment, method: str, path: str, body: Any, code: str) -> None:
    _, problem = await there.call("alice", method, path, body)
    assert problem["code"] == code


async def test_a_limited_call_is_as_documented(tmp_path: Path) -> None:
    async with deployed(tmp_path, messages_per_s=1, burst=1) as there:
        statuses = [(await there.call("alice", "POST", "/v1/messages", message(f"m{at}")))[0] for at in range(2)]
        batch = {"messages": [message("m3")]}
        (refused,) = (await there.call("alice", "POST", "/v1/messages:batch", batch))[1]["results"]
    assert statuses == [201, 429]
    assert refused["retry_after_ms"] > 0


async def test_a_field_that_is_not_documented_is_noticed(there: Deployment) -> None:
    _, openapi = await there.call("alice", "GET", "/openapi.json")
    del openapi["components"]["schemas"]["BlockList"]["properties"]["blocks"]
    there.document = Document.of(openapi)
    with pytest.raises(AssertionError, match="list_blocks"):
        await there.call("alice", "GET", "/v1/blocks")


async def test_a_status_that_is_not_documented_is_noticed(there: Deployment) -> None:
    _, openapi = await there.call("alice", "GET", "/openapi.json")
    del openapi["paths"]["/v1/sessions/{session_id}"]["get"]["responses"]["404"]
    there.document = Document.of(openapi)
    with pytest.raises(AssertionError, match="not documented"):
        await there.call("alice", "GET", "/v1/sessions/d:bob:carol")
