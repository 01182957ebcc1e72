"""Ids before they go into a frame or a path, and the time inside the ids that the client makes."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings_client import Client, InvalidId, TidingsError, development_tokens
from tidings_client.group_calls import GroupCalls
from tidings_client.ids import MessageIds, checked_seq, checked_session, checked_user, uuid7_time_ms
from tidings_client.rest import Rest, path_of
from tidings_client.tokens import Tokens

DOTS = (".", "..", "...", "." * 64)
BAD_USERS = (*DOTS, "", "a/b", "a%2Fb", "a b", "a\n", "é", "x" * 65, None, 7, b"bob")
BAD_GROUPS = ("g:", "g:..", "g:a/members/bob", "g:X%2Fmembers%2Fbob", "..", "", "d:alice:bob", "g:a\n", None)
BAD_SESSIONS = ("d:..:bob", "d:.:..", "d:bob:alice", "d:bob", *BAD_GROUPS[:-3])
GROUP = "g:1"
Call = Callable[[GroupCalls, Rest], Awaitable[object]]


class Wire:
    """Counts what is sent, and answers nothing."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.rest = Rest("http://server", Tokens("token"), httpx2.MockTransport(self._answer))
        self.groups = GroupCalls(self.rest, lambda: "made", self._own_id)

    async def _own_id(self) -> str:
        return ".."

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.paths.append(request.url.raw_path.decode())
        return httpx2.Response(404)


def user_calls(user: str) -> list[Call]:
    return [
        lambda groups, _: groups.remove(GROUP, user),
        lambda groups, _: groups.set_role(GROUP, user, "admin"),
        lambda groups, _: groups.mute(GROUP, user, 0),
        lambda groups, _: groups.transfer(GROUP, user),
        lambda groups, _: groups.add(GROUP, ["bob", user]),
        lambda groups, _: groups.create("team", ["bob", user]),
        lambda groups, _: groups.leave(GROUP),
    ]


def group_calls(group: str) -> list[Call]:
    return [
        lambda groups, _: groups.get(group),
        lambda groups, _: groups.rename(group, "x"),
        lambda groups, _: groups.dissolve(group),
        lambda groups, _: groups.add(group, ["bob"]),
        lambda groups, _: groups.remove(group, "bob"),
        lambda groups, _: groups.member_page(group),
    ]


def session_calls(session: str) -> list[Call]:
    return [
        lambda _, rest: rest.session(session),
        lambda _, rest: rest.history(session),
        lambda _, rest: rest.receipts(session, 1),
    ]


CASES = [
    *[call for user in BAD_USERS for call in user_calls(user)],  # type: ignore[arg-type]
    *[call for group in BAD_GROUPS for call in group_calls(group)],  # type: ignore[arg-type]
    *[call for session in BAD_SESSIONS for call in session_calls(session)],
    lambda groups, _: groups.rename(GROUP, "x", client_msg_id=" a"),
    lambda groups, _: groups.rename(GROUP, "x", client_msg_id='"a"'),
    lambda groups, _: groups.rename(GROUP, "x", client_msg_id="a\r\nX: y"),
    lambda _, rest: rest.receipts("d:a:b", "../x"),
]


@pytest.mark.field_case("1")
@pytest.mark.parametrize("call", CASES)
async def test_a_call_with_a_bad_id_sends_nothing(call: Call) -> None:
    wire = Wire()
    with pytest.raises(InvalidId):
        await call(wire.groups, wire.rest)
    assert wire.paths == []


@pytest.mark.field_case("1")
@pytest.mark.parametrize("user", BAD_USERS)
async def test_a_client_takes_no_bad_id(user: str) -> None:
    with pytest.raises(InvalidId):
        Client("ws://h", "t", device_id=user)
    with pytest.raises(InvalidId):
        development_tokens("http://h", user)
    client = Client("ws://h", "t")
    with pytest.raises(InvalidId):
        await client.send("x", to=user)
    with pytest.raises(InvalidId):
        await client.send("x", to="bob", mentions=[user])
    with pytest.raises(InvalidId):
        await client.send("x", session_id=f"d:alice:{user}")
    with pytest.raises(InvalidId):
        client.mark_read(f"d:alice:{user}", 1)


@given(st.text(min_size=1))
def test_a_segment_stays_one_segment(text: str) -> None:
    try:
        path = path_of("groups", text, "members")
    except (InvalidId, UnicodeEncodeError):
        assert not text.strip(".") or any("\ud800" <= character <= "\udfff" for character in text)
        return
    parts = path.split("/")
    assert [unquote(part) for part in parts] == ["", "v1", "groups", text, "members"]
    assert httpx2.URL("http://h").join(path).raw_path.decode() == path


def test_an_invalid_id_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not only dots") as caught:
        checked_user("..")
    assert isinstance(caught.value, TidingsError)


@pytest.mark.parametrize("good", ["d:a:b", "d:a:a", "d:.a:a.b@c-d_e", "g:A-z_0"])
def test_good_ids_pass(good: str) -> None:
    assert checked_session(good) == good
    assert checked_user("a..b") == "a..b"
    assert checked_seq(1) == 1


@pytest.mark.field_case("2")
def test_ids_follow_a_clock_that_is_set_back() -> None:
    ids = MessageIds(secrets.randbits)
    now_ms = 1_764_000_000_000
    ahead = [ids.make(now_ms + 360_000) for _ in range(3)]
    right = [ids.make(now_ms + n) for n in range(3)]
    assert [uuid7_time_ms(made) for made in ahead] == [now_ms + 360_000] * 3
    assert [uuid7_time_ms(made) for made in right] == [now_ms, now_ms + 1, now_ms + 2]
    assert len({*ahead, *right}) == 6


def test_ids_rise_while_the_clock_stands_or_trembles() -> None:
    ids = MessageIds(secrets.randbits)
    made = [ids.make(1_764_000_000_000 - n % 900) for n in range(10_000)]
    assert made == sorted(made)
