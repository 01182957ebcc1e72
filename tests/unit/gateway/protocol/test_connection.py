"""Every transition of one connection, with the time as an argument."""

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import ANY

import pytest

from services.gateway.protocol.connection import Connection
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.effects import (
    Announce,
    CheckAck,
    Effect,
    HeartbeatDue,
    MoveWatermark,
    Publish,
    ReadInbox,
    SignedIn,
)
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.limits import FRAME_BYTES
from services.gateway.protocol.send_queue import SendQueueLimits
from tidings.errors import Refused

WALL_MS = 1_764_000_000_000
HOUR_MS = 3_600_000
MESSAGE = b'{"seq":1}'


def verify(token: str, wall_ms: int) -> Identity:
    """Tokens of these tests are `user` or `user/milliseconds`."""
    if token == "expired":
        raise Refused("token_expired", "get a new one")
    if not token or token == "bad":
        raise Refused("unauthorized", "sign it")
    user_id, _, valid_for_ms = token.partition("/")
    return Identity(user_id, int(valid_for_ms or HOUR_MS))


def opened(now_ms: int = 0, **rules: Any) -> Connection:
    return Connection("c1", ConnectionRules(verify, **rules), now_ms)


def receive(connection: Connection, *frames: object, now_ms: int = 0) -> Sequence[Effect]:
    text = "\n".join(frame if isinstance(frame, str) else json.dumps(frame) for frame in frames)
    return connection.received(text, now_ms, WALL_MS)


def hello(token: str = "alice", device_id: str = "phone") -> dict[str, object]:
    return {"type": "hello", "token": token, "device_id": device_id}


def signed_in(now_ms: int = 0, **rules: Any) -> Connection:
    connection = opened(now_ms, **rules)
    receive(connection, hello(), now_ms=now_ms)
    sent(connection)
    return connection


def send(**changes: object) -> dict[str, object]:
    frame = {"type": "send", "client_msg_id": "m1", "to": "bob", "kind": "text", "body": {"text": "hi"}}
    return {**frame, **changes}


def sent(connection: Connection) -> list[dict[str, Any]]:
    return [json.loads(line) for line in connection.take_outgoing().split("\n") if line]


def only(connection: Connection) -> dict[str, Any]:
    (frame,) = sent(connection)
    return frame


def close_code(connection: Connection) -> int | None:
    return connection.closing[0] if connection.closing else None


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


def test_empty_messages_are_nothing_even_before_hello() -> None:
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


@pytest.mark.parametrize("line", ["{", "[]", '"text"', "5", "nul", '{"a":' * 33 + "1" + "}" * 33, "[" * 40, "}"])
def test_non_object_or_too_deep_json_is_fatal(line: str) -> None:
    connection = signed_in()
    receive(connection, line)
    assert only(connection)["fatal"] is True
    assert close_code(connection) == 4400


def test_a_binary_message_is_fatal() -> None:
    connection = signed_in()
    connection.received_binary()
    assert close_code(connection) == 4400


@pytest.mark.parametrize(
    "line",
    [
        '{"type":"dance"}',
        "{}",
        '{"type":5}',
        '{"type":"ping","id":[]}',
        '{"type":"ping","id":99999999999999999999999}',
        '{"type":"sync"}',
        '{"type":"sync","after":-1}',
        '{"type":"sync","after":1e999}',
        '{"type":"sync","after":NaN}',
        '{"type":"sync","after":9007199254740992}',
        '{"type":"sync","after":"1"}',
        '{"type":"sync","after":0,"limit":0}',
        '{"type":"sync","after":0,"limit":-5}',
        '{"type":"read","session_id":"d:alice:bob","seq":0}',
        '{"type":"ack","inbox_seq":-1}',
        '{"type":"sync","after":1.5}',
        '{"type":"sync","after":9007199254740992.0}',
        '{"type":"read","session_id":"d:bob:alice","seq":1}',
        '{"type":"read","session_id":"","seq":1}',
        '{"type":"ack","delivered":[{"session_id":"x","seq":1}]}',
        '{"type":"ack","delivered":[' + ",".join(['{"session_id":"d:alice:bob","seq":1}'] * 1001) + "]}",
        '{"type":"ack","delivered":[{"seq":1}]}',
        '{"type":"ping","ref":"' + "r" * 65 + '"}',
        '{"type":"ping","id":"\\ud800"}',
        '{"type":"send","to":"bob","kind":"text","body":{"text":"hi"}}',
        '{"type":"send","client_msg_id":"","to":"bob"}',
    ],
)
def test_bad_fields_are_answered_and_the_other_lines_processed(line: str) -> None:
    connection = signed_in()
    receive(connection, line, {"type": "ping", "id": "p"})
    error, pong = sent(connection)
    assert (error["type"], error["code"], error["fatal"]) == ("error", "invalid_frame", False)
    assert pong == {"type": "pong", "id": "p"}
    assert close_code(connection) is None


def test_a_lone_surrogate_is_named_in_the_answer() -> None:
    connection = signed_in()
    receive(connection, '{"type":"ping","id":"\\ud800"}')
    assert "surrogate" in only(connection)["message"]


def test_an_error_repeats_the_ref() -> None:
    connection = signed_in()
    receive(connection, {"type": "sync", "after": "x", "ref": "r9"})
    assert only(connection)["ref"] == "r9"


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "ping", "ref": "r9"},
        {"type": "send", "ref": "r9"},
        {"type": "dance", "ref": "r9"},
        {"type": "hello", "token": "alice", "ref": "r9"},
        {**hello("bad"), "ref": "r9"},
    ],
)
def test_a_fatal_error_repeats_the_ref(frame: object) -> None:
    connection = opened()
    receive(connection, frame)
    error = only(connection)
    assert (error["fatal"], error["ref"]) == (True, "r9")


def test_whole_floats_are_numbers_and_empty_values_are_absent() -> None:
    connection = signed_in()
    place = {"session_id": "d:alice:bob", "seq": 2.0}
    effects = receive(
        connection,
        {"type": "sync", "after": 3.0, "limit": "", "ref": ""},
        {"type": "read", **place},
        {"type": "ack", "inbox_seq": "", "delivered": [place]},
        {"type": "ack", "inbox_seq": 4.0, "delivered": ""},
    )
    moved = [MoveWatermark("d:alice:bob", 2, 2, None), MoveWatermark("d:alice:bob", 2, 0, None)]
    assert list(effects) == [ReadInbox(3, 200, None), *moved, CheckAck(4, None)]
    assert sent(connection) == []


def test_ten_invalid_frames_within_a_minute_are_fatal() -> None:
    connection = signed_in()
    for number in range(9):
        receive(connection, {"type": "dance"}, now_ms=number)
    assert close_code(connection) is None
    receive(connection, {"type": "dance"}, now_ms=59_000)
    assert close_code(connection) == 4400


def test_nine_invalid_frames_a_minute_are_borne() -> None:
    connection = signed_in()
    for number in range(50):
        receive(connection, {"type": "dance"}, now_ms=number * 7_000)
    assert close_code(connection) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": None}, "invalid_frame"),
        ({"to": "a b"}, "invalid_frame"),
        ({"to": "bob", "session_id": "d:alice:carol"}, "invalid_frame"),
        ({"to": None, "session_id": "d:bob:alice"}, "invalid_frame"),
        ({"to": None, "session_id": 5}, "invalid_frame"),
        ({"to": None, "session_id": "d:bob:carol"}, "session_not_found"),
        ({"to": "bob", "session_id": "g:guessed"}, "invalid_frame"),
        ({"attempt": 0}, "invalid_frame"),
        ({"ref": "r" * 65}, "invalid_frame"),
        ({"kind": "system"}, "invalid_body"),
        ({"kind": None}, "invalid_body"),
        ({"body": {"text": ""}}, "invalid_body"),
        ({"kind": "custom", "body": {"type": "x", "data": 10**30 + 1}}, "invalid_body"),
        ({"reply_to": -1}, "invalid_body"),
        ({"mentions": "bob"}, "invalid_body"),
        ({"client_msg_id": "fffffff0-0000-7000-8000-000000000000"}, "clock_skew"),
        ({"client_msg_id": "01800000-0000-7000-8000-000000000000"}, "too_old"),
    ],
)
def test_a_refused_send_is_answered_by_send_error(changes: dict[str, object], code: str) -> None:
    connection = signed_in()
    assert not receive(connection, send(**changes))
    error = only(connection)
    assert (error["type"], error["code"], error["retryable"]) == ("send_error", code, False)
    assert error["client_msg_id"] == changes.get("client_msg_id", "m1")


@pytest.mark.promise("G11")
def test_send_to_any_group_is_published_without_a_member_check() -> None:
    connection = signed_in()
    (effect,) = receive(connection, send(to=None, session_id="g:guessed"))
    assert isinstance(effect, Publish)
    assert (effect.draft.session_id, sent(connection)) == ("g:guessed", [])


# -- what a client asks ----------------------------------------------------------------------------


def test_a_send_asks_to_publish_its_canonical_content() -> None:
    body = {"text": "hi", "unknown": 1}
    (effect,) = receive(signed_in(), send(body=body, reply_to=2.0, mentions=["bob"], attempt=3, ref="r"))
    assert isinstance(effect, Publish)
    draft = effect.draft
    assert (draft.session_id, draft.client_msg_id, draft.attempt, effect.ref) == ("d:alice:bob", "m1", 3, "r")
    assert (draft.post.body, draft.post.reply_to, list(draft.post.mentions)) == (b'{"text":"hi"}', 2, ["bob"])


def test_empty_optional_fields_count_as_absent() -> None:
    (effect,) = receive(signed_in(), send(reply_to="", mentions=[], session_id="", attempt=None, ref=""))
    assert isinstance(effect, Publish)
    assert (effect.draft.post.reply_to, len(effect.draft.post.mentions), effect.ref) == (0, 0, None)


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


# -- deliveries ------------------------------------------------------------------------------------


@pytest.mark.bad_input("B5")
def test_unacked_delivery_repeats_at_5_15_35_s_and_closes_at_45() -> None:
    connection = signed_in()
    connection.deliver(1, MESSAGE, 1_000)
    assert only(connection) == {"type": "message", "inbox_seq": 1, "message": {"seq": 1}}
    repeated_at = []
    for now_ms in range(1_000, 46_000, 500):
        connection.ticked(now_ms)
        repeated_at += [now_ms for frame in sent(connection) if frame["type"] == "message"]
    assert repeated_at == [6_000, 16_000, 36_000]
    assert close_code(connection) is None
    connection.ticked(46_000)
    assert close_code(connection) == 4408


def test_an_ack_ends_the_repeats_of_all_up_to_it() -> None:
    connection = signed_in()
    for inbox_seq in (1, 2, 3):
        connection.deliver(inbox_seq, MESSAGE, 0)
    sent(connection)
    receive(connection, {"type": "ack", "inbox_seq": 2})
    connection.ticked(5_000)
    assert [frame["inbox_seq"] for frame in sent(connection)] == [3]


def test_a_delivery_below_an_ack_is_not_waited_for() -> None:
    connection = signed_in()
    receive(connection, {"type": "ack", "inbox_seq": 9})
    connection.ack_checked(9, 9, None)
    connection.deliver(5, MESSAGE, 0)
    assert only(connection)["inbox_seq"] == 5
    connection.ticked(5_000)
    assert sent(connection) == []


def test_a_sync_restarts_the_clock_of_deliveries() -> None:
    connection = signed_in()
    connection.deliver(1, MESSAGE, 0)
    receive(connection, {"type": "sync", "after": 0}, now_ms=40_000)
    for now_ms in range(40_000, 85_000, 500):
        connection.ticked(now_ms)
    assert close_code(connection) is None
    sent(connection)
    connection.ticked(85_000)
    assert close_code(connection) == 4408


def test_repeats_wait_while_the_socket_takes_nothing() -> None:
    connection = signed_in()
    connection.deliver(1, MESSAGE, 0)
    connection.ticked(5_000)
    assert len([frame for frame in sent(connection) if frame["type"] == "message"]) == 1


@pytest.mark.bad_input("B5")
def test_a_full_outbox_closes_at_once() -> None:
    connection = signed_in(send_queue=SendQueueLimits(deliveries=3))
    for inbox_seq in range(1, 5):
        connection.deliver(inbox_seq, MESSAGE, 0)
    assert close_code(connection) == 4408
    assert not connection.has_outgoing


def test_an_outbox_full_of_bytes_closes_at_once() -> None:
    connection = signed_in(send_queue=SendQueueLimits(buffered_bytes=1_000))
    for _ in range(20):
        connection.push(b"x" * 100)
    assert close_code(connection) == 4408


def test_frames_are_joined_up_to_256_kib() -> None:
    connection = signed_in()
    for _ in range(5):
        connection.push(b'"' + b"x" * 100_000 + b'"')
    assert len(connection.take_outgoing()) == 2 * 100_002 + 1
    assert len(connection.take_outgoing()) == 2 * 100_002 + 1
    assert len(connection.take_outgoing()) == 100_002


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


def test_the_first_reason_to_close_is_the_one_that_counts() -> None:
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


# -- what is too large -----------------------------------------------------------------------------

EMOJI = "\\ud83d\\ude00"
TOO_LARGE = [
    json.dumps(send(client_msg_id="big", ref="r")).replace('"hi"', f'"{EMOJI * 6_144}"'),
    json.dumps(send(client_msg_id="big", ref="r", body={"text": "x" * FRAME_BYTES})),
    json.dumps(send(client_msg_id="big", ref="r", body={"text": "字" * FRAME_BYTES}), ensure_ascii=False),
    json.dumps(send(client_msg_id="big", ref="r")).replace('"hi"', '"\\ud83d"' + " " * FRAME_BYTES),
    json.dumps(send(client_msg_id="big", ref="r")).replace('"hi"', "9" * FRAME_BYTES),
]


@pytest.mark.field_case("12")
@pytest.mark.parametrize("line", TOO_LARGE, ids=["escapes", "ASCII", "UTF-8", "half surrogate", "digits"])
def test_too_large_send_is_answered_and_the_others_pass(line: str) -> None:
    connection = signed_in()
    effects = receive(connection, send(client_msg_id="a"), line, send(client_msg_id="b"))
    assert [effect.draft.client_msg_id for effect in effects if isinstance(effect, Publish)] == ["a", "b"]
    answer = only(connection)
    assert (answer["type"], answer["client_msg_id"], answer["code"]) == ("send_error", "big", "too_large")
    assert (answer["retryable"], answer["ref"]) == (False, "r")
    assert not connection.closing


def test_other_too_large_frame_is_a_non_fatal_error() -> None:
    connection = signed_in()
    delivered = [{"session_id": "d:alice:bob", "seq": 1}] * 2_000
    receive(connection, {"type": "ack", "ref": "r", "delivered": delivered})
    answer = only(connection)
    assert (answer["type"], answer["code"], answer["fatal"], answer["ref"]) == ("error", "too_large", False, "r")


@pytest.mark.parametrize("line", ["x" * (FRAME_BYTES + 1), "[" + "1," * FRAME_BYTES + "1]"])
def test_too_large_message_without_an_id_is_closed_with_1009(line: str) -> None:
    for connection in (opened(), signed_in()):
        receive(connection, line)
        assert only(connection) == {"type": "error", "code": "too_large", "message": ANY, "fatal": True}
        assert close_code(connection) == 1009


def test_a_line_of_exactly_the_limit_is_taken() -> None:
    connection = signed_in()
    frame = json.dumps(send(client_msg_id="a"))
    line = frame + " " * (FRAME_BYTES - len(frame))
    assert [type(effect) for effect in receive(connection, line, line)] == [Publish, Publish]
    receive(connection, line + " ")
    assert only(connection)["code"] == "too_large"


@pytest.mark.field_case("13")
def test_a_number_that_cannot_be_kept_is_the_bodys_fault() -> None:
    connection = signed_in()
    for number in ("1e400", "100000000000000000001", "9" * 5_000):
        frame = json.dumps(send(kind="custom", body={"type": "t", "data": "N"})).replace('"N"', number)
        receive(connection, frame)
        assert only(connection)["client_msg_id"] == "m1"


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_null_and_empty_count_as_absent_in_a_send(empty: object) -> None:
    connection = signed_in()
    optional = dict.fromkeys(("session_id", "reply_to", "mentions", "attempt", "ref"), empty)
    (effect,) = receive(connection, send(**optional))
    assert effect == receive(connection, send())[0]


@pytest.mark.parametrize("empty", [None, ""])
def test_null_and_empty_count_as_absent_in_every_frame(empty: object) -> None:
    connection = signed_in()
    frames = [
        {"type": "sync", "after": 0, "limit": empty, "ref": empty},
        {"type": "ack", "inbox_seq": empty, "delivered": empty, "ref": empty},
        {"type": "ping", "id": empty, "ref": empty},
    ]
    receive(connection, *frames)
    assert [frame for frame in sent(connection) if frame["type"] == "error"] == []
