"""Every group call of PROTOCOL's REST table, decided by the real persister: answers, rights, non-members."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.gateway.submit import pending_calls as waiting
from tests.deployments import Deployment, deployed
from tidings import ids
from tidings.runtime.settings import LimitSettings

Call = tuple[str, str, Any]


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path) as deployment:
        yield deployment


async def test_a_group_is_created_once_through_whichever_gateway(tmp_path: Path) -> None:
    body = {"client_msg_id": "g-1", "name": "Team", "members": ["bob", "alice", "bob"]}
    async with deployed(tmp_path, gateways=2) as there:
        first = await there.call("alice", "POST", "/v1/groups", body)
        again = await there.call("alice", "POST", "/v1/groups", body, at=1)
        other = await there.call("bob", "POST", "/v1/groups", body, at=1)
        assert first[0] == again[0] == other[0] == 201
        assert first[1] == again[1] == {"session_id": first[1]["session_id"], "seq": 1}
        assert ids.is_group_session(first[1]["session_id"])
        assert other[1]["session_id"] != first[1]["session_id"]
        assert len(there.messages) == 2
        conflict = await there.call("alice", "POST", "/v1/groups", {**body, "name": "Other"}, at=1)
        assert (conflict[0], conflict[1]["code"]) == (409, "conflict")


async def test_the_header_names_the_command_as_well_as_the_body(there: Deployment) -> None:
    client = await there.client("alice")
    headers = {"Idempotency-Key": "by-header"}
    first = await client.post("/v1/groups", json={"name": "T", "members": []}, headers=headers)
    named = {"client_msg_id": "by-header", "name": "T", "members": []}
    assert first.json() == (await client.post("/v1/groups", json=named)).json()
    both = await client.post("/v1/groups", json={**named, "client_msg_id": "another"}, headers=headers)
    neither = await client.post("/v1/groups", json={"name": "T", "members": []})
    assert [answer.json()["code"] for answer in (both, neither)] == ["invalid_frame"] * 2
    path = f"/v1/groups/{first.json()['session_id']}"
    ends = [(await client.delete(path, headers={"Idempotency-Key": "end"})).json() for _ in range(2)]
    assert ends == [{"session_id": first.json()["session_id"], "seq": 2}] * 2


async def test_a_group_and_its_members_are_shown_to_members(there: Deployment) -> None:
    name = await there.group("alice", "bob", "carol", settings={"who_can_add": "admins"})
    settings = {"share_history": False, "who_can_send": "all", "who_can_add": "admins"}
    described = {"session_id": name, "name": "Team", "owner": "alice", "mode": "write", "member_count": 3}
    for path in (f"/v1/groups/{name}", f"/v1/groups/{name.replace(':', '%3A')}"):
        assert await there.call("bob", "GET", path) == (200, {**described, "settings": settings})
    members = [
        {"user_id": "alice", "role": "owner", "joined_seq": 1},
        {"user_id": "bob", "role": "member", "joined_seq": 1},
        {"user_id": "carol", "role": "member", "joined_seq": 1},
    ]
    assert await there.call("bob", "GET", f"/v1/groups/{name}/members") == (200, {"members": members})
    await there.call("alice", "PUT", f"/v1/groups/{name}/members/bob", {"role": "admin", "muted_until": 4 * 10**12})
    await there.call("alice", "DELETE", f"/v1/groups/{name}/members/carol")
    members[1] |= {"role": "admin", "muted_until": 4 * 10**12}
    assert await there.call("bob", "GET", f"/v1/groups/{name}/members?after=alice") == (200, {"members": members[1:2]})


async def test_member_pages_leave_out_former_members(there: Deployment) -> None:
    users = [f"user-{number:03}" for number in range(60)]
    name = await there.group("alice", *users)
    await asyncio.gather(*(there.call("alice", "DELETE", f"/v1/groups/{name}/members/{user}") for user in users[5:38]))
    seen: list[str] = []
    query = "?limit=7"
    while query:
        _, page = await there.call("alice", "GET", f"/v1/groups/{name}/members{query}")
        seen += [member["user_id"] for member in page["members"]]
        assert len(page["members"]) <= 7
        query = f"?limit=7&after={page['next']}" if "next" in page else ""
    assert seen == ["alice", *users[:5], *users[38:]]


async def test_adding_answers_added_and_left_out_users_also_repeated(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    await (await there.client("carol")).put("/v1/blocks/alice")
    path, asked = f"/v1/groups/{name}/members", ["dora", "carol", "bob", "dora", "emil"]
    body = {"client_msg_id": "add-1", "user_ids": asked}
    left_out = [{"user_id": "bob", "code": "already_member"}, {"user_id": "carol", "code": "user_blocked"}]
    done = {"session_id": name, "seq": 2, "added": ["dora", "emil"]}
    assert await there.call("alice", "POST", path, body) == (200, {**done, "left_out": left_out})
    assert await there.call("alice", "POST", path, body) == (200, {**done, "left_out": []})
    status, other = await there.call("alice", "POST", path, {**body, "user_ids": ["fred"]})
    assert (status, other["code"]) == (409, "conflict")
    none_added = {"session_id": name, "added": [], "left_out": left_out[:1]}
    assert await there.call("alice", "POST", path, {"user_ids": ["bob"]}) == (200, none_added)
    assert len(there.messages) == 2


async def test_creating_leaves_out_users_that_block_the_creator(
    there: Deployment,
) -> None:
    await (await there.client("carol")).put("/v1/blocks/alice")
    body = {"client_msg_id": "make", "name": "Team", "members": ["carol", "bob", "alice"]}
    status, made = await there.call("alice", "POST", "/v1/groups", body)
    name = made["session_id"]
    left_out = [{"user_id": "carol", "code": "user_blocked"}]
    assert (status, made) == (201, {"session_id": name, "seq": 1, "left_out": left_out})
    assert (await there.call("carol", "GET", f"/v1/groups/{name}"))[0] == 404
    assert (await there.call("bob", "GET", f"/v1/groups/{name}"))[1]["member_count"] == 2
    await (await there.client("carol")).delete("/v1/blocks/alice")
    await (await there.client("bob")).put("/v1/blocks/alice")
    # What is read of block lists is no content: the same call is a repeat, whatever the blocks are by then.
    assert await there.call("alice", "POST", "/v1/groups", body) == (201, {"session_id": name, "seq": 1})


async def test_every_command_answers_with_the_seq_of_its_message(there: Deployment) -> None:
    name = await there.group("alice", "bob", "carol")
    calls: list[Call] = [
        ("PATCH", f"/v1/groups/{name}", {"name": "Crew"}),
        ("PATCH", f"/v1/groups/{name}", {"settings": {"share_history": True}}),
        ("PUT", f"/v1/groups/{name}/members/bob", {"role": "admin"}),
        ("PUT", f"/v1/groups/{name}/members/bob", {"muted_until": 0}),
        ("DELETE", f"/v1/groups/{name}/members/carol", None),
        ("POST", f"/v1/groups/{name}/transfer", {"user_id": "bob"}),
        ("DELETE", f"/v1/groups/{name}/members/alice", None),
    ]
    for seq, call in enumerate(calls, start=2):
        assert await there.call("alice", *call) == (200, {"session_id": name, "seq": seq}), call
    assert await there.call("bob", "DELETE", f"/v1/groups/{name}") == (200, {"session_id": name, "seq": 9})


async def test_without_an_id_every_try_is_a_command_of_its_own(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    seqs = [(await there.call("alice", "PATCH", f"/v1/groups/{name}", {"name": "Crew"}))[1]["seq"] for _ in range(2)]
    assert seqs == [2, 3]


# -- rights ----------------------------------------------------------------------------------------


def calls_on(name: str) -> list[Call]:
    """Every call that names a session, well-formed. The last one, leaving, is allowed to every member."""
    return [
        ("GET", f"/v1/groups/{name}", None),
        ("GET", f"/v1/groups/{name}/members", None),
        ("GET", f"/v1/sessions/{name}", None),
        ("GET", f"/v1/sessions/{name}/messages", None),
        ("GET", f"/v1/sessions/{name}/messages/1/receipts", None),
        ("PUT", f"/v1/sessions/{name}/read", {"seq": 1}),
        ("POST", "/v1/messages", {"client_msg_id": "s", "session_id": name, "kind": "text", "body": {"text": "x"}}),
        ("PATCH", f"/v1/groups/{name}", {"name": "Mine"}),
        ("POST", f"/v1/groups/{name}/members", {"user_ids": ["fred"]}),
        ("PUT", f"/v1/groups/{name}/members/bob", {"role": "admin"}),
        ("PUT", f"/v1/groups/{name}/members/bob", {"muted_until": 4 * 10**12}),
        ("DELETE", f"/v1/groups/{name}/members/bob", None),
        ("POST", f"/v1/groups/{name}/transfer", {"user_id": "bob"}),
        ("DELETE", f"/v1/groups/{name}", None),
        ("DELETE", f"/v1/groups/{name}/members/eve", None),
    ]


@pytest.mark.promise("G11")
async def test_every_call_of_a_non_member_gets_session_not_found(there: Deployment) -> None:
    never, left, removed = await there.group("alice", "bob"), await there.group("alice", "bob", "eve"), ""
    await there.call("eve", "DELETE", f"/v1/groups/{left}/members/eve")
    removed = await there.group("alice", "bob", "eve")
    await there.call("alice", "DELETE", f"/v1/groups/{removed}/members/eve")
    ended = await there.group("alice", "bob", "eve")
    await there.call("alice", "DELETE", f"/v1/groups/{ended}")
    stored = len(there.messages)
    guessed = "g:" + "0" * 32
    expected = [await there.call("eve", *call) for call in calls_on(guessed)]
    assert {(status, answer["code"]) for status, answer in expected} == {(404, "session_not_found")}
    for name in (never, left, removed, ended):
        assert [await there.call("eve", *call) for call in calls_on(name)] == expected, name
    assert len(there.messages) == stored


async def test_member_may_not_use_rights_of_admins_or_the_owner(there: Deployment) -> None:
    name = await there.group("alice", "bob", "eve", "dora", settings={"who_can_add": "admins"})
    await there.call("alice", "PUT", f"/v1/groups/{name}/members/dora", {"role": "admin"})
    stored = len(there.messages)
    allowed_to_all = {("GET", f"/v1/groups/{name}"), ("GET", f"/v1/groups/{name}/members")}
    for method, path, body in calls_on(name)[7:-1]:
        status, answer = await there.call("eve", method, path, body)
        assert (status, answer["code"]) == (403, "forbidden"), (method, path)
    for method, path in sorted(allowed_to_all):
        assert (await there.call("eve", method, path))[0] == 200
    owners: list[Call] = [
        ("DELETE", f"/v1/groups/{name}/members/alice", None),
        ("PUT", f"/v1/groups/{name}/members/alice", {"muted_until": 4 * 10**12}),
        ("POST", f"/v1/groups/{name}/transfer", {"user_id": "eve"}),
        ("DELETE", f"/v1/groups/{name}", None),
    ]
    for call in owners:
        status, answer = await there.call("dora", *call)
        assert (status, answer["code"]) == (403, "forbidden"), call
    status, answer = await there.call("alice", "DELETE", f"/v1/groups/{name}/members/alice")
    assert (status, answer["code"]) == (403, "forbidden")
    assert len(there.messages) == stored


async def test_command_about_an_absent_member_is_refused(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    calls: list[Call] = [
        ("DELETE", f"/v1/groups/{name}/members/zoe", None),
        ("PUT", f"/v1/groups/{name}/members/zoe", {"role": "admin"}),
        ("POST", f"/v1/groups/{name}/transfer", {"user_id": "zoe"}),
    ]
    for call in calls:
        status, answer = await there.call("alice", *call)
        assert (status, answer["code"]) == (409, "not_member"), call
    assert len(there.messages) == 1


async def test_muted_member_reads_but_does_not_send(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    await there.call("alice", "PUT", f"/v1/groups/{name}/members/bob", {"muted_until": 4 * 10**12})
    said = {"client_msg_id": "s", "session_id": name, "kind": "text", "body": {"text": "x"}}
    status, answer = await there.call("bob", "POST", "/v1/messages", said)
    assert (status, answer["code"]) == (403, "muted")
    assert (await there.call("bob", "GET", f"/v1/groups/{name}"))[0] == 200
    await there.call("alice", "PUT", f"/v1/groups/{name}/members/bob", {"muted_until": 0})
    status, answer = await there.call("bob", "POST", "/v1/messages", said)
    assert (status, answer["seq"]) == (201, 4)


@pytest.mark.promise("G11")
async def test_send_of_a_non_member_is_refused_alike_in_every_group(there: Deployment) -> None:
    never, left = await there.group("alice", "bob"), await there.group("alice", "bob", "eve")
    await there.call("eve", "DELETE", f"/v1/groups/{left}/members/eve")
    removed, ended = await there.group("alice", "bob", "eve"), await there.group("alice", "bob", "eve")
    await there.call("alice", "DELETE", f"/v1/groups/{removed}/members/eve")
    await there.call("alice", "DELETE", f"/v1/groups/{ended}")
    muted, open_to_eve = await there.group("alice", "eve"), await there.group("alice", "eve")
    await there.call("alice", "PUT", f"/v1/groups/{muted}/members/eve", {"muted_until": 4 * 10**12})
    names = ["g:" + "0" * 32, "g:x", never, left, removed, ended, muted, open_to_eve]
    stored = len(there.messages)
    answers = await there.answers(
        "eve",
        *(
            {"type": "send", "client_msg_id": "m", "session_id": n, "kind": "text", "body": {"text": "x"}}
            for n in names
        ),
    )
    refusals = [(answer["type"], answer["code"], answer["message"]) for answer in answers[:6]]
    assert refusals == [("send_error", "session_not_found", answers[0]["message"])] * 6
    assert (answers[6]["type"], answers[6]["code"]) == ("send_error", "muted")
    assert (answers[7]["type"], answers[7]["seq"]) == ("send_ack", 2)
    assert len(there.messages) == stored + 1


async def test_a_repeat_is_still_acked_after_leaving(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    said = {"client_msg_id": "s", "session_id": name, "kind": "text", "body": {"text": "x"}}
    first = await there.call("bob", "POST", "/v1/messages", said)
    leaving = {"client_msg_id": "leave"}
    left = await there.call("bob", "DELETE", f"/v1/groups/{name}/members/bob", leaving)
    assert left == await there.call("bob", "DELETE", f"/v1/groups/{name}/members/bob", leaving)
    again = await there.call("bob", "POST", "/v1/messages", said)
    assert again == (201, {**first[1], "duplicate": True})


async def test_a_group_is_never_larger_than_the_setting(tmp_path: Path) -> None:
    async with deployed(tmp_path, limits=LimitSettings(group_members_max=3)) as there:
        name = await there.group("alice", "bob")
        path = f"/v1/groups/{name}/members"
        status, answer = await there.call("alice", "POST", path, {"user_ids": ["carol", "dora"]})
        assert (status, answer["code"]) == (409, "group_full")
        many = {"client_msg_id": "m", "name": "T", "members": ["bob", "carol", "dora"]}
        status, answer = await there.call("alice", "POST", "/v1/groups", many)
        assert (status, answer["code"]) == (409, "group_full")
        assert (await there.call("alice", "POST", path, {"user_ids": ["carol"]}))[1]["added"] == ["carol"]


async def test_timed_out_command_is_found_by_its_id(there: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of members the block lists would be asked first.
    body = {"client_msg_id": "g-1", "name": "Team", "members": []}
    there.store.stall()
    with monkeypatch.context() as patched:
        patched.setattr(waiting, "WAIT_S", 0.1)
        status, answer = await there.call("alice", "POST", "/v1/groups", body)
    assert (status, answer["code"], answer["retryable"]) == (504, "timeout", True)
    there.store.heal()
    while (found := await there.call("alice", "POST", "/v1/groups", body))[0] == 504:
        pass
    assert (found[0], found[1]["seq"], len(there.messages)) == (201, 1, 1)


async def test_group_is_not_created_while_block_lists_cannot_be_read(there: Deployment) -> None:
    there.store.stall()
    body = {"client_msg_id": "g-1", "name": "Team", "members": ["bob"]}
    status, answer = await there.call("alice", "POST", "/v1/groups", body)
    assert (status, answer["code"], answer["retryable"]) == (503, "unavailable", True)
    there.store.heal()
    assert (await there.call("alice", "POST", "/v1/groups", body))[1]["seq"] == 1


async def test_messages_to_a_group_are_acked_in_a_batch_and_once(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    said = {"client_msg_id": "s", "session_id": name, "kind": "text", "body": {"text": "x"}}
    wrong = {**said, "client_msg_id": "t", "reply_to": 99}
    body = {"messages": [said, said, {**said, "session_id": "g:none"}, wrong]}
    _, answer = await there.call("bob", "POST", "/v1/messages:batch", body)
    results = answer["results"]
    assert [result.get("seq") for result in results] == [2, 2, None, None]
    assert [result.get("code") for result in results] == [None, None, "session_not_found", "invalid_body"]


# -- malformed -------------------------------------------------------------------------------------

WRONG_IDS = ["d:alice:bob", "g:a b", "nonsense", "g:"]


async def test_id_of_no_group_is_invalid_at_every_group_call(there: Deployment) -> None:
    for method, path, body in [call for name in WRONG_IDS for call in calls_on(name) if "/groups/" in call[1]]:
        status, answer = await there.call("alice", method, path, body)
        assert (status, answer["code"]) == (400, "invalid_frame"), (method, path)


async def test_malformed_calls_get_their_code_and_store_nothing(there: Deployment) -> None:
    name = await there.group("alice", "bob")
    users = [f"user-{number}" for number in range(501)]
    make = {"client_msg_id": "x", "name": "T", "members": []}
    calls: list[tuple[str, str, Any, int, str]] = [
        ("POST", "/v1/groups", {**make, "members": users}, 400, "invalid_frame"),
        ("POST", "/v1/groups", {**make, "name": "x" * 129}, 400, "invalid_frame"),
        ("POST", "/v1/groups", {**make, "client_msg_id": "x" * 65}, 400, "invalid_frame"),
        ("POST", "/v1/groups", {**make, "client_msg_id": "01800000-0000-7000-8000-000000000000"}, 409, "too_old"),
        ("POST", "/v1/groups", {**make, "client_msg_id": "fffffff0-0000-7000-8000-000000000000"}, 409, "clock_skew"),
        ("POST", "/v1/groups", {**make, "name": "x" * 70_000}, 413, "too_large"),
        ("PATCH", f"/v1/groups/{name}", {}, 400, "invalid_frame"),
        ("PATCH", f"/v1/groups/{name}", None, 400, "invalid_frame"),
        ("POST", f"/v1/groups/{name}/members", {"user_ids": users}, 400, "invalid_frame"),
        ("POST", f"/v1/groups/{name}/members", {"user_ids": ["a b"]}, 400, "invalid_frame"),
        ("POST", f"/v1/groups/{name}/transfer", {"user_id": 5}, 400, "invalid_frame"),
        ("PUT", f"/v1/groups/{name}/members/bob", {"role": "owner"}, 400, "invalid_frame"),
        ("PUT", f"/v1/groups/{name}/members/a%20b", {"role": "admin"}, 400, "invalid_frame"),
        ("DELETE", f"/v1/groups/{name}/members/a%20b", None, 400, "invalid_frame"),
        ("DELETE", f"/v1/groups/{name}", [], 400, "invalid_frame"),
        ("GET", f"/v1/groups/{name}/members?limit=0", None, 400, "invalid_frame"),
        ("GET", f"/v1/groups/{name}/members?after=a%20b", None, 400, "invalid_frame"),
        ("PUT", f"/v1/groups/{name}", {}, 405, "invalid_frame"),
    ]
    for method, path, body, status, code in calls:
        found, answer = await there.call("alice", method, path, body)
        assert (found, answer["code"]) == (status, code), (method, path, body)
        assert answer["detail"]
    assert len(there.messages) == 1


async def test_added_members_count_for_the_rate_limit(tmp_path: Path) -> None:
    async with deployed(tmp_path, messages_per_s=1, burst=20) as there:
        name = await there.group("alice", "bob")
        path = f"/v1/groups/{name}/members"
        users = [f"user-{number}" for number in range(25)]
        status, answer = await there.call("alice", "POST", path, {"user_ids": users[:20]})
        assert (status, answer["code"]) == (429, "rate_limited")
        assert 0 < answer["retry_after_ms"] <= 2_001
        # More than a burst at once waits for a whole burst, behind earlier refused callers, and a bounded time.
        status, answer = await there.call("alice", "POST", path, {"user_ids": users})
        assert 0 < answer["retry_after_ms"] <= 20_001
        assert (await there.call("alice", "POST", path, {"user_ids": users[:10]}))[0] == 200


async def test_every_call_is_in_the_pages(there: Deployment) -> None:
    _, openapi = await there.call("alice", "GET", "/openapi.json")
    groups = {(path, method) for path, calls in openapi["paths"].items() for method in calls if "/groups" in path}
    assert len(groups) == 9
    page = (await (await there.client("alice")).get("/docs")).text
    assert all(path in page for path, _ in groups)
    ending = openapi["paths"]["/v1/groups/{group_id}"]["delete"]
    assert {(one["name"], one["in"]) for one in ending["parameters"]} == {
        ("group_id", "path"),
        ("Idempotency-Key", "header"),
    }
    create = openapi["paths"]["/v1/groups"]["post"]
    assert "201" in create["responses"]
    # A group may have no other members, and client_msg_id may be the header.
    schema = create["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert openapi["components"]["schemas"][schema]["required"] == ["name"]
