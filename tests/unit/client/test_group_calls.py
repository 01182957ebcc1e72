"""The calls about groups: what they say, what they answer, and that they are repeated under one id."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.unit.client.gateways import Gateway, Json
from tidings_client import ApiError, LeftOut, Member, Unreachable, backoff, rest
from tidings_client.group_calls import Added, Created, GroupCalls, GroupSettings

PLACED = {"session_id": "g:1", "seq": 7}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats without the waiting."""
    monkeypatch.setattr(backoff, "BASE_MS", 0)


async def test_creating_a_group_names_its_members_and_settings() -> None:
    gateway = Gateway(PLACED)
    made = await gateway.groups.create("team", ["bob"], settings={"share_history": True})
    assert made == Created(session_id="g:1", seq=7)
    body = {"name": "team", "members": ["bob"], "settings": {"share_history": True}}
    assert gateway.said == ("POST", "/v1/groups", body)
    assert gateway.keys == ["made-0"]


async def test_creating_a_group_names_those_left_out() -> None:
    made = await Gateway({**PLACED, "left_out": [{"user_id": "bob", "code": "user_blocked"}]}).groups.create("team")
    assert made.left_out == (LeftOut(user_id="bob", code="user_blocked"),)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda g: g.rename("g:1", "crew"), ("PATCH", "/v1/groups/g:1", {"name": "crew"})),
        (
            lambda g: g.change_settings("g:1", {"who_can_send": "admins"}),
            ("PATCH", "/v1/groups/g:1", {"settings": {"who_can_send": "admins"}}),
        ),
        (lambda g: g.dissolve("g:1"), ("DELETE", "/v1/groups/g:1", None)),
        (lambda g: g.remove("g:1", "b@x"), ("DELETE", "/v1/groups/g:1/members/b@x", None)),
        (lambda g: g.leave("g:1"), ("DELETE", "/v1/groups/g:1/members/alice", None)),
        (lambda g: g.set_role("g:1", "bob", "admin"), ("PUT", "/v1/groups/g:1/members/bob", {"role": "admin"})),
        (lambda g: g.mute("g:1", "bob", 10**12), ("PUT", "/v1/groups/g:1/members/bob", {"muted_until": 10**12})),
        (lambda g: g.transfer("g:1", "bob"), ("POST", "/v1/groups/g:1/transfer", {"user_id": "bob"})),
    ],
)
async def test_each_command_says_what_protocol_says(
    call: Callable[[GroupCalls], Any], said: tuple[str, str, Json | None]
) -> None:
    gateway = Gateway(PLACED)
    assert (await call(gateway.groups)).seq == 7
    assert gateway.said == said


@pytest.mark.field_case("24")
@pytest.mark.parametrize("until_ms", [1_764_000_000, -1, 1_764_000_000_000_000, 2**53])
async def test_a_mute_until_a_mistaken_time_is_not_asked(until_ms: int) -> None:
    gateway = Gateway(PLACED)
    with pytest.raises(ValueError, match="milliseconds"):
        await gateway.groups.mute("g:1", "bob", until_ms)
    assert not gateway.asked


async def test_adding_no_member_names_those_left_out() -> None:
    left_out = [{"user_id": "bob", "code": "already_member"}]
    gateway = Gateway({"session_id": "g:1", "added": [], "left_out": left_out})
    added = await gateway.groups.add("g:1", ["bob"])
    assert added == Added(session_id="g:1", left_out=(LeftOut(user_id="bob", code="already_member"),))
    assert gateway.said == ("POST", "/v1/groups/g:1/members", {"user_ids": ["bob"]})


async def test_unanswered_command_is_repeated_under_its_id() -> None:
    gateway = Gateway(504, httpx2.ConnectError("refused"), 503, PLACED)
    assert (await gateway.groups.dissolve("g:1")).seq == 7
    assert gateway.keys == ["made-0"] * 4


async def test_the_repeats_end() -> None:
    gateway = Gateway(504)
    with pytest.raises(ApiError, match="timeout"):
        await gateway.groups.rename("g:1", "crew", client_msg_id="mine")
    assert gateway.keys == ["mine"] * (rest.MAX_REPEATS + 1)
    nobody = Gateway(httpx2.ConnectError("refused"))
    with pytest.raises(Unreachable):
        await nobody.groups.dissolve("g:1")


async def test_a_refusal_for_good_is_not_repeated() -> None:
    gateway = Gateway(403)
    with pytest.raises(ApiError) as refused:
        await gateway.groups.dissolve("g:1")
    assert (refused.value.code, len(gateway.asked)) == ("forbidden", 1)


async def test_the_group_and_its_members_are_read_page_by_page() -> None:
    group = {"session_id": "g:1", "name": "team", "owner": "alice", "mode": "read", "member_count": 3}
    settings = {"share_history": True, "who_can_send": "all", "who_can_add": "admins", "later": 1}
    read = await Gateway(group | {"settings": settings}).groups.get("g:1")
    assert read.settings == GroupSettings(share_history=True, who_can_add="admins")
    pages = Gateway(
        {"members": [{"user_id": "a", "role": "owner", "joined_seq": 1}], "next": "a"},
        {"members": [{"user_id": "b", "role": "member", "joined_seq": 2, "muted_until": 9}]},
    )
    members = [member async for member in pages.groups.members("g:1")]
    assert members == [
        Member(user_id="a", role="owner", joined_seq=1),
        Member(user_id="b", joined_seq=2, muted_until=9),
    ]
    assert pages.parameters("after") == [None, "a"]
