"""Decodes the paths of requests segment by segment, so that an id cannot change the route. Pure."""

import re
from urllib.parse import unquote_to_bytes

from tidings.errors import Refused

# Most paths need no decoding and have no segment that begins with a dot.
_PLAIN = re.compile(r"(?:/(?!\.)[A-Za-z0-9_.@:-]*)+")
_ABSOLUTE = ("http://", "https://")


def routed_path(raw_path: str) -> str:
    """The decoded path for routing. Raises Refused(`invalid_frame`) for an ambiguous one.

    Each `/` of the result is a literal `/` of the request. So an id with an encoded slash, a dot segment or a double
    encoding cannot become the path of another call. `raw_path` may be an absolute URL (RFC 9112).
    """
    if _PLAIN.fullmatch(raw_path):
        return raw_path
    if raw_path.lower().startswith(_ABSOLUTE):
        raw_path = "/" + raw_path.partition("://")[2].partition("/")[2]
    return "/".join(map(_segment, raw_path.split("/")))


def _segment(raw: str) -> str:
    try:
        segment = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise _refused("not UTF-8") from None
    if "%" in segment or "/" in segment or "\\" in segment:
        raise _refused("an encoded slash or percent sign, or a backslash")
    if segment in (".", ".."):
        raise _refused("a segment of dots")
    if not segment.isprintable():
        raise _refused("an invisible character")
    return segment


def _refused(what: str) -> Refused:
    return Refused("invalid_frame", f"the path has {what}, which no id may have")
