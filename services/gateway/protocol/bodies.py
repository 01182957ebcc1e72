"""Checks the content of messages by PROTOCOL's table of kinds, before they are published. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from services.gateway.protocol.field_types import MAX_MENTIONS, MAX_URL
from services.gateway.protocol.frames import is_given, whole
from services.gateway.protocol.limits import MAX_NUMBER
from services.gateway.protocol.media_urls import is_upload, media_id_of
from services.gateway.protocol.origins import normal_host
from services.gateway.protocol.requests import (
    CustomBody,
    FileBody,
    ImageBody,
    TextBody,
    check_given,
    read,
)
from tidings import ids
from tidings.codec import KINDS, canonical_json
from tidings.errors import Refused
from tidings.wire.inbound_pb2 import Post

MAX_TEXT_BYTES = 24 * 1024
MAX_CUSTOM_BYTES = 8 * 1024
_WITH_URLS = frozenset({"image", "file"})


_B = TypeVar("_B", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class BodyRules:
    """The settings of a deployment for bodies."""

    media_hosts: frozenset[str] = frozenset()


def checked_post(kind: object, body: object, reply_to: object, mentions: object, rules: BodyRules) -> Post:
    """The content of a message as canonical JSON with known fields only. Raises Refused."""
    if not isinstance(kind, str) or kind not in _CHECKS:
        raise _invalid(f"kind is one of {', '.join(_CHECKS)}")
    if not isinstance(body, dict):
        raise _invalid("body is a JSON object")
    try:
        checked = _CHECKS[kind](body, rules)
        canonical = canonical_json(checked)
    except (TypeError, ValueError) as error:
        raise _invalid(f"body holds a number or string that JSON does not allow: {error}") from error
    if kind == "custom" and len(canonical) > MAX_CUSTOM_BYTES:
        raise _invalid(f"a custom body is at most {MAX_CUSTOM_BYTES} bytes of JSON")
    return Post(
        kind=KINDS[kind],
        body=canonical,
        media_ids=_media_ids(checked) if kind in _WITH_URLS else (),
        reply_to=_checked_reply_to(reply_to),
        mentions=_checked_mentions(mentions),
    )


def _media_ids(body: Mapping[str, object]) -> Collection[str]:
    """The uploads that a checked body refers to, without repeats."""
    named = {name: str(body[name]) for name in ("url", "thumb_url") if is_upload(body.get(name))}
    return list(dict.fromkeys(media_id_of(url, name) for name, url in named.items()))


def _invalid(text: str) -> Refused:
    return Refused("invalid_body", text)


def _checked_reply_to(value: object) -> int:
    if not is_given(value):
        return 0
    number = whole(value)
    if number is None or not 1 <= number <= MAX_NUMBER:
        raise _invalid(f"reply_to is the seq of a message of the same session, from 1 to {MAX_NUMBER}")
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
    text = _read(TextBody, body)
    if len(text.text.encode(errors="surrogatepass")) > MAX_TEXT_BYTES:
        raise _invalid(f"text is at most {MAX_TEXT_BYTES} bytes of UTF-8")
    return _fields(text)


def _image(body: Mapping[str, object], rules: BodyRules) -> dict[str, object]:
    image = _read(ImageBody, body)
    _check_url(image.url, "url", rules)
    if image.thumb_url is not UNSET:
        _check_url(image.thumb_url, "thumb_url", rules)
    # After the URLs, because a URL that is refused needs no other field.
    check_given(image, ("thumb_url", "width", "height"))
    return _fields(image)


def _file(body: Mapping[str, object], rules: BodyRules) -> dict[str, object]:
    file = _read(FileBody, body)
    _check_url(file.url, "url", rules)
    check_given(file, ("name", "size", "content_type"))
    return _fields(file)


def _custom(body: Mapping[str, object], _rules: BodyRules) -> dict[str, object]:
    custom = _read(CustomBody, body)
    # Without to_builtins, because only `canonical_json` checks the numbers in `data`.
    return {"type": custom.type, "data": custom.data}


_CHECKS: dict[str, Callable[[Mapping[str, object], BodyRules], dict[str, object]]] = {
    "text": _text,
    "image": _image,
    "file": _file,
    "custom": _custom,
}


def _read(model: type[_B], body: Mapping[str, object]) -> _B:
    return read(model, body, "invalid_body")


def _fields(body: TextBody | ImageBody | FileBody) -> dict[str, object]:
    """The fields that are set."""
    fields: dict[str, object] = msgspec.to_builtins(body)
    return fields


def _check_url(url: str, name: str, rules: BodyRules) -> None:
    """Check what the model of a URL cannot express. Raises Refused."""
    if not url.isprintable() or " " in url:
        raise _invalid(f"{name} is a URL of at most {MAX_URL} printable characters without spaces")
    if is_upload(url):
        media_id_of(url, name)
        return
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise _invalid(f"{name} is not a URL") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise _invalid(f"{name} is an http(s) URL without user information")
    if normal_host(host) not in rules.media_hosts:
        raise _invalid(f"{name} is on a host that is not allowed; the setting TIDINGS_MEDIA_HOSTS lists them")
