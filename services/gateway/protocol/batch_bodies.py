"""Splits the body of `POST /v1/messages:batch` into entries, so that an invalid entry fails alone. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from services.gateway.protocol.frames import as_far_as_readable
from services.gateway.protocol.json_values import json_value
from services.gateway.protocol.limits import FRAME_BYTES
from tidings.errors import Refused

# Strings are skipped. A string without an end extends to the end of the body.
_STRING = rb'"(?:[^"\\]|\\.)*+(?:"|\\?$)'
_OUTSIDE = re.compile(_STRING + rb"|[\[\]{},]", re.DOTALL)
# More levels save tokens, but each level reads the bytes behind an unbalanced bracket again.
_LEVELS_IN_ONE_TOKEN = 3


def _balanced(levels: int) -> bytes:
    """The pattern of bytes that do not change the depth: text, strings, lists and objects of at most `levels`."""
    inner = rb"|[\[{]" + _balanced(levels - 1) + rb"[\]}]" if levels else b""
    return rb'(?:[^"\[\]{}]++|' + _STRING + inner + rb")*+"


# Inside an entry only its end is searched for. So a whole run of brackets is one token, and balanced bytes are none.
_IN_ENTRY = re.compile(_balanced(_LEVELS_IN_ONE_TOKEN) + rb"([\[{]++|[\]}]++)", re.DOTALL)
# The scan runs on the event loop: 100,000 tokens take some 50 ms, and the worst body of 1 MiB takes 65 ms. A batch of
# 100 messages has some hundreds of tokens.
MAX_TOKENS = 100_000
_BLANKS = b" \t\r\n"
_LIST, _OPENING, _CLOSING, _COMMA = ord("["), frozenset(b"[{"), frozenset(b"]}"), ord(",")


class _Batch(msgspec.Struct):
    messages: list[msgspec.Raw]


_WHOLE = msgspec.json.Decoder(_Batch)


@dataclass(frozen=True, slots=True)
class Broken:
    """An entry that is not a message. `client_msg_id` is copied from it, unchecked."""

    refused: Refused
    client_msg_id: object


def entries_of(body: bytes) -> Sequence[bytes]:
    """The bytes of each entry of `messages`, undecoded. Raises Refused if the body around them is not JSON."""
    try:
        return [bytes(entry) for entry in _WHOLE.decode(body).messages]
    except (msgspec.MsgspecError, RecursionError):
        return _taken_apart(body)


def _taken_apart(body: bytes) -> Sequence[bytes]:
    """The entries of a body that is not valid JSON."""
    begin, cuts = _messages(body)
    outer = json_value(body[:begin] + body[cuts[-1] :] if cuts else body)
    if not isinstance(outer, dict):
        raise Refused("invalid_frame", "the body is a JSON object")
    if not cuts or outer.get("messages") != []:
        raise Refused("invalid_frame", "messages is a list of messages and may be given once")
    begins = (begin, *(cut + 1 for cut in cuts))
    entries = [body[start:end].strip(_BLANKS) for start, end in zip(begins, cuts, strict=False)]
    return [] if entries == [b""] else entries


def entry_of(content: bytes) -> Mapping[str, object] | Broken:
    """One entry as a JSON object, or its fault."""
    try:
        if len(content) > FRAME_BYTES:
            raise Refused("too_large", f"a message may have at most {FRAME_BYTES} bytes of JSON")
        value = json_value(content)
        if not isinstance(value, dict):
            raise Refused("invalid_frame", "a message is a JSON object")
    except Refused as refused:
        found = as_far_as_readable(content.decode(errors="replace"))
        return Broken(refused, found.get("client_msg_id") if isinstance(found, dict) else None)
    return value


def _messages(body: bytes) -> tuple[int, Sequence[int]]:
    """Where the list `messages` of the outer object begins, and where each of its entries ends; (0, ()) without one.

    Raises Refused(`too_large`) if the body has more than MAX_TOKENS tokens.
    """
    depth, begin, end, key = 0, 0, 0, (0, 0)
    cuts: list[int] = []
    for _ in range(MAX_TOKENS):
        if depth > 2:
            depth, end = _after_brackets(body, depth, end)
            continue
        token = _OUTSIDE.search(body, end)
        if token is None:
            return 0, ()
        place, end = token.span()
        sign = body[place]
        if sign in _OPENING:
            depth += 1
            if depth == 2 and not begin and sign == _LIST and _is_messages(body[slice(*key)], body[key[1] : place]):
                begin = end
        elif sign in _CLOSING:
            depth -= 1
            if begin and depth == 1:
                return begin, [*cuts, place]
        elif sign == _COMMA:
            if begin and depth == 2:
                cuts.append(place)
        elif depth == 1:
            key = (place, end)
    raise Refused(
        "too_large", f"the batch has more than {MAX_TOKENS} brackets, commas and strings; send it in several batches"
    )


def _after_brackets(body: bytes, depth: int, start: int) -> tuple[int, int]:
    """The depth after the next run of brackets, at least 2, and its position. Without a run: the end of the body."""
    token = _IN_ENTRY.match(body, start)
    if token is None:
        return 2, len(body)
    place, end = token.span(1)
    if body[place] in _OPENING:
        return depth + end - place, end
    closed = min(end - place, depth - 2)
    return depth - closed, place + closed


def _is_messages(key: bytes, between: bytes) -> bool:
    if between.strip(_BLANKS) != b":":
        return False
    try:
        return bool(json.loads(key) == "messages")
    except ValueError:
        return False
