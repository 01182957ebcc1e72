"""The client_msg_id of a REST call, from the body or the header `Idempotency-Key`."""

import re
from collections.abc import Mapping, Sequence

from starlette.requests import Request

from services.gateway.protocol.frames import is_given
from tidings.errors import Refused

_QUOTED = re.compile(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"')
_ESCAPED = re.compile(r'\\(["\\])')


def client_msg_id_of(body: Mapping[str, object], request: Request) -> object:
    """The id from the body or the header `Idempotency-Key`; None without one. Raises Refused if they differ."""
    given, header = body.get("client_msg_id"), _idempotency_key(request.headers.getlist("idempotency-key"))
    if not is_given(given):
        return header or None
    if header and header != given:
        raise Refused("invalid_frame", "client_msg_id and Idempotency-Key differ; give one of them")
    return given


def _idempotency_key(headers: Sequence[str]) -> str:
    """The key, bare or as a quoted string (RFC 9651, as the IETF's draft of the header requires); empty without one."""
    if len(headers) > 1:
        raise Refused("invalid_frame", "Idempotency-Key is given more than once; give it once")
    text = headers[0].strip() if headers else ""
    if not text.startswith('"'):
        return text
    if not _QUOTED.fullmatch(text):
        raise Refused("invalid_frame", 'Idempotency-Key begins with a quote; write "<key>", with \\" and \\\\ inside')
    return _ESCAPED.sub(r"\1", text[1:-1])


def required_client_msg_id(body: Mapping[str, object], request: Request) -> object:
    """As client_msg_id_of. Also raises Refused without an id."""
    given = client_msg_id_of(body, request)
    if given is None:
        raise Refused("invalid_frame", "client_msg_id is missing; give it in the body or as Idempotency-Key")
    return given
