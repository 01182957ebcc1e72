"""REST of a real gateway over the memory adapters."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest

from services.gateway.settings import GatewaySettings, GroupIdSettings
from tests.deployments import running, settings
from tests.faults.broker import FaultyBroker
from tests.faults.store import FaultyStore
from tests.stored_rows import fill_inbox, fill_session, message_row
from tidings.store.base import TaggedRow
from tidings.store.rows import DeliveredRow, ReadRow, Row, SentRow, UserSessionRow
from tidings.store.segment_rows import SegmentRow
from tidings.topics import RECEIPTS_INBOUND
from tidings.wire.common_pb2 import Refusal
from tidings.wire.push_pb2 import Push, SendError
from tidings.wire.receipts_pb2 import Receipt


def message(client_msg_id: object = "m1", **changes: object) -> dict[str, object]:
    return {"client_msg_id": client_msg_id, "to": "bob", "kind": "text", "body": {"text": "hi"}, **changes}


def is_problem(response: httpx2.Response, status: int, code: str) -> bool:
    body = response.json()
    assert (response.status_code, body["code"], body["status"]) == (status, code, status), body
    assert response.headers["content-type"] == "application/problem+json"
    assert body["detail"]
    return True


async def test_a_posted_message_waits_for_its_ack(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        posting = asyncio.create_task(rest.post("/v1/messages", json=message()))
        (command,) = await gateway.commands(1)
        assert (command.session_id, command.sender_id) == ("d:alice:bob", "alice")
        await gateway.ack(command, seq=3)
        response = await posting
        assert response.status_code == 201
        assert response.json() == {
            "client_msg_id": "m1",
            "message_id": "1003",
            "session_id": "d:alice:bob",
            "seq": 3,
            "at": 5,
            "duplicate": False,
        }


async def test_the_persisters_refusal_is_a_problem(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        posting = asyncio.create_task(rest.post("/v1/messages", json=message()))
        (command,) = await gateway.commands(1)
        refusal = Refusal(code="conflict", text="other content under this id")
        error = SendError(origin=command.origin, client_msg_id="m1", refusal=refusal)
        await gateway.push(Push(gateway_epoch=command.origin.gateway_epoch, send_error=error))
        assert is_problem(await posting, 409, "conflict")


async def test_the_idempotency_key_stands_for_the_client_msg_id(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        headers = {"Idempotency-Key": "key-1"}
        posting = asyncio.create_task(rest.post("/v1/messages", json=message(None), headers=headers))
        (command,) = await gateway.commands(1)
        assert command.client_msg_id == "key-1"
        await gateway.ack(command, 1)
        assert (await posting).status_code == 201
        response = await rest.post("/v1/messages", json=message("other"), headers=headers)
        assert is_problem(response, 400, "invalid_frame")
        assert is_problem(await rest.post("/v1/messages", json=message(None)), 400, "invalid_frame")


async def test_without_an_answer_the_outcome_is_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.gateway.submit.pending_calls.WAIT_S", 0.1)
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        response = await rest.post("/v1/messages", json=message())
        assert is_problem(response, 504, "timeout")
        assert response.json()["retryable"] is True


async def test_an_unreachable_log_is_unavailable(tmp_path: Path) -> None:
    broker = FaultyBroker(timeout_s=0.2)
    async with running(settings(tmp_path), broker=broker) as gateway, gateway.rest("alice") as rest:
        broker.stall()
        assert is_problem(await rest.post("/v1/messages", json=message()), 503, "unavailable")
        broker.heal()


async def test_a_batch_answers_each_message_in_order(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        batch = [message("m1"), message("m2", kind="dance"), 5, message("m3", to="carol"), message(7)]
        posting = asyncio.create_task(rest.post("/v1/messages:batch", json={"messages": batch}))
        for command in await gateway.commands(2):
            await gateway.ack(command, 1)
        response = await posting
        assert response.status_code == 200
        results = response.json()["results"]
        assert [(result.get("client_msg_id"), result.get("seq"), result.get("code")) for result in results] == [
            ("m1", 1, None),
            ("m2", None, "invalid_body"),
            (None, None, "invalid_frame"),
            ("m3", 1, None),
            (None, None, "invalid_frame"),
        ]


async def test_rates_count_messages_and_name_the_time_to_retry(tmp_path: Path) -> None:
    async with running(settings(tmp_path, messages_per_s=1, burst=1)) as gateway, gateway.rest("alice") as rest:
        posting = asyncio.create_task(rest.post("/v1/messages", json=message()))
        (command,) = await gateway.commands(1)
        await gateway.ack(command, 1)
        await posting
        response = await rest.post("/v1/messages", json=message("m2"))
        assert is_problem(response, 429, "rate_limited")
        assert 0 < response.json()["retry_after_ms"] <= 1_001
        assert response.headers["retry-after"] == "1"


BAD_CALLS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/v1/messages", b"{", 400, "invalid_frame"),
    ("POST", "/v1/messages", b"[]", 400, "invalid_frame"),
    ("POST", "/v1/messages", b"\xff\xfe", 400, "invalid_frame"),
    ("POST", "/v1/messages", b"", 400, "invalid_frame"),
    ("POST", "/v1/messages", b'{"a":' * 40 + b"1" + b"}" * 40, 400, "invalid_frame"),
    ("POST", "/v1/messages", b'{"client_msg_id":"\\ud800"}', 400, "invalid_frame"),
    ("POST", "/v1/messages", b"x" * 65_537, 413, "too_large"),
    ("POST", "/v1/messages", message(body={"text": "x" * 8001}), 400, "invalid_body"),
    ("POST", "/v1/messages", message(to="a b"), 400, "invalid_frame"),
    ("POST", "/v1/messages", message("x" * 65), 400, "invalid_frame"),
    ("POST", "/v1/messages:batch", {"messages": []}, 400, "invalid_frame"),
    ("POST", "/v1/messages:batch", {"messages": [{}] * 101}, 400, "invalid_frame"),
    ("POST", "/v1/messages:batch", b"x" * (1024 * 1024 + 1), 413, "too_large"),
    ("POST", "/v1/tokens", {"user_id": "a b"}, 400, "invalid_frame"),
    ("POST", "/v1/tokens", {"user_id": "a", "ttl_s": -1}, 400, "invalid_frame"),
    ("GET", "/v1/inbox?after=-1", None, 400, "invalid_frame"),
    ("GET", "/v1/inbox?after=x", None, 400, "invalid_frame"),
    ("GET", "/v1/inbox?after=99999999999999999999", None, 400, "invalid_frame"),
    ("GET", "/v1/inbox?limit=0", None, 400, "invalid_frame"),
    ("GET", "/v1/inbox?limit=-3", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions?before=nonsense", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions?before=%ff%fe", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions/d:bob:alice", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions/nonsense", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions/d:bob:carol", None, 404, "session_not_found"),
    ("GET", "/v1/sessions/g:guessed", None, 404, "session_not_found"),
    ("GET", "/v1/sessions/d:alice:bob/messages?before_seq=1&after_seq=1", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions/d:alice:bob/messages?before_seq=0", None, 400, "invalid_frame"),
    ("GET", "/v1/sessions/g:guessed/messages", None, 404, "session_not_found"),
    ("PUT", "/v1/sessions/d:alice:bob/read", {"seq": 0}, 400, "invalid_frame"),
    ("PUT", "/v1/sessions/d:alice:bob/read", {"seq": "1"}, 400, "invalid_frame"),
    ("PUT", "/v1/sessions/d:bob:carol/read", {"seq": 1}, 404, "session_not_found"),
    ("GET", "/v1/sessions/d:alice:bob/messages/7/receipts", None, 404, "message_not_found"),
    ("GET", "/v1/sessions/d:alice:bob/messages/x/receipts", None, 400, "invalid_frame"),
    ("PUT", "/v1/blocks/alice", None, 400, "invalid_frame"),
    ("PUT", "/v1/blocks/a%20b", None, 400, "invalid_frame"),
    ("POST", "/v1/nothing", {}, 404, "invalid_frame"),
    ("POST", "/v1/tokens", {"user_id": ".."}, 400, "invalid_frame"),
    ("POST", "/v1/messages", message(to=".."), 400, "invalid_frame"),
    ("POST", "/v1/messages", message(to=None, session_id="d:..:alice"), 400, "invalid_frame"),
    ("POST", "/v1/messages", message(mentions=["."]), 400, "invalid_body"),
    ("GET", "/v1/sessions/d:...:alice", None, 400, "invalid_frame"),
    ("PUT", "/v1/blocks/...", None, 400, "invalid_frame"),
    ("POST", "/v1/groups", {"client_msg_id": "m", "name": "n", "members": [".."]}, 400, "invalid_frame"),
    ("POST", "/v1/groups/g:x/members", {"user_ids": ["bob", "."]}, 400, "invalid_frame"),
    ("DELETE", "/v1/groups/g:x/members/...", None, 400, "invalid_frame"),
    ("PUT", "/v1/groups/g:x/members/...", {"role": "admin"}, 400, "invalid_frame"),
    ("POST", "/v1/groups/g:x/transfer", {"user_id": ".."}, 400, "invalid_frame"),
    ("GET", "/v1/groups/g:x/members?after=..", None, 404, "session_not_found"),
    ("POST", "/v1/groups", {}, 400, "invalid_frame"),
    ("DELETE", "/v1/sessions", None, 405, "invalid_frame"),
    ("GET", "/", None, 404, "invalid_frame"),
]


@pytest.mark.bad_input("B1")
async def test_every_malformed_call_gets_its_code_and_a_text(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        for method, path, body, status, code in BAD_CALLS:
            content = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
            response = await rest.request(method, path, content=content)
            assert is_problem(response, status, code), (method, path)


@pytest.mark.promise("G11")
async def test_missing_session_looks_like_one_of_other_users(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_session(store, [1], "d:bob:carol")
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        there, not_there = [await rest.get(f"/v1/sessions/{name}") for name in ("d:bob:carol", "d:bob:nobody")]
        assert there.content == not_there.content


async def test_tokens_are_judged(tmp_path: Path) -> None:
    key = (tmp_path / "dev.key").read_text
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        claims: dict[str, Any] = {"sub": "alice", "aud": "tidings", "iat": 1, "exp": 4_000_000_000}
        for changes, code in (
            ({}, 200),
            ({"exp": 5}, "token_expired"),
            ({"exp": None}, "unauthorized"),
            ({"aud": "other"}, "unauthorized"),
            ({"sub": "a b"}, "unauthorized"),
        ):
            changed = {name: value for name, value in {**claims, **changes}.items() if value is not None}
            token = jwt.encode(changed, key(), algorithm="HS256")
            response = await rest.get("/v1/blocks", headers={"Authorization": f"Bearer {token}"})
            assert response.json()["code"] == code if code != 200 else response.status_code == 200
        for header in ("", "Bearer", "Bearer x", "Basic x", "Bearer " + "x" * 9_000):
            response = await rest.get("/v1/blocks", headers={"Authorization": header})
            assert is_problem(response, 401, "unauthorized")


async def test_outside_development_mode_no_tokens_are_given_out(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    secret = "a-secret-of-production-that-is-long-0123456789"
    tokens = chosen.tokens.model_copy(update={"secret": secret})
    process = chosen.process.model_copy(update={"development": False})
    groups = GroupIdSettings(id_secret=secret)
    chosen = GatewaySettings(**{**dict(chosen), "process": process, "tokens": tokens, "groups": groups})
    async with running(chosen) as gateway, httpx2.AsyncClient(base_url=gateway.url) as http:
        assert is_problem(await http.post("/v1/tokens", json={"user_id": "alice"}), 403, "forbidden")
    assert not (tmp_path / "dev.key").exists()


async def test_history_is_paged_both_ways(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_session(store, range(1, 121))
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:

        async def page(query: str) -> tuple[int, int, int, bool]:
            body = (await rest.get(f"/v1/sessions/d%3Aalice%3Abob/messages{query}")).json()
            seqs = [item["seq"] for item in body["messages"]]
            assert seqs == list(range(seqs[0], seqs[-1] + 1))
            return seqs[0], seqs[-1], body["head_seq"], body["has_more"]

        assert await page("") == (71, 120, 120, True)
        assert await page("?before_seq=11&limit=10") == (1, 10, 120, False)
        assert await page("?before_seq=21&limit=10") == (11, 20, 120, True)
        assert await page("?after_seq=100&limit=9999") == (101, 120, 120, False)
        assert await page("?after_seq=0&limit=20") == (1, 20, 120, True)
        empty = (await rest.get("/v1/sessions/d:alice:bob/messages?after_seq=500")).json()
        assert empty == {"messages": [], "head_seq": 120, "has_more": False, "ahead": True}
        unbegun = (await rest.get("/v1/sessions/d:alice:zoe/messages")).json()
        assert unbegun == {"messages": [], "head_seq": 0, "has_more": False}


async def test_a_page_of_long_messages_ends_before_256_kib(tmp_path: Path) -> None:
    store = FaultyStore()
    body = json.dumps({"text": "x" * 8000}).encode()
    rows: list[Row] = [SegmentRow("d:alice:bob", 1, 1, 202611, 0, 1)]
    rows += [message_row(seq, body=body) for seq in range(1, 101)]
    await store.write([TaggedRow(0, row) for row in rows])
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        newest = await rest.get("/v1/sessions/d:alice:bob/messages?limit=200")
        assert len(newest.content) < 256 * 1024
        assert newest.json()["messages"][-1]["seq"] == 100
        assert newest.json()["has_more"] is True
        oldest = await rest.get("/v1/sessions/d:alice:bob/messages?limit=200&after_seq=0")
        assert oldest.json()["messages"][0]["seq"] == 1
        assert oldest.json()["has_more"] is True


@pytest.mark.promise("G7")
async def test_the_inbox_is_paged_across_buckets_and_expired_rows(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_inbox(store, "alice", range(41, 51), first=1)
    await fill_inbox(store, "alice", range(5001, 5004), first=5001)
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:

        async def page(after: int) -> tuple[list[int], int, int, bool, bool]:
            body = (await rest.get(f"/v1/inbox?after={after}&limit=200")).json()
            assert body.get("ahead", False) is (after > body["tail"])
            numbers = [item["inbox_seq"] for item in body["items"]]
            return numbers, body["next"], body["tail"], body["more"], body["truncated"]

        assert await page(0) == (list(range(41, 51)), 50, 5003, True, True)
        assert await page(45) == (list(range(46, 51)), 50, 5003, True, False)
        assert await page(50) == ([5001, 5002, 5003], 5003, 5003, False, True)
        assert await page(5003) == ([], 5003, 5003, False, False)
        assert await page(9000) == ([], 5003, 5003, False, False)


@pytest.mark.hazard("H9")
async def test_an_expired_inbox_says_where_to_continue(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_inbox(store, "alice", [], first=1)
    await fill_inbox(store, "alice", [], first=5001)
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        body = (await rest.get("/v1/inbox?after=12")).json()
        assert body.pop("deployment")["id"]
        assert body == {"after": 12, "items": [], "next": 5000, "tail": 5000, "more": False, "truncated": True}


@pytest.mark.promise("G9")
async def test_sessions_descend_with_unread_and_watermarks(tmp_path: Path) -> None:
    store = FaultyStore()
    for number, peer in enumerate(("bob", "carol", "dave")):
        session_id = f"d:alice:{peer}"
        rows: list[Row] = [
            SegmentRow(session_id, 1, 1, 202611, 0, 1),
            message_row(1, session_id, "alice", at=100 + number),
            message_row(2, session_id, peer, at=200 + number),
            message_row(3, session_id, peer, at=300 + number),
            UserSessionRow("alice", session_id, 1, 0, 0, 1),
            SentRow(session_id, "alice", 1, 1),
            DeliveredRow(session_id, peer, 1),
        ]
        await store.write([TaggedRow(0, row) for row in rows])
    await store.write([TaggedRow(0, ReadRow("d:alice:carol", "alice", 2, 2, 250))])
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        first = (await rest.get("/v1/sessions?limit=2")).json()
        assert [item["session_id"] for item in first["sessions"]] == ["d:alice:dave", "d:alice:carol"]
        second = (await rest.get("/v1/sessions", params={"before": first["next"]})).json()
        assert [item["session_id"] for item in second["sessions"]] == ["d:alice:bob"]
        assert "next" not in second
        assert first["sessions"][1] == {
            "session_id": "d:alice:carol",
            "session_kind": "direct",
            "mode": "write",
            "head": {"seq": 3, "at": 301, "sender_id": "carol", "preview": "message 3"},
            "unread": 1,
            "read_seq": 2,
            "delivered_seq": 2,
            "peer": {"user_id": "carol", "delivered_seq": 1, "read_seq": 0},
        }
        assert [item["unread"] for item in first["sessions"]] == [2, 1]
        assert (await rest.get("/v1/sessions/d:alice:carol")).json() == first["sessions"][1]
        unbegun = (await rest.get("/v1/sessions/d:alice:zoe")).json()
        assert (unbegun["head"], unbegun["unread"]) == ({"seq": 0}, 0)


async def test_a_read_mark_is_clamped_to_the_head_and_published(tmp_path: Path) -> None:
    store = FaultyStore()
    await fill_session(store, range(1, 4))
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        calling = asyncio.create_task(rest.put("/v1/sessions/d:alice:bob/read", json={"seq": 99}))
        (record,) = await gateway.records(RECEIPTS_INBOUND, 1)
        assert Receipt.FromString(record.value or b"").read_seq == 3
        assert not calling.done()
        await store.write([TaggedRow(0, ReadRow("d:alice:bob", "alice", 3, 3, 1))])
        assert (await calling).json() == {"session_id": "d:alice:bob", "read_seq": 3, "delivered_seq": 3}


async def test_author_gets_the_readers_of_a_message(tmp_path: Path) -> None:
    store = FaultyStore()
    rows: list[Row] = [SegmentRow("d:alice:bob", 1, 1, 202611, 0, 1), message_row(1, sender_id="alice"), message_row(2)]
    await store.write([TaggedRow(0, row) for row in rows])
    await store.write([TaggedRow(0, ReadRow("d:alice:bob", "bob", 1, 1, 77))])
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        path = "/v1/sessions/d:alice:bob/messages/{}/receipts"
        expected = {"delivered": ["bob"], "read": [{"user_id": "bob", "at": 77}], "members": 1}
        assert (await rest.get(path.format(1))).json() == expected
        assert is_problem(await rest.get(path.format(2)), 403, "forbidden")


async def test_blocks_are_kept_listed_and_taken_back(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as alice, gateway.rest("bob") as bob:
        assert (await bob.put("/v1/blocks/alice")).status_code == 204
        assert (await bob.get("/v1/blocks")).json() == {"blocks": ["alice"]}
        assert is_problem(await alice.post("/v1/messages", json=message()), 403, "user_blocked")
        assert (await bob.delete("/v1/blocks/alice")).status_code == 204
        posting = asyncio.create_task(alice.post("/v1/messages", json=message()))
        (command,) = await gateway.commands(1)
        await gateway.ack(command, 1)
        assert (await posting).status_code == 201


async def test_with_the_tables_away_reads_are_unavailable(tmp_path: Path) -> None:
    store = FaultyStore()
    store.stall()
    async with running(settings(tmp_path), store=store) as gateway, gateway.rest("alice") as rest:
        for path in ("/v1/inbox", "/v1/sessions", "/v1/sessions/d:alice:bob/messages", "/v1/blocks"):
            assert is_problem(await rest.get(path), 503, "unavailable")
        assert is_problem(await rest.post("/v1/messages", json=message()), 503, "unavailable")


async def test_the_calls_are_described(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, httpx2.AsyncClient(base_url=gateway.url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
        assert "requestBody" in paths["/v1/messages:batch"]["post"]
        page = await http.get("/docs")
        assert "/v1/sessions/{session_id}/read" in page.text
        assert "http" not in page.text.replace("text/html", "").replace("charset", "")
