"""Ids before they go into a frame or a path, and the time inside the ids that the client makes."""

import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.gateways import Gateway
from tidings_client import Client, InvalidId, TidingsError, development_tokens
from tidings_client.composing import Address
from tidings_client.group_calls import GroupCalls
from tidings_client.ids import (
    MessageIds,
    checked_seq,
    checked_session,
    checked_user,
    direct_session,
    peer_of,
    uuid7_time_ms,
)
from tidings_client.rest import Rest, path_of

DOTS = (".", "..", "...", "." * 64)
BAD_USERS = (*DOTS, "", "a/b", "a%2Fb", "a b", "a\n", "é", "x" * 65, None, 7, b"bob")
BAD_GROUPS = ("g:", "g:..", "g:a/members/bob", "g:X%2Fmembers%2Fbob", "..", "", "d:alice:bob", "g:a\n", None)
BAD_SESSIONS = ("d:..:bob", "d:.:..", "d:bob:alice", "d:bob", *BAD_GROUPS[:-3])
GROUP = "g:1"
Call = Callable[[GroupCalls, Rest], Awaitable[object]]


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
    gateway = Gateway(404, own_id="..")
    with pytest.raises(InvalidId):
        await call(gateway.groups, gateway.rest)
    assert gateway.asked == []


@pytest.mark.field_case("1")
@pytest.mark.parametrize("user", BAD_USERS)
async def test_a_client_takes_no_bad_id(user: str) -> None:
    with pytest.raises(InvalidId):
        Client("ws://h", "t", device_id=user)
    with pytest.raises(InvalidId):
        development_tokens("http://h", user)
    client = Client("ws://h", "t")
    session_id = f"d:alice:{user}"
    addresses: list[Address] = [{"to": user}, {"to": "bob", "mentions": [user]}, {"session_id": session_id}]
    for address in addresses:
        with pytest.raises(InvalidId):
            await client.send("x", **address)
    with pytest.raises(InvalidId):
        client.mark_read(session_id, 1)


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


@given(st.lists(st.integers(1_700_000_000_000, 1_700_000_000_050), min_size=2, max_size=200))
def test_ids_are_uuidv7_and_rise_whatever_the_clock_does(times_ms: list[int]) -> None:
    ids = MessageIds(lambda bits: (1 << bits) - 1)
    made = [ids.make(at_ms) for at_ms in times_ms]
    assert made == sorted(set(made))
    assert all(len(one) == 36 and one[14] == "7" and one[19] in "89ab" for one in made)
    assert int(made[0].replace("-", "")[:12], 16) == times_ms[0]


def test_a_direct_session_has_the_same_id_from_both_sides() -> None:
    assert direct_session("bob", "Alice") == direct_session("Alice", "bob") == "d:Alice:bob"
    assert peer_of("d:Alice:bob", "bob") == "Alice"
    assert peer_of("d:bob:bob", "bob") == "bob"
    assert peer_of("g:x", "bob") is None
