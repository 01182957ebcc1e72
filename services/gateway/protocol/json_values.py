"""JSON of REST bodies as values: UTF-8, at most 32 deep, each number by its value. Pure."""

import msgspec

from services.gateway.protocol.frames import NOT_ALLOWED, is_too_deep
from services.gateway.protocol.limits import MAX_DEPTH
from tidings.errors import Refused
from tidings.json_numbers import number_of

_DECODER = msgspec.json.Decoder(float_hook=number_of)


def json_value(content: bytes) -> object:
    """Raises Refused(`invalid_frame`). Of a name that is given twice the last counts."""
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
