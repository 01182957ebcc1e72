"""What a message may hold: PROTOCOL's table of kinds, judged before anything is published. Pure."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.gateway.protocol.frames import is_given, whole
from services.gateway.protocol.limits import MAX_NUMBER
from services.gateway.protocol.origins import normal_host
from tidings import ids
from tidings.codec import KINDS, canonical_json
from tidings.errors import Refused
from tidings.names import name_fault
from tidings.wire.inbound_pb2 import Post

MAX_TEXT_POINTS = 8_000
MAX_TEXT_BYTES = 24 * 1024
MAX_SIDE = 16_384
MAX_NAME = 255
MAX_CUSTOM_BYTES = 8 * 1024
MAX_MENTIONS = 50
# PROTOCOL leaves these open; they keep a body well inside a frame.
MAX_URL = 2_048
MAX_CONTENT_TYPE = 127
MAX_CUSTOM_TYPE = 128

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110, section 8.3.1: token "/" token, and parameters.
_CONTENT_TYPE = re.compile(
    rf'{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|"(?:[\t !#-\[\]-~]|\\[\t -~])*"))*', re.ASCII
)
_CUSTOM_TYPE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class BodyRules:
    """What the deployment decides about bodies."""

    media_hosts: frozenset[str] = frozenset()


def checked_post(kind: object, body: object, reply_to: object, mentions: object, rules: BodyRules) -> Post:
    """The content as the log carries it: known fields only, canonical JSON. Raises Refused."""
    if not isinstance(kind, str) or kind not in _CHECKS:
        raise _invalid(f"kind is one of {', '.join(_CHECKS)}")
    if not isinstance(body, dict):
        raise _invalid("body is a JSON object")
    try:
        canonical = canonical_json(_CHECKS[kind](body, rules))
    except (TypeError, ValueError) as error:
        raise _invalid(f"body holds a number or string that JSON does not allow: {error}") from error
    if kind == "custom" and len(canonical) > MAX_CUSTOM_BYTES:
        raise _invalid(f"a custom body is at most {MAX_CUSTOM_BYTES} bytes of JSON")
    return Post(
        kind=KINDS[kind],
        body=canonical,
        reply_to=_checked_reply_to(reply_to),
        mentions=_checked_mentions(mentions),
    )


def _invalid(text: str) -> Refused:
    return Refused("invalid_body", text)


def _checked_reply_to(value: object) -> int:
    if not is_given(value):
        return 0
    number = whole(value)
    if number is None or not 1 <= number <= MAX_NUMBER:
        raise _invalid("reply_to is the seq of a message of the same session, 1 or more")
    return number


def _checked_mentions(value: object) -> Collection[str]:
    if not is_given(value):
        return ()
    if not isinstance(value, list) or len(value) > MAX_MENTIONS:
        raise _invalid(f"mentions is a list of at most {MAX_MENTIONS} user ids")
    if not all(isinstance(user_id, str) and ids.is_user_id(user_id) for user_id in value):
        raise _invalid(f"mentions holds user ids of {ids.USER_ID_TEXT}")
    return value


def _text(body: Mapping[str, object], _rules: BodyRules) -> dict[str, object]:
    text = body.get("text")
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT_POINTS:
        raise _invalid(f"text is a string of 1-{MAX_TEXT_POINTS} code points")
    if len(text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise _invalid(f"text is at most {MAX_TEXT_BYTES} bytes of UTF-8")
    return {"text": text}


def _image(body: Mapping[str, object], rules: BodyRules) -> dict[str, object]:
    checked: dict[str, object] = {name: _url(body, name, rules) for name in ("url", "thumb_url")}
    checked.update({name: _number(body, name, 1, MAX_SIDE) for name in ("width", "height")})
    if is_given(body.get("size")):
        checked["size"] = _number(body, "size", 0, MAX_NUMBER)
    if is_given(body.get("content_type")):
        checked["content_type"] = _content_type(body)
    return checked


def _file(body: Mapping[str, object], rules: BodyRules) -> dict[str, object]:
    name = body.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise _invalid(f"name is a string of 1-{MAX_NAME} characters")
    if (fault := name_fault(name)) is not None:
        raise _invalid(f"name: {fault}")
    if "/" in name or "\\" in name or name.strip() in (".", ".."):
        raise _invalid("name is that of a file, without path separators")
    return {
        "name": name,
        "url": _url(body, "url", rules),
        "size": _number(body, "size", 0, MAX_NUMBER),
        "content_type": _content_type(body),
    }


def _custom(body: Mapping[str, object], _rules: BodyRules) -> dict[str, object]:
    if "data" not in body:
        raise _invalid("data is missing (any JSON value)")
    name = body.get("type")
    if not isinstance(name, str) or len(name) > MAX_CUSTOM_TYPE or not _CUSTOM_TYPE.fullmatch(name):
        raise _invalid(f"type is 1-{MAX_CUSTOM_TYPE} characters of visible ASCII, without spaces")
    return {"type": name, "data": body["data"]}


_CHECKS: dict[str, Callable[[Mapping[str, object], BodyRules], dict[str, object]]] = {
    "text": _text,
    "image": _image,
    "file": _file,
    "custom": _custom,
}


def _number(body: Mapping[str, object], name: str, least: int, most: int) -> int:
    number = whole(body.get(name))
    if number is None or not least <= number <= most:
        raise _invalid(f"{name} is a whole number from {least} to {most}")
    return number


def _content_type(body: Mapping[str, object]) -> str:
    text = body.get("content_type")
    if not isinstance(text, str) or len(text) > MAX_CONTENT_TYPE or not _CONTENT_TYPE.fullmatch(text):
        raise _invalid(f"content_type is a media type of at most {MAX_CONTENT_TYPE} characters, such as image/png")
    return text


def _url(body: Mapping[str, object], name: str, rules: BodyRules) -> str:
    url = body.get(name)
    if not isinstance(url, str) or not 1 <= len(url) <= MAX_URL or not url.isprintable() or " " in url:
        raise _invalid(f"{name} is a URL of at most {MAX_URL} printable characters without spaces")
    if url.startswith("/v1/media/"):
        raise Refused("media_not_found", f"{name} is not an upload of yours")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise _invalid(f"{name} is not a URL") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise _invalid(f"{name} is an http(s) URL without user information")
    if normal_host(host) not in rules.media_hosts:
        raise _invalid(f"{name} is on a host that is not allowed; the setting TIDINGS_MEDIA_HOSTS lists them")
    return url
