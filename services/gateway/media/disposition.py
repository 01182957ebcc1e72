"""File names in headers: `Content-Disposition` of a download, and `X-File-Name` of an upload. Pure."""

import re
from urllib.parse import quote, unquote_to_bytes

from services.gateway.protocol.field_types import MAX_FILE_NAME
from services.gateway.protocol.requests import check_file_name
from tidings.errors import Refused

# RFC 8187, section 3.2.1: attr-char, without the letters and digits that `quote` keeps anyway.
_ATTR_CHARS = "!#$&+-.^_`|~"
# What clients disagree on inside a quoted string: escapes, and percent signs (RFC 6266, appendix D). Also what no
# file system takes in a name, and every character outside of visible ASCII.
_NOT_IN_FALLBACK = re.compile(r'[^ -~]|["\\%/:*?<>|]')
_BROKEN_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_RFC_8187 = re.compile(rb"utf-8'[A-Za-z0-9-]*'", re.IGNORECASE)


def attachment(name: str) -> str:
    """The value of `Content-Disposition` by RFC 6266. It is ASCII without controls for any `name`.

    A name that every client reads alike is given once. Any other name is given twice: as `filename*`, exactly and
    percent-encoded, and as `filename` with `_` for what old clients misread.
    """
    fallback = _NOT_IN_FALLBACK.sub("_", name)
    if fallback == name and name:
        return f'attachment; filename="{name}"'
    encoded = quote(name.encode(errors="replace"), safe=_ATTR_CHARS)
    return f"attachment; filename=\"{fallback or 'file'}\"; filename*=UTF-8''{encoded or 'file'}"


def file_name(value: bytes) -> str:
    """The name in a request's header `X-File-Name`. Raises Refused(`invalid_body`).

    The value is the name in UTF-8, percent-encoded as `encodeURIComponent` does it; `UTF-8''` before it, as in RFC
    8187, is allowed. So `%` is always an escape, and a name with a percent sign has `%25`. Plain UTF-8 is read too,
    but Latin-1 is not, because its bytes can be valid UTF-8 of another name. The rules are those of a file's name in
    a message.
    """
    encoded = _RFC_8187.sub(b"", value.strip(b" \t"), count=1) if _RFC_8187.match(value.strip(b" \t")) else value
    if _BROKEN_PERCENT.search(encoded):
        raise _refused("is percent-encoded: write %25 for a percent sign")
    try:
        name = unquote_to_bytes(encoded.strip(b" \t")).decode()
    except UnicodeDecodeError:
        raise _refused("is not UTF-8: percent-encode the name's UTF-8, as encodeURIComponent does it") from None
    if not 1 <= len(name) <= MAX_FILE_NAME:
        raise _refused(f"is a name of 1-{MAX_FILE_NAME} characters")
    try:
        check_file_name(name)
    except ValueError as error:
        raise _refused(f"is not a valid name: {error}") from None
    return name


def _refused(what: str) -> Refused:
    return Refused("invalid_body", f"X-File-Name {what}")
