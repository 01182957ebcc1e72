"""Frames of PROTOCOL's WebSocket section: bytes of clients to typed frames, and answers to bytes. Pure."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import orjson

from services.gateway.protocol.limits import FRAME_BYTES, MAX_DEPTH, MAX_NUMBER
from tidings.json_numbers import number_of

MAX_REF = 64
# PROTOCOL leaves it open; five pages, each message of a session of its own.
MAX_DELIVERED = 1_000

# A string without its end counts to the end of the text: otherwise each of its quotes would be tried as a begin,
# which for 64 KiB of escapes took 43 s.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', re.DOTALL)

_BYTE_ORDER_MARK = "\ufeff"
NOT_ALLOWED = "JSON and Unicode do not allow a number or string in it (NaN, an infinity, a lone surrogate)"

Number = Annotated[int, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
Ref = Annotated[str, msgspec.Meta(max_length=MAX_REF)] | None


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """Sign in, or renew."""

    token: str | None = None
    device_id: str | None = None
    ref: Ref = None


class Send(msgspec.Struct, frozen=True, tag_field="type", tag="send"):
    """Say something. Every field is judged by hand, so that a usable client_msg_id gets its send_error."""

    client_msg_id: Any = None
    session_id: Any = None
    to: Any = None
    kind: Any = None
    body: Any = None
    reply_to: Any = None
    mentions: Any = None
    attempt: Any = None
    ref: Any = None


class Sync(msgspec.Struct, frozen=True, tag_field="type", tag="sync"):
    """Ask for a page of the inbox."""

    after: Position
    limit: int | None = None
    ref: Ref = None


class SeqOfSession(msgspec.Struct, frozen=True):
    """A place in a session."""

    session_id: str
    seq: Seq


class Ack(msgspec.Struct, frozen=True, tag_field="type", tag="ack"):
    """Cumulative: this device holds everything up to there."""

    inbox_seq: Position | None = None
    delivered: Annotated[list[SeqOfSession], msgspec.Meta(max_length=MAX_DELIVERED)] | None = None
    ref: Ref = None


class Read(msgspec.Struct, frozen=True, tag_field="type", tag="read"):
    """Cumulative: read up to there."""

    session_id: str
    seq: Seq
    ref: Ref = None


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """To be answered by a pong."""

    id: Annotated[str, msgspec.Meta(max_length=MAX_REF)] | Number | None = None
    ref: Ref = None


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """Answers a ping; tells nothing else."""

    id: str | int | None = None
    ref: Ref = None


Frame = Hello | Send | Sync | Ack | Read | Ping | Pong


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no frame. `client_msg_id` is as found in a `send`, unchecked. `code` is one of PROTOCOL's."""

    is_fatal: bool
    text: str
    ref: str | None = None
    client_msg_id: object = None
    session_id: object = None
    code: str = "invalid_frame"


_DECODER: msgspec.json.Decoder[Frame] = msgspec.json.Decoder(Frame, float_hook=number_of)
_ANY_DECODER: msgspec.json.Decoder[object] = msgspec.json.Decoder(float_hook=number_of)
_LENIENT = json.JSONDecoder(parse_int=lambda _: 0, parse_float=lambda _: 0.0)


def decode_line(line: str) -> Frame | Malformed:
    """One line of a message; a byte order mark before it is ignored, as in REST (RFC 8259). Never raises."""
    line = line.removeprefix(_BYTE_ORDER_MARK)
    if is_too_deep(line):
        return Malformed(True, f"a frame may be nested at most {MAX_DEPTH} deep")
    # In UTF-8 a character takes four bytes at most.
    if len(line) > FRAME_BYTES // 4 and len(line.encode(errors="replace")) > FRAME_BYTES:
        return _too_large(line)
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError as error:
        return _second_look(line) or _malformed(line, str(error))
    except msgspec.MsgspecError:
        return _malformed(line, NOT_ALLOWED)


def _second_look(line: str) -> Frame | None:
    """The frame whose only fault is how it writes a whole number (5.0) or an absent field (null, empty)."""
    try:
        frame: Frame = msgspec.convert(_plain(_ANY_DECODER.decode(line)), Frame)
    except msgspec.MsgspecError:
        return None
    return frame


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {name: _plain(field) for name, field in value.items() if field is not None and field != ""}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    number = whole(value)
    return value if number is None else number


_EMPTY: tuple[object, ...] = ("", [], {})


def is_given(value: object) -> bool:
    """False for null and empty, which count as absent (PROTOCOL). 0 and false are values."""
    return value is not None and value not in _EMPTY


def whole(value: object) -> int | None:
    """An integer however JSON wrote it (5 and 5.0 are one value); None for anything else, true among it."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _malformed(line: str, reason: str) -> Malformed:
    """Tell what is not JSON (fatal) from JSON with a bad field, number or string (not fatal)."""
    value = as_far_as_readable(line)
    if value is None:
        return Malformed(True, "not JSON")
    if not isinstance(value, dict):
        return Malformed(True, "a frame is a JSON object")
    return _found_in(value, "invalid_frame", reason)


def _too_large(line: str) -> Malformed:
    """Fatal only where no answer could name the frame."""
    value = as_far_as_readable(line)
    text = f"a frame is at most {FRAME_BYTES} bytes (limits.frame_bytes); write UTF-8 instead of escapes, or less"
    if not isinstance(value, dict):
        return Malformed(True, text, code="too_large")
    return _found_in(value, "too_large", text)


def _found_in(value: dict[str, object], code: str, reason: str) -> Malformed:
    given = value.get("ref")
    ref = given if isinstance(given, str) and is_ref(given) else None
    found = value if value.get("type") == "send" else {}
    return Malformed(False, reason, ref, found.get("client_msg_id"), found.get("session_id"), code)


def as_far_as_readable(text: str) -> Any:
    """What stands in JSON that was refused; None where it is no JSON. Numbers are left out.

    The standard library's decoder is the lenient one: it takes NaN and lone surrogates, and here any number.
    """
    try:
        return _LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None


def is_ref(value: object) -> bool:
    """True for a `ref` that an answer can repeat."""
    return isinstance(value, str) and 0 < len(value) <= MAX_REF and is_unicode(value)


def is_unicode(text: str) -> bool:
    """False for text with a lone surrogate, which UTF-8 cannot carry."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_too_deep(text: str) -> bool:
    """True where brackets nest deeper than MAX_DEPTH. Few brackets cannot: most frames stop at the first line."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for character in _STRING.sub("", text):
        if character in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif character in "}]":
            depth -= 1
    return False


def encode(kind: str, ref: str | None = None, **fields: object) -> bytes:
    """One frame of the server, on one line. `fields` may hold orjson.Fragment; None is left out."""
    frame: dict[str, object] = {"type": kind}
    frame.update((name, value) for name, value in fields.items() if value is not None)
    if ref:
        frame["ref"] = ref
    return orjson.dumps(frame)


def encode_delivery(inbox_seq: int | None, message_json: bytes) -> bytes:
    """A `message` frame around the bytes that all receivers share."""
    number = b"null" if inbox_seq is None else str(inbox_seq).encode()
    return b'{"type":"message","inbox_seq":' + number + b',"message":' + message_json + b"}"
