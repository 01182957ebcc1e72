"""Types of uploads: from the bytes, and never one that a browser would run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.media.content_types import IMAGE_TYPES, OCTET_STREAM, content_type_of, image_type
from tests.unit.gateway.media.pictures import FORMATS, TYPES, picture
from tidings.errors import Refused

SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'
HTML = b"<!doctype html><script>alert(1)</script>"
SCRIPT = b"alert(document.cookie)//"
ACTIVE = ("text/html", "image/svg+xml", "text/xml", "application/xml", "application/xhtml+xml", "text/javascript")
ACTIVE_PARTS = ("html", "xml", "script", "svg", "css", "flash", "wasm")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("declared", [None, "image/png", "text/html", "application/pdf", "nonsense"])
def test_image_has_the_type_of_its_bytes(kind: str, declared: str | None) -> None:
    assert content_type_of(picture(kind)[:512], declared) == TYPES[kind]


@pytest.mark.parametrize("data", [SVG, HTML, SCRIPT, b"", b"\0", b"BM" + b"\0" * 60, b"\x89PN"])
@pytest.mark.parametrize("declared", ["image/png", "IMAGE/PNG; a=b", "image/svg+xml", " image/jpeg"])
def test_other_bytes_called_image_are_refused(data: bytes, declared: str) -> None:
    with pytest.raises(Refused, match="PNG, JPEG, GIF or WebP") as caught:
        content_type_of(data, declared)
    assert caught.value.code == "invalid_body"


@pytest.mark.parametrize("data", [SVG, HTML, SCRIPT])
@pytest.mark.parametrize("declared", [one for one in ACTIVE if not one.startswith("image/")])
def test_active_uploads_become_octets(data: bytes, declared: str) -> None:
    assert content_type_of(data, declared) == OCTET_STREAM


@pytest.mark.parametrize(
    ("data", "declared", "expected"),
    [
        (b"%PDF-1.7\n", "text/html", "application/pdf"),
        (b"PK\x03\x04rest", None, "application/zip"),
        (b"PK\x03\x04rest", "application/epub+zip", "application/epub+zip"),
        (b"PK\x03\x04rest", "text/html", "application/zip"),
        (b"OggS\0", "audio/ogg", "audio/ogg"),
        (b"OggS\0", "text/html", "application/ogg"),
        (b"ID3\x04", None, "audio/mpeg"),
        (b"RIFF\0\0\0\0WAVEfmt ", None, "audio/wav"),
        (b"\0\0\0\x20ftypisom", None, "video/mp4"),
        (b"\0\0\0\x20ftypM4A ", None, "audio/mp4"),
        (b"\0\0\0\x20ftypheic", None, OCTET_STREAM),
        (b"\x1aE\xdf\xa3\0\0webm", None, "video/webm"),
        (b"MZ\x90\0", "application/x-msdownload", OCTET_STREAM),
        (b"hello", "text/plain; charset=utf-8", "text/plain"),
        (b"{}", "Application/JSON", "application/json"),
        (b"", None, OCTET_STREAM),
        (b"", "text/plain", "text/plain"),
    ],
)
def test_file_type_is_signed_or_harmless(data: bytes, declared: str | None, expected: str) -> None:
    assert content_type_of(data, declared) == expected


@pytest.mark.parametrize(
    "data",
    [b"GIF89a=1;alert(1)//", picture("PNG") + HTML, picture("JPEG") + b"PK\x03\x04", b"RIFF\0\0\0\0WEBP<script>"],
)
def test_polyglot_is_the_image_of_its_first_bytes(data: bytes) -> None:
    assert content_type_of(data[:512], "text/html") in IMAGE_TYPES


@given(st.binary(max_size=600), st.none() | st.text() | st.sampled_from([*ACTIVE, "text/css", "text/plain"]))
def test_no_type_is_active(data: bytes, declared: str | None) -> None:
    try:
        found = content_type_of(data, declared)
    except Refused:
        return
    assert not any(part in found for part in ACTIVE_PARTS)
    assert found.isascii()
    assert found.isprintable()


@given(st.binary(max_size=40))
def test_twelve_bytes_identify_an_image(data: bytes) -> None:
    assert image_type(data) == image_type(data[:12])
