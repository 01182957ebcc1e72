"""A batch is taken apart before any of it is read, so that each entry is judged alone."""

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.protocol.batch_bodies import MAX_TOKENS, Broken, entries_of, entry_of
from services.gateway.protocol.limits import FRAME_BYTES
from tidings.errors import Refused

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BROKEN = {
    "half surrogate": b'{"client_msg_id":"m","body":{"text":"\\ud83d"}}',
    "too deep": b'{"client_msg_id":"m","body":' + b"[" * 32 + b"]" * 32 + b"}",
    "deeper than any parser": b'{"client_msg_id":"m","body":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    "NaN": b'{"client_msg_id":"m","body":NaN}',
    "infinity": b'{"client_msg_id":"m","body":-Infinity}',
    "very long number": b'{"client_msg_id":"m","body":' + b"9" * 10_000 + b"}",
    "not UTF-8": b'{"client_msg_id":"m","body":"\xff\xfe"}',
    "not JSON": b'{"client_msg_id":"m",}',
    "a bare word": b"hello",
    "a list": b'[{"client_msg_id":"m"}]',
    "a number": b"5",
    "null": b"null",
    "nothing": b"",
    "too large": b'{"client_msg_id":"m","body":"' + b"x" * FRAME_BYTES + b'"}',
    "control character": b'{"client_msg_id":"m","body":"\x00"}',
}


def body_of(*entries: bytes) -> bytes:
    return b'{"more":[1,{"messages":[2]}],"messages" : [' + b" ,\n".join(entries) + b'], "after":"]}"}'


@pytest.mark.field_case("11")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_entry_leaves_the_others_whole(kind: str) -> None:
    good = b'{"client_msg_id":"a","body":{"text":"],[{\\"\\\\"}}'
    entries = entries_of(body_of(good, BROKEN[kind], good))
    judged = [entry_of(entry) for entry in entries]
    assert [isinstance(one, Broken) for one in judged] == [False, True, False]
    assert judged[0] == judged[2] == json.loads(good)
    assert isinstance(judged[1], Broken)
    assert judged[1].refused.text


@pytest.mark.parametrize("kind", ["half surrogate", "too deep", "NaN", "very long number", "not UTF-8", "too large"])
def test_a_broken_entry_is_named_where_its_id_is_readable(kind: str) -> None:
    broken = entry_of(BROKEN[kind])
    assert isinstance(broken, Broken)
    assert broken.client_msg_id == "m"


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=3), min_size=1, max_size=5), st.booleans())
def test_any_entries_are_found_as_they_were_written(messages: list[dict[str, object]], ascii_only: bool) -> None:
    body = json.dumps({"messages": messages}, ensure_ascii=ascii_only).encode()
    assert [entry_of(entry) for entry in entries_of(body)] == messages


@settings(max_examples=200)
@given(st.lists(json_values, max_size=5), st.booleans())
def test_any_entries_are_found_next_to_a_broken_one(values: list[object], ascii_only: bool) -> None:
    written = [json.dumps({"body": [value]}, ensure_ascii=ascii_only).encode() for value in values]
    assert entries_of(body_of(b"NaN", *written, b"[[],,{}]")) == [b"NaN", *written, b"[[],,{}]"]


def test_an_entry_is_as_deep_alone_as_in_a_batch() -> None:
    entry = b'{"body":' + b"[" * 31 + b"]" * 31 + b"}"
    assert not isinstance(entry_of(entries_of(body_of(entry))[0]), Broken)


@pytest.mark.parametrize("body", [b'{"messages":[]}', b'{"messages":[ \n]}', b'{"\\u006dessages":[]}'])
def test_an_empty_list_has_no_entries(body: bytes) -> None:
    assert entries_of(body) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"5",
        b"{}",
        b'{"messages":null}',
        b'{"messages":{}}',
        b'{"messages":[{}}',
        b'{"messages":[{}]',
        b'{"messages":[{}]}]',
        b'{"messages":[{}],}',
        b'{"messages",[{}]}',
        b'["messages":[{}]]',
        b'{"messages":[NaN],"messages":[{}]}',
        b'{"messages":[NaN],"x":"\xff"}',
        b'{"messages":[{}],"x":NaN}',
        b'{"other":{"messages":[{}]}}',
        b'{"messages":[{}],"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"messages":"[{}]"}',
        b'{"messages":[NaN' + b"[" * 300_000 + b"]" * 299_999 + b"]}",
    ],
)
def test_body_that_cannot_be_parsed_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        entries_of(body)
    assert refused.value.code == "invalid_frame"


@pytest.mark.parametrize("unit", [b"[]", b"{}", b"[[[[]]]]", b'{"a":["]"]}', b"[" * 25 + b"]" * 25])
def test_many_brackets_do_not_spoil_a_batch(unit: bytes) -> None:
    good = b'{"client_msg_id":"a","body":[' + b",".join([unit] * (3_000 // len(unit)) * 2) + b"]}"
    entries = entries_of(body_of(*[good] * 30, b'{"client_msg_id":"m",}'))
    judged = [entry_of(entry) for entry in entries]
    assert [isinstance(one, Broken) for one in judged] == [False] * 30 + [True]


def test_30_messages_of_2000_lists_pass_next_to_a_broken_one() -> None:
    good = b'{"client_msg_id":"a","body":[' + b",".join([b"[]"] * 2_000) + b"]}"
    entries = entries_of(body_of(*[good] * 30, b'{"client_msg_id":"m",}'))
    assert entries[:30] == [good] * 30
    assert isinstance(entry_of(entries[30]), Broken)


@pytest.mark.parametrize("closed", [b"]" * 50_000, b"]}" * 25_000])
def test_an_entry_of_50000_nested_brackets_fails_alone(closed: bytes) -> None:
    opened = closed[::-1].translate(bytes.maketrans(b"]}", b"[{"))
    good = b'{"client_msg_id":"a"}'
    entries = entries_of(body_of(good, b'{"client_msg_id":"m","body":' + opened + closed + b"}", good))
    assert [isinstance(entry_of(entry), Broken) for entry in entries] == [False, True, False]


def test_a_batch_of_too_many_tokens_is_too_large() -> None:
    with pytest.raises(Refused) as refused:
        entries_of(b'{"messages":[NaN' + b"," * MAX_TOKENS + b"]}")
    assert refused.value.code == "too_large"
    assert str(MAX_TOKENS) in refused.value.text


@given(st.binary(max_size=200) | st.text('{}[]",:\\messages1 ').map(str.encode))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    try:
        entries = entries_of(body)
    except Refused:
        return
    for entry in entries:
        entry_of(entry)


def test_body_of_brackets_is_scanned_once() -> None:
    """Generous, since this is about a time that grows with the square of the size."""
    began = time.monotonic()
    for unit in (b"[", b"[]", b'"', b'\\"', b",", b"{[]}", b"[]," * 20 + b"["):
        body = b'{"messages":[NaN,' + unit * (1024 * 1024 // len(unit)) + b"]}"
        with contextlib.suppress(Refused):
            entries_of(body)
    assert time.monotonic() - began < 30
