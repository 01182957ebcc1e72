"""From a line to a frame: what is refused, with which answer, and what is too large or too deep."""

import json
import time
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.protocol.effects import CheckAck, MoveWatermark, Publish, ReadInbox
from services.gateway.protocol.frames import Malformed, Ping, decode_line, is_too_deep
from services.gateway.protocol.limits import FRAME_BYTES, MAX_DEPTH
from tests.unit.gateway.protocol.client import close_code, hello, only, opened, receive, send, sent, signed_in
from tests.unit.gateway.protocol.lines import lines


@pytest.mark.parametrize("line", ["{", "[]", '"text"', "5", "nul", '{"a":' * 33 + "1" + "}" * 33, "[" * 40, "}"])
def test_non_object_or_too_deep_json_is_fatal(line: str) -> None:
    connection = signed_in()
    receive(connection, line)
    assert only(connection)["fatal"] is True
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


KIB = 1024


@pytest.mark.parametrize("size", [64 * KIB, 1024 * KIB])
def test_string_of_escapes_without_an_end_is_scanned_once(size: int) -> None:
    """With a string that had to end, 64 KiB took 43 s. Generous, since this is about hours."""
    began = time.monotonic()
    assert is_too_deep("[" * 33 + '"' + '\\"' * (size // 2))
    assert not is_too_deep("[" * 20 + '"' + '\\"' * (size // 2) + "[" * 33)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("text", "is_deep"),
    [
        ("[" * 33, True),
        ("[" * 32 + "]" * 32, False),
        ('["' + "[" * 40 + '"]', False),
        ('["\\"' + "[" * 40 + '"]', False),
        ('["\\\\"' + "[" * 40, True),
        ("[]" * 40, False),
    ],
)
def test_only_brackets_outside_of_strings_nest(text: str, is_deep: bool) -> None:
    assert is_too_deep(text) is is_deep


@pytest.mark.bad_input("B1")
@given(lines)
def test_any_line_is_a_frame_or_gets_an_error(line: str) -> None:
    decoded = decode_line(line)
    assert not isinstance(decoded, Malformed) or decoded.text


@given(st.integers(1, 60))
def test_depth_is_counted_outside_of_strings(depth: int) -> None:
    inner = '{"type":"ping","id":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\"[[[["}'
    assert not isinstance(decode_line(inner), Malformed)
    deep = '{"type":"ping","x":' + "[" * (depth - 1) + "]" * (depth - 1) + "}" if depth > 1 else '{"type":"ping"}'
    assert isinstance(decode_line(deep), Malformed) == (depth > MAX_DEPTH)


@pytest.mark.field_case("36")
def test_a_byte_order_mark_before_a_line_is_ignored() -> None:
    """As REST ignores it; one inside of a text stays."""
    assert decode_line('\ufeff{"type":"ping","id":"\ufeff"}') == Ping(id="\ufeff")
    assert decode_line('\ufeff\ufeff{"type":"ping"}') == Malformed(True, "not JSON")
