"""Every transition of one connection, with the time as an argument."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.effects import (
    Announce,
    Effect,
    HeartbeatDue,
    MoveWatermark,
    Publish,
    ReadInbox,
    SignedIn,
)
from tests.unit.gateway.protocol.client import (
    HOUR_MS,
    MESSAGE,
    WALL_MS,
    close_code,
    hello,
    only,
    opened,
    receive,
    send,
    sent,
    signed_in,
    verify,
)
from tests.unit.gateway.protocol.lines import lines
from tidings.errors import Refused

# -- signing in ------------------------------------------------------------------------------------


def test_hello_signs_in_and_is_welcomed_with_the_limits() -> None:
    connection = opened(heartbeat_s=20, messages_per_s=7, burst=9)
    assert list(receive(connection, hello() | {"ref": "r"})) == [SignedIn()]
    assert only(connection) == {
        "type": "welcome",
        "ref": "r",
        "user_id": "alice",
        "device_id": "phone",
        "connection_id": "c1",
        "server_time": WALL_MS,
        "heartbeat_s": 20,
        "limits": {"frame_bytes": 65536, "page": 200, "max_retries": 8, "messages_per_s": 7, "burst": 9},
    }


def test_frames_behind_hello_in_the_same_message_are_processed() -> None:
    effects = receive(opened(), hello(), send())
    assert [type(effect) for effect in effects] == [SignedIn, Publish]


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"type": "ping"}, 4400),
        ({"type": "nonsense"}, 4400),
        (send(), 4400),
        ("{", 4400),
        ("[]", 4400),
        ({"type": "hello", "token": "alice"}, 4400),
        ({"type": "hello", "token": "alice", "device_id": "a b"}, 4400),
        ({"type": "hello", "token": 5, "device_id": "phone"}, 4400),
        ({"type": "hello", "device_id": "phone"}, 4401),
        (hello("bad"), 4401),
        (hello("expired"), 4401),
    ],
)
def test_before_sign_in_everything_wrong_is_fatal(first: object, code: int) -> None:
    connection = opened()
    assert not receive(connection, first)
    assert only(connection)["fatal"] is True
    assert close_code(connection) == code


def test_empty_messages_are_ignored_even_before_hello() -> None:
    connection = opened()
    receive(connection, "", "  ", "\r")
    assert close_code(connection) is None


def test_without_hello_the_connection_closes_after_5_s() -> None:
    connection = opened(now_ms=1_000)
    connection.ticked(5_999)
    assert close_code(connection) is None
    connection.ticked(6_000)
    assert close_code(connection) == 4408


def test_second_hello_renews_the_token_without_a_new_sign_in() -> None:
    connection = opened()
    receive(connection, hello("alice/10000"))
    assert receive(connection, hello("alice/30000")) == []
    assert [frame["type"] for frame in sent(connection)] == ["welcome", "welcome"]
    connection.ticked(10_000)
    assert close_code(connection) is None
    connection.ticked(30_000)
    assert close_code(connection) == 4401


@pytest.mark.parametrize(
    ("second", "code"), [(hello("carol"), 4400), (hello("alice", "desk"), 4400), (hello("bad"), 4401)]
)
def test_any_other_second_hello_is_fatal(second: object, code: int) -> None:
    connection = signed_in()
    receive(connection, second)
    assert close_code(connection) == code


def test_a_token_past_its_exp_ends_the_connection() -> None:
    connection = opened()
    receive(connection, hello("alice/7000"))
    sent(connection)
    connection.ticked(7_000)
    assert only(connection)["code"] == "token_expired"
    assert close_code(connection) == 4401


# -- what a client may get wrong -------------------------------------------------------------------


def test_a_binary_message_is_fatal() -> None:
    connection = signed_in()
    connection.received_binary()
    assert close_code(connection) == 4400


def test_ten_invalid_frames_within_a_minute_are_fatal() -> None:
    connection = signed_in()
    for number in range(9):
        receive(connection, {"type": "dance"}, now_ms=number)
    assert close_code(connection) is None
    receive(connection, {"type": "dance"}, now_ms=59_000)
    assert close_code(connection) == 4400


def test_nine_invalid_frames_a_minute_are_tolerated() -> None:
    connection = signed_in()
    for number in range(50):
        receive(connection, {"type": "dance"}, now_ms=number * 7_000)
    assert close_code(connection) is None


# -- what a client asks ----------------------------------------------------------------------------


def test_a_sync_limit_above_200_is_cut() -> None:
    connection = signed_in()
    frames = ({"type": "sync", "after": 3, "limit": 9999, "ref": "s"}, {"type": "sync", "after": 3})
    assert list(receive(connection, *frames)) == [ReadInbox(3, 200, "s"), ReadInbox(3, 200, None)]


def test_a_page_answers_with_its_ref() -> None:
    connection = signed_in()
    connection.page({"after": 1, "items": [], "next": 1, "tail": 1, "more": False, "truncated": False}, "s")
    assert only(connection)["type"] == "sync_page"


def test_acks_and_reads_move_watermarks_of_own_sessions_only() -> None:
    connection = signed_in()
    connection.deliver(4, MESSAGE, 0)
    sent(connection)
    ack = {
        "type": "ack",
        "inbox_seq": 4,
        "delivered": [{"session_id": "d:alice:bob", "seq": 2}, {"session_id": "d:bob:carol", "seq": 1}],
    }
    effects = receive(connection, ack, {"type": "read", "session_id": "d:alice:bob", "seq": 2})
    assert list(effects) == [MoveWatermark("d:alice:bob", 2, 0, None), MoveWatermark("d:alice:bob", 2, 2, None)]
    error = only(connection)
    assert (error["code"], error["fatal"]) == ("session_not_found", False)


def test_a_ping_is_answered_with_its_id_and_ref() -> None:
    connection = signed_in()
    receive(connection, {"type": "ping", "id": 7, "ref": "r"}, {"type": "pong", "id": 1})
    assert only(connection) == {"type": "pong", "id": 7, "ref": "r"}
    receive(connection, {"type": "ping", "id": -7})
    assert only(connection)["id"] == -7


def test_reads_of_a_group_are_left_to_the_membership_check() -> None:
    connection = signed_in()
    ack = {"type": "ack", "delivered": [{"session_id": "g:x", "seq": 1}]}
    effects = receive(connection, ack, {"type": "read", "session_id": "g:x", "seq": 2, "ref": "r"})
    assert list(effects) == [MoveWatermark("g:x", 1, 0, None), MoveWatermark("g:x", 2, 2, "r")]
    assert sent(connection) == []


# -- presence, heartbeats, ends --------------------------------------------------------------------


def ticks(connection: Connection, first_ms: int, last_ms: int, kind: type[Effect]) -> list[int]:
    return [
        now_ms
        for now_ms in range(first_ms, last_ms + 1, 500)
        for effect in connection.ticked(now_ms)
        if isinstance(effect, kind)
    ]


def test_presence_is_repeated_every_5_s_until_live() -> None:
    connection = signed_in()
    assert ticks(connection, 0, 12_000, Announce) == [5_000, 10_000]
    connection.went_live(57, {"g:1": 9}, 12_000)
    assert only(connection) == {"type": "live", "inbox_seq": 57, "heads": [{"session_id": "g:1", "seq": 9}]}
    assert ticks(connection, 12_500, 600_000, Announce) == []


def test_presence_is_renewed_every_8_h() -> None:
    connection = opened()
    receive(connection, hello(f"alice/{24 * HOUR_MS}"))
    connection.went_live(1, {}, 0)
    assert [type(effect) for effect in connection.ticked(8 * HOUR_MS)].count(Announce) == 1


def test_after_a_resync_presence_is_announced_again_until_live() -> None:
    connection = signed_in()
    connection.went_live(1, {}, 0)
    connection.announce_again(1_000)
    assert ticks(connection, 1_000, 6_500, Announce) == [1_000, 6_000]


def test_heartbeat_names_heads_moved_since_the_last_one() -> None:
    connection = signed_in()
    connection.went_live(1, {"g:a": 3, "g:b": 5}, 0)
    for heads in ({"g:a": 3, "g:b": 6, "g:c": 1}, {"g:a": 2, "g:b": 6, "g:c": 1}, {}, {"g:a": 4}):
        connection.beat(1, heads)
    beats = [frame["heads"] for frame in sent(connection)[1:]]
    moved = [{"session_id": "g:b", "seq": 6}, {"session_id": "g:c", "seq": 1}]
    assert beats == [moved, [], [], [{"session_id": "g:a", "seq": 4}]]


def test_missed_push_makes_a_heartbeat_due_at_once() -> None:
    connection = signed_in(heartbeat_s=20)
    connection.went_live(1, {}, 0)
    connection.beat_soon(1_000)
    assert ticks(connection, 1_000, 30_000, HeartbeatDue) == [1_000, 21_000]


def test_new_live_names_all_heads_again() -> None:
    connection = signed_in()
    for _ in range(2):
        connection.went_live(1, {"g:a": 3}, 0)
    assert [frame["heads"] for frame in sent(connection)] == [[{"session_id": "g:a", "seq": 3}]] * 2


def test_heartbeats_are_periodic_with_the_highest_known_tail() -> None:
    connection = signed_in(heartbeat_s=20)
    connection.went_live(5, {}, 0)
    due = ticks(connection, 0, 100_000, HeartbeatDue)
    assert 10_000 <= due[0] <= 20_500
    assert {later - earlier for earlier, later in pairwise(due)} == {20_000}
    sent(connection)
    connection.beat(0, {})
    connection.beat(8, {})
    assert sent(connection) == [{"type": "heartbeat", "inbox_seq": n, "heads": []} for n in (5, 8)]


def test_replaced_connection_closes_4409_and_ignores_frames() -> None:
    connection = signed_in()
    connection.replaced()
    connection.deliver(1, MESSAGE, 0)
    assert close_code(connection) == 4409
    assert receive(connection, send()) == []
    assert connection.ticked(10**9) == ()
    assert not connection.has_outgoing


def test_goaway_names_the_time_and_shut_down_closes_1001() -> None:
    connection = signed_in()
    connection.go_away("restart", 1_500)
    assert only(connection) == {"type": "goaway", "reason": "restart", "reconnect_after_ms": 1_500}
    connection.shut_down()
    assert close_code(connection) == 1001


def test_first_reason_to_close_sets_the_code() -> None:
    connection = signed_in()
    connection.replaced()
    connection.shut_down()
    assert close_code(connection) == 4409


def test_refusal_says_when_to_try_again() -> None:
    connection = signed_in()
    connection.refused("m1", "d:alice:bob", Refused("rate_limited", "slower", 250), "r")
    assert only(connection) == {
        "type": "send_error",
        "ref": "r",
        "client_msg_id": "m1",
        "session_id": "d:alice:bob",
        "code": "rate_limited",
        "message": "slower",
        "retryable": True,
        "retry_after_ms": 250,
    }


@pytest.mark.bad_input("B1")
@given(st.lists(st.lists(lines, max_size=4).map("\n".join), max_size=6))
def test_signed_in_connection_answers_any_message_in_json(messages: list[str]) -> None:
    connection = Connection("c", ConnectionRules(verify), 0)
    connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, 10**12)
    for text in messages:
        connection.received(text, 0, 10**12)
    while taken := connection.take_outgoing():
        for line in taken.split("\n"):
            json.loads(line)
