"""Metadata: cut out of every format, while the picture, its colours and its orientation stay."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, ImageSequence, PngImagePlugin

from services.gateway.media.image_header import read_header
from services.gateway.media.metadata import minimal_exif, orientation_of, strip
from tests.unit.gateway.media.pictures import (
    FORMATS,
    SECRET,
    TYPES,
    animation,
    chunk,
    exif,
    gif_frames,
    jpeg_segment,
    opened,
    picture,
    pixels,
    png,
    png_chunk,
    replaced,
    riff,
)
from tidings.errors import Refused

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6">' + SECRET + b"</rdf:Description></x:xmpmeta>"


def stripped(data: bytes, kind: str) -> tuple[bytes, int]:
    target = io.BytesIO()
    orientation = strip(io.BytesIO(data), target, TYPES[kind])
    return target.getvalue(), orientation


def frames(data: bytes) -> list[tuple[bytes, object]]:
    image = Image.open(io.BytesIO(data))
    return [(one.convert("RGBA").tobytes(), one.info.get("duration")) for one in ImageSequence.Iterator(image)]


def laden(kind: str, orientation: int = 1) -> bytes:
    """A picture with all the metadata that the format has."""
    options: dict[str, Any] = {"icc_profile": PROFILE, "exif": exif(orientation), "xmp": XMP}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", SECRET.decode())
        texts.add_text("Packed", SECRET.decode() * 20, zip=True)
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add(b"tIME", b"\x07\xea\1\2\3\4\5")
        texts.add(b"prVt", SECRET)
        options["pnginfo"] = texts
    if kind == "GIF":
        options = {"comment": SECRET}
    data = picture(kind, **options)
    if kind == "JPEG":
        photoshop = jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x10" + SECRET)
        preview = jpeg_segment(0xE0, b"JFXX\0\x10" + SECRET)
        other = jpeg_segment(0xE2, b"FPXR\0" + SECRET) + jpeg_segment(0xFE, SECRET) + jpeg_segment(0xEF, SECRET)
        data = data[:2] + photoshop + preview + other + data[2:]
    if kind == "GIF":
        xmp = b"!\xff\x0bXMP DataXMP" + bytes([len(XMP)]) + XMP + b"\0"
        text = b"!\xf9\x04\0\0\0\0\0" + b"!\x01\x0c" + b"\0" * 12 + bytes([len(SECRET)]) + SECRET + b"\0"
        data = data[:-1] + xmp + text + b";"
    if kind == "WEBP":
        data = riff(data[12:] + chunk(b"PRIV", SECRET))
    return data + SECRET


@pytest.mark.parametrize("kind", FORMATS)
def test_metadata_is_cut_out(kind: str) -> None:
    data = laden(kind, 6)
    assert SECRET in data
    result, _ = stripped(data, kind)
    for trace in (
        SECRET,
        b"xmp",
        b"XMP",
        b"Photoshop",
        b"tEXt",
        b"zTXt",
        b"iTXt",
        b"tIME",
        b"JFXX",
        b"FPXR",
        b"prVt",
        b"PRIV",
    ):
        assert trace not in result
    assert dict(opened(result).getexif()) in ({}, {0x0112: 6})


@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_and_profile_stay(kind: str) -> None:
    data = laden(kind)
    result, _ = stripped(data, kind)
    assert frames(result) == frames(data)
    assert opened(result).info.get("icc_profile") == (None if kind == "GIF" else PROFILE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_an_orientation_stays(kind: str, orientation: int) -> None:
    data = laden(kind, orientation)
    result, found = stripped(data, kind)
    assert found == orientation
    image = opened(result)
    assert dict(image.getexif()) == ({} if orientation == 1 else {0x0112: orientation})
    upright = ImageOps.exif_transpose(opened(data))
    assert ImageOps.exif_transpose(image).tobytes() == upright.tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_plain_picture_is_unchanged(kind: str) -> None:
    data = picture(kind)
    assert stripped(data, kind) == (data, 1)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_animation_stays(kind: str) -> None:
    data = animation(kind)
    result, _ = stripped(data + SECRET, kind)
    assert frames(result) == frames(data)
    assert opened(result).info.get("loop") == 0


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_every_jpeg_stays(mode: str) -> None:
    data = picture("JPEG", pixels(mode=mode), progressive=True, icc_profile=b"p" * 150_000, restart_marker_blocks=2)
    result, _ = stripped(data, "JPEG")
    assert opened(result).tobytes() == opened(data).tobytes()
    assert opened(result).info["icc_profile"] == b"p" * 150_000


@pytest.mark.parametrize("kind", FORMATS)
def test_strip_of_a_stripped_file_changes_nothing(kind: str) -> None:
    once, orientation = stripped(laden(kind, 8), kind)
    assert stripped(once, kind) == (once, orientation)
    assert read_header(io.BytesIO(once)) == read_header(io.BytesIO(laden(kind, 8)))


@pytest.mark.parametrize("kind", FORMATS)
def test_truncated_file_is_refused(kind: str) -> None:
    data = picture(kind)
    for length in range(12, len(data), 7):
        with pytest.raises(Refused):
            stripped(data[:length], kind)


def test_jpeg_preview_inside_jfif_is_cut_out() -> None:
    data = picture("JPEG")
    preview = jpeg_segment(0xE0, data[6:18] + b"\x01\x05" + SECRET[:15])
    result, _ = stripped(data[:2] + preview + data[20:], "JPEG")
    assert result == data


def test_unknown_critical_png_chunk_is_refused() -> None:
    with pytest.raises(Refused, match="no decoder may ignore"):
        stripped(png(1, 1, png_chunk(b"ABCD", b""), png_chunk(b"IDAT", b"")), "PNG")


def test_gif_loop_keeps_no_more_than_the_count() -> None:
    data = gif_frames(2)
    assert stripped(data, "GIF")[0] == data
    grown = data.replace(b"\x03\x01\0\0\0", b"\x03\x01\0\0" + bytes([len(SECRET)]) + SECRET + b"\0", 1)
    assert SECRET not in stripped(grown, "GIF")[0]


def test_gif_text_takes_its_timing_along() -> None:
    control, text = b"!\xf9\x04\x08\x63\0\0\0", b"!\x01\x0c" + b"\0" * 12 + b"\x01x\0"
    image = b"," + b"\0" * 4 + b"\1\0\1\0\0" + b"\x02\x02\x44\x01\0"
    head = gif_frames(0)[:-1]
    assert stripped(head + control + text + image + b";", "GIF")[0] == head + image + b";"
    assert stripped(head + text + control + image + b";", "GIF")[0] == head + control + image + b";"


def test_strip_holds_one_piece_in_memory() -> None:
    class Reading(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.most = max(self.most, len(self.getvalue()) if size in (None, -1) else int(size or 0))
            return super().read(size)

    source = Reading(png(5, 5, png_chunk(b"IDAT", b"x" * 1_000_000), png_chunk(b"eXIf", b"x" * 1_000_000)))
    strip(source, io.BytesIO(), "image/png")
    assert 0 < source.most <= 64 * 1024


# -- orientation -----------------------------------------------------------------------------------


def tiff(order: str, tag: int, kind: int, value: bytes, count: int = 1) -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}IHHHI", 8, 1, tag, kind, count) + value.ljust(4, b"\0") + b"\0" * 4


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff("<", 0x0112, 3, b"\6\0"), 6),
        (tiff(">", 0x0112, 3, b"\0\6"), 6),
        (b"Exif\0\0" + tiff(">", 0x0112, 3, b"\0\3"), 3),
        (tiff(">", 0x0112, 4, b"\0\0\0\5"), 5),
        (tiff(">", 0x0112, 3, b"\0\0"), 1),
        (tiff(">", 0x0112, 3, b"\0\x09"), 1),
        (tiff(">", 0x0112, 2, b"6"), 1),
        (tiff(">", 0x0113, 3, b"\0\6"), 1),
        (tiff(">", 0x0112, 3, b"\0\6")[:18], 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"MM\0*\0\0\0\x08\xff\xff", 1),
        (b"", 1),
        (b"Exif\0\0", 1),
        (b"XX\0*\0\0\0\x08", 1),
    ],
)
def test_orientation_of_exif(data: bytes, expected: int) -> None:
    assert orientation_of(data) == expected


@given(st.integers(1, 8))
def test_minimal_exif_says_its_orientation(orientation: int) -> None:
    assert orientation_of(minimal_exif(orientation)) == orientation
    read = Image.Exif()
    read.load(b"Exif\0\0" + minimal_exif(orientation))
    assert dict(read) == {0x0112: orientation}


@given(st.binary() | st.binary().map(lambda data: b"II*\0\x08\0\0\0" + data))
def test_orientation_of_any_bytes_is_one_to_eight(data: bytes) -> None:
    assert 1 <= orientation_of(data) <= 8


@given(st.sampled_from(FORMATS), st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
def test_any_damage_is_copied_or_refused(kind: str, at: int, new: bytes) -> None:
    data = laden(kind, 6)
    damaged = replaced(data, at % len(data), new)
    try:
        result, orientation = stripped(damaged, kind)
    except Refused:
        return
    assert len(result) <= len(damaged) + 64
    assert stripped(result, kind) == (result, orientation)
