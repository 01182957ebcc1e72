"""What members and non-members read of groups, through a real gateway, persister and fanout over memory."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.deployments import Deployment, deployed
from tidings.broker.base import NewRecord
from tidings.runtime.settings import LimitSettings
from tidings.store.base import TaggedRow
from tidings.store.rows import DeliveredRow, ReadRow, Row
from tidings.topics import PUSH
from tidings.wire.common_pb2 import Message, Mode
from tidings.wire.push_pb2 import Push, PushedMessage


async def say(there: Deployment, user: str, name: str, *texts: str) -> None:
    for text in texts:
        body = {"client_msg_id": f"{user} {text}", "session_id": name, "kind": "text", "body": {"text": text}}
        status, answer = await there.call(user, "POST", "/v1/messages", body)
        assert status == 201, answer


async def history(there: Deployment, user: str, name: str, query: str = "") -> tuple[list[int], bool]:
    status, page = await there.call(user, "GET", f"/v1/sessions/{name}/messages{query}")
    assert status == 200, page
    return [message["seq"] for message in page["messages"]], page["has_more"]


async def listed(there: Deployment, user: str, count: int) -> list[Any]:
    """The user's sessions, once fanout has come so far."""
    while True:
        sessions: list[Any] = (await there.call(user, "GET", "/v1/sessions"))[1]["sessions"]
        if len(sessions) == count:
            return sessions
        await asyncio.sleep(0.02)


@pytest.mark.promise("G10")
async def test_history_begins_at_the_joining_unless_it_is_shared(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        name = await there.group("alice", "bob")
        await say(there, "alice", name, "two", "three")
        await there.call("alice", "POST", f"/v1/groups/{name}/members", {"user_ids": ["carol"]})
        await say(there, "bob", name, "five", "six")
        assert await history(there, "bob", name) == ([1, 2, 3, 4, 5, 6], False)
        assert await history(there, "carol", name) == ([4, 5, 6], False)
        assert await history(there, "carol", name, "?limit=2") == ([5, 6], True)
        assert await history(there, "carol", name, "?before_seq=5") == ([4], False)
        assert await history(there, "carol", name, "?before_seq=4") == ([], False)
        assert await history(there, "carol", name, "?after_seq=0&limit=2") == ([4, 5], True)
        assert await history(there, "carol", name, "?after_seq=5") == ([6], False)
        await there.call("alice", "PATCH", f"/v1/groups/{name}", {"settings": {"share_history": True}})
        assert await history(there, "carol", name) == ([1, 2, 3, 4, 5, 6, 7], False)
        assert await history(there, "carol", name, "?after_seq=0&limit=2") == ([1, 2], True)


@pytest.mark.promise("G10")
async def test_returning_member_reads_from_the_second_joining(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        name = await there.group("alice", "bob")
        await there.call("bob", "DELETE", f"/v1/groups/{name}/members/bob")
        await say(there, "alice", name, "three")
        await there.call("alice", "POST", f"/v1/groups/{name}/members", {"user_ids": ["bob"]})
        assert await history(there, "bob", name) == ([4], False)


@pytest.mark.parametrize("non_member", ["eve", "left", "removed"])
async def test_group_looks_missing_to_a_non_member(tmp_path: Path, non_member: str) -> None:
    async with deployed(tmp_path) as there:
        name = await there.group("alice", "left", "removed")
        await there.call("left", "DELETE", f"/v1/groups/{name}/members/left")
        await there.call("alice", "DELETE", f"/v1/groups/{name}/members/removed")
        calls = [("GET", "", None), ("GET", "/messages", None), ("GET", "/messages/1/receipts", None)]
        for method, tail, body in [*calls, ("PUT", "/read", {"seq": 1})]:
            answers = [
                await there.call(non_member, method, f"/v1/sessions/{one}{tail}", body) for one in (name, "g:none")
            ]
            assert answers[0] == answers[1]
            assert (answers[0][0], answers[0][1]["code"]) == (404, "session_not_found")
        place: dict[str, Any] = {"session_id": name, "seq": 1}
        none: dict[str, Any] = {"session_id": "g:none", "seq": 1}
        frames: list[dict[str, Any]] = [{"type": "ack", "delivered": [place]}, {"type": "ack", "delivered": [none]}]
        frames += [{"type": "read", **place}, {"type": "read", **none}]
        refusals = [{**frame, "ref": ""} for frame in await there.answers(non_member, *frames)]
        assert all(frame == refusals[0] for frame in refusals)
        assert (refusals[0]["code"], refusals[0]["fatal"]) == ("session_not_found", False)


async def test_the_list_shows_groups_with_their_heads_and_unread(tmp_path: Path) -> None:
    async with deployed(tmp_path, has_receipts=False) as there:
        name = await there.group("alice", "bob")
        await say(there, "alice", name, "one", "two", "three")
        await say(there, "bob", name, "mine")
        await there.call("alice", "POST", f"/v1/groups/{name}/members", {"user_ids": ["carol"]})
        await say(there, "alice", name, "four")
        await there.call("alice", "PATCH", f"/v1/groups/{name}", {"name": "Squad"})
        (for_carol,) = await listed(there, "carol", 1)
        assert for_carol["head"].pop("at") > 0
        assert for_carol == {
            "session_id": name,
            "session_kind": "group",
            "mode": "write",
            "name": "Squad",
            "joined_seq": 6,
            "head": {"seq": 8, "sender_id": "alice", "preview": "alice named the group Squad"},
            "unread": 1,
            "read_seq": 0,
            "delivered_seq": 0,
        }
        assert (await there.call("carol", "GET", f"/v1/sessions/{name}"))[1]["unread"] == 1
        (for_bob,) = await listed(there, "bob", 1)
        assert (for_bob["joined_seq"], for_bob["unread"]) == (1, 1)


async def test_list_drops_a_left_session_and_begins_with_a_joined_one(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        first, second = await there.group("alice", "bob"), await there.group("alice", "bob", "carol")
        assert [one["session_id"] for one in await listed(there, "bob", 2)] == [second, first]
        await there.call("bob", "DELETE", f"/v1/groups/{second}/members/bob")
        # At once, whatever fanout has written of it.
        assert [one["session_id"] for one in await listed(there, "bob", 1)] == [first]
        await there.call("alice", "DELETE", f"/v1/groups/{first}")
        assert await listed(there, "bob", 0) == []


@pytest.mark.field_case("22")
async def test_member_that_joined_after_a_message_is_no_reader(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        name = await there.group("alice", "bob")
        await say(there, "alice", name, *map(str, range(2, 11)))
        await there.call("alice", "POST", f"/v1/groups/{name}/members", {"user_ids": ["carol"]})
        await say(there, "alice", name, "twelve")
        for seq in (5, 20):
            status, answer = await there.call("carol", "PUT", f"/v1/sessions/{name}/read", {"seq": seq})
            assert (status, answer["read_seq"]) == (200, min(seq, 12))
            for earlier in range(2, 11):
                answer = await receipts_of(there, name, earlier)
                assert answer == {"delivered": [], "read": [], "members": 2}
        assert [one["user_id"] for one in (await receipts_of(there, name, 12))["read"]] == ["carol"]
        await there.call("carol", "DELETE", f"/v1/groups/{name}/members/carol")
        await there.call("alice", "POST", f"/v1/groups/{name}/members", {"user_ids": ["carol"]})
        assert (await receipts_of(there, name, 12))["read"] == []


async def receipts_of(there: Deployment, session_id: str, seq: int) -> Any:
    """As alice is shown it."""
    return (await there.call("alice", "GET", f"/v1/sessions/{session_id}/messages/{seq}/receipts"))[1]


async def test_receipts_of_a_message_are_paged_for_author_and_admins(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        name = await there.group("alice", "bob", "carol", "dora", "emil")
        await say(there, "bob", name, "two")
        await there.call("alice", "DELETE", f"/v1/groups/{name}/members/emil")
        marks: list[Row] = [
            DeliveredRow(name, "carol", 2),
            ReadRow(name, "dora", 3, 1, 77),
            ReadRow(name, "alice", 1, 0, 5),
        ]
        marks += [ReadRow(name, "emil", 3, 1, 6), ReadRow(name, "bob", 3, 1, 7)]
        await there.store.write([TaggedRow(0, row) for row in marks])
        path = f"/v1/sessions/{name}/messages/2/receipts"
        whole = {"delivered": ["carol", "dora"], "read": [{"user_id": "dora", "at": 77}], "members": 3}
        assert await there.call("bob", "GET", path) == (200, whole)
        assert await there.call("alice", "GET", path) == (200, whole)
        status, answer = await there.call("carol", "GET", path)
        assert (status, answer["code"]) == (403, "forbidden")
        for seq in (0, 4):
            status, answer = await there.call("alice", "GET", f"/v1/sessions/{name}/messages/{seq + 1000}/receipts")
            assert (status, answer["code"]) == (404, "message_not_found")
        found: list[str] = []
        query = "?limit=1"
        while query:
            _, page = await there.call("bob", "GET", path + query)
            found += page["delivered"]
            query = f"?limit=1&after={page['next']}" if "next" in page else ""
        assert found == ["carol", "dora"]


async def test_a_message_before_the_joining_is_not_found_in_receipts(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        name = await there.group("alice", "bob")
        await there.call("bob", "DELETE", f"/v1/groups/{name}/members/bob")
        await there.call("alice", "POST", f"/v1/groups/{name}/members", {"user_ids": ["bob"]})
        await there.call("alice", "PUT", f"/v1/groups/{name}/members/bob", {"role": "admin"})
        status, answer = await there.call("bob", "GET", f"/v1/sessions/{name}/messages/1/receipts")
        assert (status, answer["code"]) == (404, "message_not_found")
        assert (await there.call("bob", "GET", f"/v1/sessions/{name}/messages/3/receipts"))[0] == 200


async def test_group_log_reaches_members_and_live_names_the_head(tmp_path: Path) -> None:
    async with deployed(tmp_path, limits=LimitSettings(write_diffusion_max=3), heartbeat_s=1) as there:
        name = await there.group("alice", "bob", "carol", "dora")
        await listed(there, "bob", 1)
        async with there.signed_in("bob") as bob, there.signed_in("dora") as dora:
            assert (await bob.like(type="live"))["heads"] == [{"session_id": name, "seq": 1}]
            await dora.like(type="live")
            await say(there, "alice", name, "two")
            pushed = await bob.like(type="message")
            assert (pushed["inbox_seq"], pushed["message"]["seq"]) == (None, 2)
            assert await dora.like(type="message") == pushed
            assert (await bob.like(type="heartbeat"))["heads"] in ([{"session_id": name, "seq": 2}], [])
            await there.call("alice", "DELETE", f"/v1/groups/{name}/members/dora")
            await say(there, "alice", name, "four")
            assert [(await bob.like(type="message"))["message"]["seq"] for _ in range(2)] == [3, 4]
            await dora.like(type="heartbeat")
            await dora.like(type="heartbeat")
            assert dora.seqs(name) == [2, 3]
            (row,) = await listed(there, "bob", 1)
            assert (row["mode"], row["head"]["seq"]) == ("read", 4)


async def test_possibly_missed_push_sends_the_head_at_once(tmp_path: Path) -> None:
    async with deployed(tmp_path, limits=LimitSettings(write_diffusion_max=3), heartbeat_s=300) as there:
        name = await there.group("alice", "bob", "carol", "dora")
        await listed(there, "bob", 1)
        async with there.signed_in("bob") as bob:
            await bob.like(type="live")
            await say(there, "alice", name, "two")
            await bob.like(type="message")
            beyond_a_gap = PushedMessage(message=Message(session_id=name, seq=9, body=b"{}"), mode=Mode.MODE_READ)
            # The first gateway's start record is the first of its topic, and its offset the epoch.
            push = Push(gateway_epoch=0, message=beyond_a_gap)
            await there.broker.producer("test").produce(PUSH, 0, [NewRecord(push.SerializeToString())])
            assert (await bob.like(type="heartbeat"))["heads"] == [{"session_id": name, "seq": 2}]
            assert bob.seqs(name) == [2]
