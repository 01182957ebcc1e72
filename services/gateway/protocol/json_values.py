"""Decodes JSON of REST bodies: UTF-8, at most 32 deep, with exact numbers. Pure."""

import msgspec

from services.gateway.protocol.frames import NOT_ALLOWED, is_too_deep
from services.gateway.protocol.limits import MAX_DEPTH
from tidings.errors import Refused
from tidings.json_numbers import number_of

_DECODER = msgspec.json.Decoder(float_hook=number_of)


def json_value(content: bytes) -> object:
    """The value of a JSON text. The last of two equal names counts. Raises Refused(`invalid_frame`)."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise Refused("invalid_frame", "the body is not UTF-8") from None
    if is_too_deep(text):
        raise Refused("invalid_frame", f"the body may be nested at most {MAX_DEPTH} deep")
    try:
        return _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        raise Refused("invalid_frame", f"the body is not JSON, or {NOT_ALLOWED}: {error}") from None
