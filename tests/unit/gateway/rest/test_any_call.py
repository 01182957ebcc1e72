"""Any REST call, with any body and query, is answered with a code and without a crash."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.rest.build import RestRules, build_rest
from services.gateway.tokens import Tokens, issue, secret_key
from tests.unit.gateway.parts import parts
from tests.unit.gateway.protocol.lines import almost_frames, int64, json_values, small_text
from tidings.errors import HTTP_STATUS

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"

group_names = st.sampled_from(
    ["client_msg_id", "name", "members", "user_ids", "user_id", "settings", "role", "muted_until"]
)
group_values = st.sampled_from(["bob", "admin", ["bob"], {"share_history": True}, {"who_can_add": "all"}, 0])
almost_groups = st.dictionaries(group_names, group_values | json_values, max_size=6)


async def client() -> httpx2.AsyncClient:
    """Of alice. A message that is well-formed finds the table of waiting calls full."""
    gateway = await parts(pending_calls=0)
    verify = Tokens([secret_key(SECRET)], "tidings").verify
    rules = RestRules(verify, SECRET.encode(), "tidings", b"k" * 32, gateway.store.deployment.fields())
    app: Any = build_rest(gateway.reads, gateway.submit, gateway.media, gateway.clock, rules)
    token, _ = issue(SECRET.encode(), "tidings", "alice", gateway.clock.wall_ms(), 60)
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://g", headers=headers)


requests = st.tuples(
    st.sampled_from(
        [
            ("POST", "/v1/tokens"),
            ("POST", "/v1/messages"),
            ("POST", "/v1/messages:batch"),
            ("PUT", "/v1/sessions/d:alice:bob/read"),
            ("POST", "/v1/groups"),
            ("PATCH", "/v1/groups/g:any"),
            ("DELETE", "/v1/groups/g:any"),
            ("POST", "/v1/groups/g:any/members"),
            ("PUT", "/v1/groups/g:any/members/bob"),
            ("DELETE", "/v1/groups/g:any/members/bob"),
            ("POST", "/v1/groups/g:any/transfer"),
        ]
    ),
    st.binary(max_size=60)
    | json_values.map(lambda value: json.dumps(value).encode())
    | almost_frames.map(str.encode)
    | almost_groups.map(lambda fields: json.dumps(fields).encode())
    | st.lists(almost_frames, max_size=3).map(lambda items: ('{"messages":[' + ",".join(items) + "]}").encode()),
)
queries = st.tuples(
    st.sampled_from(
        [
            "/v1/inbox",
            "/v1/sessions",
            "/v1/sessions/d:alice:bob/messages",
            "/v1/sessions/d:alice:bob/messages/1/receipts",
            "/v1/groups/g:any",
            "/v1/groups/g:any/members",
        ]
    ),
    st.dictionaries(
        st.sampled_from(["after", "limit", "before", "before_seq", "after_seq", "at"]),
        small_text | int64.map(str),
        max_size=3,
    ),
)


@pytest.mark.bad_input("B1")
@settings(max_examples=20)
@given(st.lists(requests, max_size=12), st.lists(queries, max_size=12), st.lists(small_text, max_size=3))
def test_any_call_is_answered_without_a_crash(
    calls: list[tuple[tuple[str, str], bytes]], reads: list[tuple[str, dict[str, str]]], paths: list[str]
) -> None:
    asyncio.run(_call(calls, reads, paths))


async def _call(
    calls: list[tuple[tuple[str, str], bytes]], reads: list[tuple[str, dict[str, str]]], paths: list[str]
) -> None:
    async with await client() as http:
        responses = [await http.request(method, path, content=content) for (method, path), content in calls]
        responses += [await http.get(path, params=query) for path, query in reads]
        responses += [await http.get(f"/v1/sessions/{quote(path, safe='')}") for path in paths]
    for response in responses:
        body = response.json()
        if response.status_code >= 400:
            assert response.status_code < 500 or body["code"] == "unavailable"
            assert body["code"] in HTTP_STATUS
            assert response.headers["content-type"] == "application/problem+json"


async def answer_to(method: str, path: str, **request: Any) -> httpx2.Response:
    async with await client() as http:
        return await http.request(method, path, **request)


@pytest.mark.parametrize(("limit", "status"), [("0" * 17, 400), ("9" * 5_000, 200), ("0" * 5_000 + "7", 200)])
async def test_a_limit_is_judged_by_its_value(limit: str, status: int) -> None:
    assert (await answer_to("GET", f"/v1/inbox?limit={limit}")).status_code == status


@pytest.mark.parametrize(("ttl_s", "status"), [(0, 400), (0.0, 400), (False, 400), (60.0, 200), ("", 200), (None, 200)])
async def test_a_time_to_live_of_0_is_refused(ttl_s: object, status: int) -> None:
    answer = await answer_to("POST", "/v1/tokens", json={"user_id": "alice", "ttl_s": ttl_s})
    assert answer.status_code == status


async def test_a_read_mark_may_be_a_whole_float() -> None:
    answer = await answer_to("PUT", "/v1/sessions/d:alice:bob/read", json={"seq": 5.0})
    assert answer.status_code == 200


async def test_a_wrong_method_names_the_right_ones() -> None:
    answer = await answer_to("DELETE", "/v1/inbox")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_message_without_an_id_gets_both_ways_to_give_it() -> None:
    answer = await answer_to("POST", "/v1/messages", json={"to": "bob"})
    assert "Idempotency-Key" in answer.json()["detail"]


async def test_a_lone_surrogate_in_a_call_is_named() -> None:
    answer = await answer_to("POST", "/v1/messages", content=b'{"to":"\\ud800"}')
    assert "surrogate" in answer.json()["detail"]
