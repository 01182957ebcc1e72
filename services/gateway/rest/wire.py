"""Bodies and numbers of REST requests, and the JSON of answers."""

import codecs
import re
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.gateway.protocol.json_values import json_value
from services.gateway.protocol.limits import FRAME_BYTES
from services.gateway.protocol.requests import read
from tidings.errors import Refused

# A batch has up to 100 messages. This bound keeps the memory of a call small.
BATCH_BYTES = 1024 * 1024
# The digits of MAX_NUMBER. Longer numbers are not converted and count as too large.
MAX_DIGITS = 16

_M = TypeVar("_M", bound=Struct)

_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\"';\s]+)", re.IGNORECASE)
_GZIP = b"\x1f\x8b"
_UTF8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


class UnreadableBody(Exception):
    """The body is compressed, in an unsupported charset, or a form (415). The text names it."""

    def __init__(self, text: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers`: of the answer."""
        super().__init__(text)
        self.headers = dict(headers or {})


def answer(value: Struct | bytes, status: int = 200) -> Response:
    """An answer with a model as JSON, or with bytes that are JSON."""
    content = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return Response(content, status, media_type="application/json")


async def json_object(
    request: Request, limit: int = FRAME_BYTES, *, may_be_empty: bool = False
) -> Mapping[str, object]:
    """The request's body as an object. Raises Refused(`too_large`, `invalid_frame`), or UnreadableBody."""
    content = await content_of(request, limit)
    if may_be_empty and not content.strip():
        return {}
    value = json_value(content)
    if not isinstance(value, dict):
        raise Refused("invalid_frame", "the body is a JSON object")
    return value


def check_encoding(request: Request) -> None:
    """Raises UnreadableBody if the body has a `Content-Encoding`."""
    for encoding in ",".join(request.headers.getlist("content-encoding")).lower().split(","):
        if encoding.strip() not in ("", "identity"):
            text = f"the body is encoded with {encoding.strip()}; send it unencoded"
            raise UnreadableBody(text, {"Accept-Encoding": "identity"})


def _check_charset(request: Request) -> None:
    named = _CHARSET.search(request.headers.get("content-type", ""))
    if named and named[1].lower() not in _UTF8:
        raise UnreadableBody(f"the body's charset is {named[1]}; send JSON in utf-8")


def _plain(body: bytes) -> bytes:
    """The body without a byte order mark, which some libraries write and JSON allows to ignore (RFC 8259)."""
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Refused("invalid_frame", "the body is UTF-16; send JSON in UTF-8")
    if body.startswith(_GZIP):
        raise Refused("invalid_frame", "the body looks like gzip, which is not supported; send it uncompressed")
    return body.removeprefix(codecs.BOM_UTF8)


async def content_of(request: Request, limit: int) -> bytes:
    """The body's bytes. Raises Refused(`too_large`), Refused(`invalid_frame`) if the body ends early, or
    UnreadableBody."""
    check_encoding(request)
    _check_charset(request)
    too_large = Refused("too_large", f"the body of a request may have at most {limit} bytes")
    if declares_more(request, limit):
        raise too_large
    chunks, size = [], 0
    async for chunk in stream_of(request):
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return _plain(b"".join(chunks))


def declares_more(request: Request, limit: int) -> bool:
    """Whether the head announces a body of more than `limit` bytes."""
    declared = request.headers.get("content-length", "")
    return declared.isdecimal() and int(declared[:20]) > limit


async def stream_of(request: Request) -> AsyncIterator[bytes]:
    """The body's bytes as they come. Raises Refused(`invalid_frame`) if the body ends early."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Refused("invalid_frame", "the body ended before its announced length; send it again") from None


def query_of(request: Request, model: type[_M]) -> _M:
    """The query as a model. An empty value counts as absent. Raises Refused(`invalid_frame`)."""
    given = {name: request.query_params.get(name) for name in model.__struct_fields__}
    numbers = _numbers_of(model)
    return read(model, {name: _number(text) if name in numbers else text for name, text in given.items() if text})


def path_number(model: type[_M], name: str, text: str) -> _M:
    """A number in the path, as a model. Raises Refused(`invalid_frame`)."""
    return read(model, {name: _number(text)})


def _number(text: str) -> int | str:
    """The number of a text. Other texts are returned unchanged, and the model refuses them."""
    if not (text.isascii() and text.isdecimal()):
        return text
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= MAX_DIGITS else 10**MAX_DIGITS


@cache
def _numbers_of(model: type[Struct]) -> frozenset[str]:
    properties = msgspec.json.schema_components([model])[1][model.__name__]["properties"]
    return frozenset(name for name, schema in properties.items() if schema["type"] == "integer")
