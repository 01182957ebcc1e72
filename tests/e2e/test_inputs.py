"""Texts, numbers and sizes from the field on real servers: stored, refused alone, and shown whole."""

import json
import uuid
from typing import Any

import pytest

from deploy.local.stack import Stack
from tests.e2e import raw
from tests.e2e.raw import call, rest_of, signed_in
from tests.sockets import Frame
from tidings_client import Client, SendFailed, development_tokens

FAMILY = "👨‍👩‍👧‍👦"
EMOJI = "\\ud83d\\ude00"


def _text(text: str = "hello", **changes: Any) -> Frame:
    return raw.text(text, **{"to": "input-peer", **changes})


@pytest.mark.field_case("8", "9")
async def test_names_that_hide_or_turn_are_refused(stack: Stack) -> None:
    async with rest_of(stack, "input-names") as http:
        for name in ("\u200b", "\u2800", "\u3164", "\u00ad", "\ufe0f", "\uffff", "a\u061cb", "a\u202eb"):
            answer = await http.post("/v1/groups", json={"client_msg_id": uuid.uuid4().hex, "name": name})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_frame"), ascii(name)
        for name in (FAMILY, "می\u200cخواهم", "e\u0301", "1️⃣"):
            made = await http.post("/v1/groups", json={"client_msg_id": uuid.uuid4().hex, "name": name})
            assert made.status_code == 201, made.text


@pytest.mark.field_case("10")
async def test_a_preview_on_real_tables_is_one_whole_line(stack: Stack) -> None:
    user = f"input-{uuid.uuid4().hex[:8]}"
    async with rest_of(stack, user) as http:
        for text, preview in (
            ("a" * 99 + FAMILY, "a" * 99),
            ("\u202egnp.exe", "gnp.exe"),
            ("1\n2\x00\n3\x1b", "1 2 3"),
        ):
            stored = await call(http, "POST", "/v1/messages", **_text(text))
            session = (await http.get(f"/v1/sessions/{stored['session_id']}")).json()
            assert session["head"]["preview"] == preview
            history = (await http.get(f"/v1/sessions/{stored['session_id']}/messages?limit=1")).json()
            assert history["messages"][0]["body"]["text"] == text


@pytest.mark.field_case("11", "13")
async def test_a_batch_stores_the_good_and_numbers_are_values(stack: Stack) -> None:
    def custom(name: str, number: str) -> str:
        return json.dumps(_text(client_msg_id=name, kind="custom", body={"type": "t", "data": "N"})).replace(
            '"N"', number
        )

    async with rest_of(stack, f"input-{uuid.uuid4().hex[:8]}") as http:
        entries = [
            json.dumps(_text()),
            json.dumps(_text("S")).replace('"S"', '"\\ud83d"'),
            custom("n1", "1e19"),
            custom("n2", "NaN"),
            json.dumps(_text()),
        ]
        answer = await http.post("/v1/messages:batch", content='{"messages":[' + ",".join(entries) + "]}")
        results = answer.json()["results"]
        assert [result.get("code") for result in results] == [None, "invalid_frame", None, "invalid_frame", None]
        again = await http.post("/v1/messages", content=custom("n1", "10000000000000000000"))
        assert (again.status_code, again.json()["duplicate"]) == (201, True)
        other = await http.post("/v1/messages", content=custom("n1", "10000000000000000001"))
        assert (other.status_code, other.json()["code"]) == (409, "conflict")


@pytest.mark.field_case("12")
async def test_a_send_above_the_limit_keeps_its_connection(stack: Stack) -> None:
    big = json.dumps({"type": "send"} | _text("B", client_msg_id="big")).replace('"B"', f'"{EMOJI * 6_144}"')
    async with signed_in(stack, f"input-{uuid.uuid4().hex[:8]}") as socket:
        await socket.send({"type": "send"} | _text(client_msg_id="before"))
        await socket.connection.send(big)
        await socket.send({"type": "send"} | _text(client_msg_id="after"))
        refused = await socket.like(type="send_error", client_msg_id="big")
        assert (refused["code"], refused["retryable"]) == ("too_large", False)
        await socket.like(type="send_ack", client_msg_id="after")


@pytest.mark.field_case("12")
async def test_sdk_sends_emoji_as_utf_8_and_fails_what_is_too_large(stack: Stack) -> None:
    token = development_tokens(stack.url(), "input-sdk")
    async with Client(stack.url(), token) as client:
        await client.connected()
        large = await client.send("x" * 70_000, to="input-peer")
        legal = await client.send("😀" * 6_144, to="input-peer")
        with pytest.raises(SendFailed, match="too_large"):
            await large.acked()
        await legal.acked()
