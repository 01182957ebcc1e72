"""The edges of HTTP and a list that moves, on the whole stack."""

import asyncio
import random
import uuid
from urllib.parse import urlsplit

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.raw import rest_of, text
from tests.integration.test_gateway_http import UPGRADE, wired
from tests.waiting import becomes

SESSIONS, PAGE = 120, 50


async def listed(*gateways: httpx2.AsyncClient, moving: list[str]) -> list[str]:
    """All pages, each from the next gateway; between two pages the caller writes to some of these users."""
    seen: list[str] = []
    following: str | None = ""
    for number in range(SESSIONS):
        if following is None:
            return seen
        query: dict[str, str | int] = {"limit": PAGE, "before": following}
        page = (await gateways[number % len(gateways)].get("/v1/sessions", params=query)).raise_for_status().json()
        seen += [session["session_id"] for session in page["sessions"]]
        following = page.get("next")
        for to in moving[number::3]:
            (await gateways[(number + 1) % len(gateways)].post("/v1/messages", json=text(to=to))).raise_for_status()
    pytest.fail("next has no end")


@pytest.mark.field_case("21")
async def test_list_that_moves_is_followed_whole(stack: Stack) -> None:
    user, peers = f"lister-{uuid.uuid4().hex[:8]}", [f"peer-{number:03d}" for number in range(SESSIONS)]
    names = {f"d:{user}:{peer}" for peer in peers}
    async with rest_of(stack, user, 0) as one, rest_of(stack, user, 1) as other:
        for begin in range(0, SESSIONS, 60):
            batch = {"messages": [text(to=peer) for peer in peers[begin : begin + 60]]}
            results = (await one.post("/v1/messages:batch", json=batch)).raise_for_status().json()["results"]
            assert all("seq" in result for result in results)

        async def in_both() -> set[str]:
            return {*await listed(one, moving=[])} & {*await listed(other, moving=[])}

        await becomes(in_both, names)
        # Place 80 from the top, then some from everywhere.
        assert {*await listed(one, moving=[peers[SESSIONS - 80]])} == names
        for gateways in ((one,), (one, other), (other, one)):
            assert {*await listed(*gateways, moving=random.sample(peers, 12))} == names


@pytest.mark.field_case("1")
async def test_no_spelling_of_a_member_dissolves_a_group(stack: Stack) -> None:
    user, other = f"owner-{uuid.uuid4().hex[:8]}", f"member-{uuid.uuid4().hex[:8]}"
    port = urlsplit(stack.url()).port or 0
    async with rest_of(stack, user) as http:
        made = {"client_msg_id": uuid.uuid4().hex, "name": "n", "members": [other]}
        group = (await http.post("/v1/groups", json=made)).raise_for_status().json()["session_id"]
        head = f"Host: x\r\nAuthorization: {http.headers['authorization']}\r\n\r\n"
        for rest in ("/", "//", "/members/..", "/members/.", "/members/%2e%2e", "/members/", f"%2Fmembers%2F{other}"):
            answer = await wired(port, f"DELETE /v1/groups/{group}{rest} HTTP/1.1\r\n{head}")
            assert (answer.status in (400, 404), answer.problem["code"]) == (True, "invalid_frame"), rest
        for body in ({"members": [".."]}, {"members": ["."]}):
            refused = await http.post("/v1/groups", json={**made, **body, "client_msg_id": uuid.uuid4().hex})
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_frame")
        members = (await http.get(f"/v1/groups/{group}/members")).raise_for_status().json()["members"]
        assert {member["user_id"] for member in members} == {user, other}


@pytest.mark.field_case("31", "32")
async def test_socket_path_and_own_host_on_the_stack(stack: Stack) -> None:
    address = urlsplit(stack.url())
    head = f"Host: {address.netloc}\r\nOrigin: http://{address.netloc}\r\n"
    for more, status in (("", 426), ("Content-Length: 5\r\n", 400), (UPGRADE + "Content-Length: 5\r\n", 400)):
        answer = await wired(address.port or 0, f"GET /v1/ws HTTP/1.1\r\n{head}{more}\r\n")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, f"http://{address.netloc}")
    assert (await wired(address.port or 0, f"GET /v1/ws HTTP/1.1\r\n{head}{UPGRADE}\r\n")).status == 101


@pytest.mark.field_case("36")
async def test_retry_after_the_stated_wait_succeeds_on_the_stack(stack: Stack) -> None:
    """Batches of 100 until the rate is met; each that is refused is repeated whole after its wait."""
    refused = 0
    async with rest_of(stack, f"hasty-{uuid.uuid4().hex[:8]}") as http:
        for _ in range(25):
            batch = {"messages": [text(to=f"hasty-peer-{number % 20}") for number in range(100)]}
            results = (await http.post("/v1/messages:batch", json=batch)).raise_for_status().json()["results"]
            waits = [one["retry_after_ms"] for one in results if one.get("code") == "rate_limited"]
            if waits:
                refused += 1
                await asyncio.sleep(waits[0] / 1000)
                results = (await http.post("/v1/messages:batch", json=batch)).raise_for_status().json()["results"]
                assert not [one for one in results if one.get("code") == "rate_limited"]
    assert refused > 3
