"""Headers of requests, parsed or as raw bytes. Pure."""

import re
from collections.abc import Iterable, Sequence

Headers = Sequence[tuple[bytes, bytes]]

_HEAD_LINE = re.compile(rb"\r?\n(origin|host)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)


def has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request announces a body. Names of headers are in lower case."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and bool(value.strip(b"0")))
        for name, value in headers
    )


def is_ambiguous(http_version: str, headers: Headers) -> bool:
    """Whether a proxy may have determined another length of the body (RFC 9112, section 6.1)."""
    names = {name for name, _ in headers}
    return b"transfer-encoding" in names and (b"content-length" in names or http_version == "1.0")


def headers_so_far(begun: bytes) -> list[tuple[bytes, bytes]]:
    """Origin and Host of an unparsed request, as far as they have arrived."""
    return [(name.lower(), value.strip()) for name, value in _HEAD_LINE.findall(begun)]


def values(headers: Headers, name: bytes) -> Sequence[str]:
    """All values of one header. ASGI has names in lower case."""
    return [value.decode("latin-1") for key, value in headers if key == name]
