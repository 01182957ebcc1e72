"""PROTOCOL's table of kinds, and the digest that distinguishes a repeat from a conflict."""

from typing import Any

import pytest

from services.gateway.protocol.bodies import BodyRules, checked_post
from tidings.codec import post_digest
from tidings.errors import Refused

RULES = BodyRules(frozenset({"media.example"}))
URL = "https://media.example/a.png"
IMAGE: dict[str, Any] = {"url": URL, "thumb_url": URL, "width": 640, "height": 480}
BAD_URLS = [f" {URL}", "https://media.example:80abc/a", "https://media.example:99999/a", f"{URL}\u202e", f"{URL} b"]
FILE: dict[str, Any] = {"name": "报告 1.pdf", "url": URL, "size": 5, "content_type": "application/pdf"}


def check(kind: object, body: object, reply_to: object = None, mentions: object = None) -> bytes:
    return checked_post(kind, body, reply_to, mentions, RULES).body


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", {"text": "x" * 8_000}),
        ("text", {"text": "字" * 8_000}),
        ("text", {"text": "\x00 \n"}),
        ("image", IMAGE),
        ("image", {**IMAGE, "width": 16_384, "height": 1, "size": 0, "content_type": "image/png"}),
        ("image", {**IMAGE, "size": None, "content_type": ""}),
        ("file", FILE),
        ("custom", {"type": "poll", "data": None}),
        ("custom", {"type": "poll", "data": [1, {"a": "b"}]}),
    ],
)
def test_bodies_that_the_table_allows_are_taken(kind: str, body: dict[str, Any]) -> None:
    assert check(kind, body)


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (5, {}, "invalid_body"),
        ("recall", {}, "invalid_body"),
        ("text", "hi", "invalid_body"),
        ("text", {}, "invalid_body"),
        ("text", {"text": 5}, "invalid_body"),
        ("text", {"text": "x" * 8_001}, "invalid_body"),
        ("text", {"text": "😀" * 6_145}, "invalid_body"),
        ("image", {**IMAGE, "width": 0}, "invalid_body"),
        ("image", {**IMAGE, "width": 16_385}, "invalid_body"),
        ("image", {**IMAGE, "width": 1.5}, "invalid_body"),
        ("image", {**IMAGE, "width": True}, "invalid_body"),
        ("image", {**IMAGE, "thumb_url": None}, "invalid_body"),
        ("image", {**IMAGE, "url": "https://evil.example/a"}, "invalid_body"),
        ("image", {**IMAGE, "url": "https://me@media.example/a"}, "invalid_body"),
        ("image", {**IMAGE, "url": "javascript:alert(1)"}, "invalid_body"),
        ("image", {**IMAGE, "url": "https://[broken"}, "invalid_body"),
        ("image", {**IMAGE, "url": "/v1/media/guessed"}, "media_not_found"),
        ("file", {**FILE, "name": "../passwd"}, "invalid_body"),
        ("file", {**FILE, "name": "a\\b"}, "invalid_body"),
        ("file", {**FILE, "name": "a\nb"}, "invalid_body"),
        ("file", {**FILE, "name": "x" * 256}, "invalid_body"),
        ("file", {**FILE, "size": -1}, "invalid_body"),
        *(("file", {**FILE, "name": name}, "invalid_body") for name in (".", "..", " ", "a\u202egnp.exe", "a\u2028b")),
        *(("image", {**IMAGE, "url": url}, "invalid_body") for url in BAD_URLS),
        ("custom", {"type": "poll"}, "invalid_body"),
        ("custom", {"data": 1}, "invalid_body"),
        ("custom", {"type": "poll", "data": "x" * 8_192}, "invalid_body"),
        ("custom", {"type": "poll", "data": 2**70}, "invalid_body"),
    ],
)
def test_other_bodies_are_refused_with_a_text(kind: object, body: object, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check(kind, body)
    assert (refused.value.code, bool(refused.value.text)) == (code, True)


@pytest.mark.field_case("8", "9")
@pytest.mark.parametrize("name", ["\u200b", "\u2800", "\u3164", "\u00ad", "\ufe0f", "\uffff", "a\u061cb", "a\u200eb"])
def test_a_file_name_follows_the_rule_of_names(name: str) -> None:
    with pytest.raises(Refused, match="name:") as refused:
        check("file", {**FILE, "name": name})
    assert refused.value.code == "invalid_body"


CONTENT_TYPES = ["image/png", "text/plain; charset=utf-8", 'a/b;c="d\\" e" ; f=g', "application/vnd.x+json"]
BAD_CONTENT_TYPES = [
    "a\u061cb",
    "image",
    "image/",
    "image/png;",
    "image/png; a",
    "image /png",
    "imäge/png",
    "text/plain; charset=\x00",
    "text/plain\n",
    "a/" + "b" * 126,
]
CUSTOM_TYPES = ["poll", "com.example/poll:2", "{}", "p" * 128]
BAD_CUSTOM_TYPES = ["a\u061cb", "a b", "pöll", "a\n", "", "p" * 129, " poll", 5, None]


@pytest.mark.field_case("9")
def test_content_types_are_media_types() -> None:
    for good in CONTENT_TYPES:
        assert check("file", {**FILE, "content_type": good})
        assert check("image", {**IMAGE, "content_type": good})
    for bad in BAD_CONTENT_TYPES:
        with pytest.raises(Refused, match="content_type"):
            check("file", {**FILE, "content_type": bad})
        with pytest.raises(Refused, match="content_type"):
            check("image", {**IMAGE, "content_type": bad})


@pytest.mark.field_case("9")
def test_custom_types_are_visible_ascii() -> None:
    for good in CUSTOM_TYPES:
        assert check("custom", {"type": good, "data": 1})
    for bad in BAD_CUSTOM_TYPES:
        with pytest.raises(Refused, match="type is"):
            check("custom", {"type": bad, "data": 1})


@pytest.mark.parametrize("reply_to", [0, -1, 1.5, True, "5", 2**53, [1]])
def test_a_reply_is_to_a_seq(reply_to: object) -> None:
    with pytest.raises(Refused):
        check("text", {"text": "hi"}, reply_to)


@pytest.mark.parametrize("mentions", ["bob", ["a b"], ["bob"] * 51, [5], {"bob": 1}])
def test_mentions_are_at_most_50_user_ids(mentions: object) -> None:
    with pytest.raises(Refused):
        check("text", {"text": "hi"}, None, mentions)


def test_equal_json_values_have_equal_digests_and_others_do_not() -> None:
    def digest(data: object, reply_to: object = None) -> bytes:
        return post_digest(checked_post("custom", {"type": "t", "data": data}, reply_to, [], RULES))

    assert digest({"a": 1, "b": 2.0}) == digest({"b": 2, "a": 1.0})
    assert digest(1) != digest("1")
    assert digest(1, reply_to=1) != digest(1, reply_to=2)
    assert digest(1, reply_to=2.0) == digest(1, reply_to=2)
