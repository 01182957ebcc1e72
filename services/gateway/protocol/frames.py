"""Decodes and encodes the frames of PROTOCOL's WebSocket section. Pure."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import orjson

from services.gateway.protocol.limits import FRAME_BYTES, MAX_DEPTH, MAX_NUMBER
from tidings.json_numbers import number_of

MAX_REF = 64
# PROTOCOL does not fix it. It is enough for five pages with one session per message.
MAX_DELIVERED = 1_000

# A string without an end extends to the end of the text. Otherwise each of its quotes would be tried as a start, which
# took 43 s for 64 KiB of escapes.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)', re.DOTALL)

_BYTE_ORDER_MARK = "\ufeff"
NOT_ALLOWED = "JSON and Unicode do not allow a number or string in it (NaN, an infinity, a lone surrogate)"

Number = Annotated[int, msgspec.Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_NUMBER)]
Ref = Annotated[str, msgspec.Meta(max_length=MAX_REF)] | None


class Hello(msgspec.Struct, frozen=True, tag_field="type", tag="hello"):
    """Sign in, or renew the token."""

    token: str | None = None
    device_id: str | None = None
    ref: Ref = None


class Send(msgspec.Struct, frozen=True, tag_field="type", tag="send"):
    """Send a message. Fields are untyped, because an invalid `send` with a valid client_msg_id gets a `send_error`."""

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
    """Request a page of the inbox."""

    after: Position
    limit: int | None = None
    ref: Ref = None


class SeqOfSession(msgspec.Struct, frozen=True):
    """A seq of a session."""

    session_id: str
    seq: Seq


class Ack(msgspec.Struct, frozen=True, tag_field="type", tag="ack"):
    """This device holds everything up to these places. Cumulative."""

    inbox_seq: Position | None = None
    delivered: Annotated[list[SeqOfSession], msgspec.Meta(max_length=MAX_DELIVERED)] | None = None
    ref: Ref = None


class Read(msgspec.Struct, frozen=True, tag_field="type", tag="read"):
    """The user has read the session up to `seq`. Cumulative."""

    session_id: str
    seq: Seq
    ref: Ref = None


class Ping(msgspec.Struct, frozen=True, tag_field="type", tag="ping"):
    """Request a pong."""

    id: Annotated[str, msgspec.Meta(max_length=MAX_REF)] | Number | None = None
    ref: Ref = None


class Pong(msgspec.Struct, frozen=True, tag_field="type", tag="pong"):
    """The answer to a ping."""

    id: str | int | None = None
    ref: Ref = None


Frame = Hello | Send | Sync | Ack | Read | Ping | Pong


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is not a frame. `client_msg_id` is copied from a `send`, unchecked. `code` is one of PROTOCOL's."""

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
    """Decode one line of a message. A leading byte order mark is ignored, as in REST (RFC 8259). Raises nothing."""
    line = line.removeprefix(_BYTE_ORDER_MARK)
    if is_too_deep(line):
        return Malformed(True, f"a frame may be nested at most {MAX_DEPTH} deep")
    # In UTF-8 a character has at most four bytes.
    if len(line) > FRAME_BYTES // 4 and len(line.encode(errors="replace")) > FRAME_BYTES:
        return _too_large(line)
    try:
        return _DECODER.decode(line)
    except msgspec.ValidationError as error:
        return _second_look(line) or _malformed(line, str(error))
    except msgspec.MsgspecError:
        return _malformed(line, NOT_ALLOWED)


def _second_look(line: str) -> Frame | None:
    """The frame of a line that is valid if 5.0 means 5, and null and empty fields are absent; otherwise None."""
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
    """False for null and empty values, which count as absent (PROTOCOL). 0 and false are values."""
    return value is not None and value not in _EMPTY


def whole(value: object) -> int | None:
    """The integer of a JSON number (5 and 5.0 are the same); None for anything else, also for true."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _malformed(line: str, reason: str) -> Malformed:
    """The fault of a line: fatal if it is not JSON, not fatal for an invalid field, number or string."""
    value = as_far_as_readable(line)
    if value is None:
        return Malformed(True, "not JSON")
    if not isinstance(value, dict):
        return Malformed(True, "a frame is a JSON object")
    return _found_in(value, "invalid_frame", reason)


def _too_large(line: str) -> Malformed:
    """The fault of a line that is too large: fatal only if no answer could name the frame."""
    value = as_far_as_readable(line)
    text = f"a frame may have {FRAME_BYTES} bytes (limits.frame_bytes); send less, or UTF-8 instead of escapes"
    if not isinstance(value, dict):
        return Malformed(True, text, code="too_large")
    return _found_in(value, "too_large", text)


def _found_in(value: dict[str, object], code: str, reason: str) -> Malformed:
    given = value.get("ref")
    ref = given if isinstance(given, str) and is_ref(given) else None
    found = value if value.get("type") == "send" else {}
    return Malformed(False, reason, ref, found.get("client_msg_id"), found.get("session_id"), code)


def as_far_as_readable(text: str) -> Any:
    """The content of refused JSON, with numbers replaced; None if it is not JSON.

    Uses the standard library's decoder, which accepts NaN and lone surrogates, and here any number.
    """
    try:
        return _LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None


def is_ref(value: object) -> bool:
    """True for a `ref` that an answer can carry."""
    return isinstance(value, str) and 0 < len(value) <= MAX_REF and is_unicode(value)


def is_unicode(text: str) -> bool:
    """False for text with a lone surrogate, which UTF-8 cannot encode."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def is_too_deep(text: str) -> bool:
    """True if brackets nest deeper than MAX_DEPTH. The first line answers for frames with few brackets."""
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
    """Encode one frame of the server, on one line. `fields` may be orjson.Fragment; None is left out."""
    frame: dict[str, object] = {"type": kind}
    frame.update((name, value) for name, value in fields.items() if value is not None)
    if ref:
        frame["ref"] = ref
    return orjson.dumps(frame)


def encode_delivery(inbox_seq: int | None, message_json: bytes) -> bytes:
    """A `message` frame around the bytes that all receivers share."""
    number = b"null" if inbox_seq is None else str(inbox_seq).encode()
    return b'{"type":"message","inbox_seq":' + number + b',"message":' + message_json + b"}"
