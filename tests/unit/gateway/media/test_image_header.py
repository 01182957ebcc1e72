"""Headers of images: sides and frames without decoding, and no image that a decoder could not bear."""

import io
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.media.image_header import MAX_FRAMES, MAX_PIXELS, MAX_SCANS, ImageHeader, read_header
from services.gateway.media.image_parts import MAX_STEPS
from tests.unit.gateway.media.pictures import (
    FORMATS,
    TYPES,
    animation,
    chunk,
    gif_frames,
    jpeg_segment,
    picture,
    pixels,
    png,
    png_bomb,
    png_chunk,
    replaced,
    riff,
    webp_canvas,
)
from tidings.errors import Refused

IDAT = png_chunk(b"IDAT", b"")


def header(data: bytes) -> ImageHeader:
    return read_header(io.BytesIO(data))


def fault(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        header(data)
    assert caught.value.code == "invalid_body"
    return caught.value.text


def jpeg_frame(width: int, height: int, marker: int = 0xC0) -> bytes:
    return jpeg_segment(marker, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\0")


def jpeg(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9"


SCAN = jpeg_segment(0xDA, b"\x01\x01\0\0\x3f\0") + b"\x12\xff\x00\x34\xff\xd0\x56"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (40, 30), (317, 255), (1, 700)])
def test_header_has_the_sides_that_pillow_reads(kind: str, width: int, height: int) -> None:
    assert header(picture(kind, pixels(width, height))) == ImageHeader(TYPES[kind], width, height, 1)


@pytest.mark.parametrize(
    "options", [{"lossless": True}, {"lossless": True, "exif": b"Exif\0\0MM\0*"}, {"quality": 50, "xmp": b"x"}]
)
def test_header_reads_every_webp(options: dict[str, object]) -> None:
    for mode in ("RGB", "RGBA"):
        assert header(picture("WEBP", pixels(41, 33, mode), **options)) == ImageHeader("image/webp", 41, 33, 1)


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"quality": 100, "subsampling": 0}, {"restart_marker_blocks": 1}]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_header_reads_every_jpeg(options: dict[str, object], mode: str) -> None:
    assert header(picture("JPEG", pixels(41, 33, mode), **options)) == ImageHeader("image/jpeg", 41, 33, 1)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_header_counts_the_frames(kind: str) -> None:
    assert header(animation(kind, 3)).frames == 3


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "text"),
    [
        (5000, 5001, "25 megapixels"),
        (16_385, 1, "at most 16384"),
        (1, 16_385, "at most 16384"),
        (0, 5, "no width"),
        (5, 0, "no width"),
    ],
)
def test_image_beyond_the_limits_is_refused(width: int, height: int, text: str) -> None:
    files = [png(width, height, IDAT), jpeg(jpeg_frame(width, height), SCAN), gif_frames(1, width, height)]
    if width and height:
        files.append(riff(webp_canvas(width, height), chunk(b"VP8L", b"\x2f\0\0\0\0")))
        if width <= 5000:
            lossy = b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF)
            files.append(riff(chunk(b"VP8 ", lossy)) if height < 0x4000 else files[0])
    for data in files:
        assert text in fault(data)


def test_image_at_the_limits_is_accepted() -> None:
    assert header(png(5000, 5000, IDAT)).width * 5000 == MAX_PIXELS
    assert header(png(16_384, 1, IDAT)).width == 16_384
    assert header(jpeg(jpeg_frame(5000, 5000), SCAN)).height == 5000


def test_bomb_is_refused_by_its_header() -> None:
    bomb = png_bomb(10_000, 8_000)  # 320 MB of RGBA
    assert len(bomb) < 12_000
    assert "megapixels" in fault(bomb)


def test_frames_above_the_limit_are_refused() -> None:
    assert header(gif_frames(MAX_FRAMES)).frames == MAX_FRAMES
    assert f"{MAX_FRAMES} frames" in fault(gif_frames(MAX_FRAMES + 1))
    begun = time.perf_counter()
    assert f"{MAX_FRAMES} frames" in fault(gif_frames(10_000))
    assert time.perf_counter() - begun < 2
    control = png_chunk(b"fcTL", struct.pack(">IIIII", 0, 1, 1, 0, 0) + b"\0" * 6)
    assert f"{MAX_FRAMES} frames" in fault(png(5, 5, *[control] * (MAX_FRAMES + 1), IDAT))


def test_scans_above_the_limit_are_refused() -> None:
    assert header(jpeg(jpeg_frame(8, 8), *[SCAN] * MAX_SCANS)).frames == 1
    assert "scans" in fault(jpeg(jpeg_frame(8, 8), *[SCAN] * (MAX_SCANS + 1)))


@pytest.mark.parametrize(
    "data",
    [
        gif_frames(1)[:-1] + b"!\xfe" + b"\x01x" * MAX_STEPS + b"\0;",
        png(5, 5, png_chunk(b"teXt", b"") * MAX_STEPS, IDAT),
        jpeg(jpeg_segment(0xFE, b"") * MAX_STEPS, jpeg_frame(8, 8), SCAN),
    ],
    ids=["gif", "png", "jpeg"],
)
def test_walk_of_tiny_parts_is_bounded(data: bytes) -> None:
    begun = time.process_time()
    assert "parts" in fault(data)
    assert time.process_time() - begun < 5


# -- lies and damages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        png(5, 5),
        png(5, 5, png_chunk(b"IHDR", b"\0" * 13), IDAT),
        png(5, 5, png_chunk(b"I\0AT", b""), IDAT),
        b"\x89PNG\r\n\x1a\n" + IDAT + png_chunk(b"IEND", b""),
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", b"\0\0\0\5") + IDAT + png_chunk(b"IEND", b""),
        png(5, 5, png_chunk(b"fcTL", struct.pack(">IIIII", 0, 5, 5, 1, 0) + b"\0" * 6), IDAT),
        jpeg(SCAN),
        jpeg(jpeg_frame(8, 8)),
        jpeg(jpeg_frame(8, 8), jpeg_frame(9, 9), SCAN),
        jpeg(jpeg_frame(8, 8), SCAN, jpeg_frame(9, 9), SCAN),
        jpeg(b"\xff\xd8", jpeg_frame(8, 8), SCAN),
        jpeg(b"\xff\xe0\0\1", jpeg_frame(8, 8), SCAN),
        jpeg(b"\xff\xf7\0\4ab", jpeg_frame(8, 8), SCAN),
        jpeg(b"\xff\xc0\0\5\x08\0\x01", SCAN),
        gif_frames(0),
        gif_frames(1)[:-1] + b"?;",
        gif_frames(1)[:-1] + b"," + struct.pack("<HHHHB", 0, 0, 11, 1, 0) + b"\x02\0;",
        gif_frames(1)[:-1] + b"," + struct.pack("<HHHHB", 65_535, 0, 65_535, 1, 0) + b"\x02\0;",
        riff(),
        riff(chunk(b"ALPH", b"x" * 20)),
        riff(chunk(b"VP8L", b"\x2f")),
        riff(chunk(b"VP8L", b"\x2e\0\0\0\0")),
        riff(chunk(b"VP8 ", b"\1\0\0\x9d\x01\x2a\5\0\5\0")),
        riff(webp_canvas(5, 5)),
        riff(webp_canvas(5, 5), chunk(b"VP8L", b"\x2f\0\0\0\0")),
        riff(webp_canvas(1, 1), chunk(b"VP8L", b"\x2f\0\0\0\0") * 2),
        riff(webp_canvas(5, 5, 2), chunk(b"ANMF", b"\0" * 16)),
        riff(webp_canvas(5, 5, 2), chunk(b"ANMF", b"\0" * 16 + chunk(b"VP8L", b"\x2f\5\0\0\0"))),
        riff(webp_canvas(5, 5, 2), chunk(b"ANMF", b"\3" + b"\0" * 15 + chunk(b"VP8L", b"\x2f\0\0\0\0"))),
    ],
)
def test_contradictory_header_is_refused(data: bytes) -> None:
    assert "broken" in fault(data)


def test_lossless_and_arithmetic_jpegs_are_refused() -> None:
    for marker in (0xC3, 0xC5, 0xC9, 0xCA, 0xCB):
        assert "baseline or progressive" in fault(jpeg(jpeg_frame(8, 8, marker), SCAN))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_truncation_is_refused(kind: str) -> None:
    data = picture(kind)
    for length in range(len(data)):
        assert fault(data[:length])


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_behind_the_image_change_nothing(kind: str) -> None:
    data = picture(kind)
    assert header(data + b"PK\x03\x04<script>" + data) == header(data)


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"\0" * 100, b"\x89PNG"])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    assert "not a PNG" in fault(data)


@given(st.sampled_from(FORMATS), st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
def test_any_damage_gives_limits_or_a_refusal(kind: str, at: int, new: bytes) -> None:
    data = picture(kind, pixels(12, 9))
    check_bounded(replaced(data, at % len(data), new))


@given(st.sampled_from(FORMATS), st.binary(max_size=200))
def test_any_bytes_give_limits_or_a_refusal(kind: str, data: bytes) -> None:
    check_bounded(picture(kind, pixels(12, 9))[:30] + data)


def check_bounded(data: bytes) -> None:
    try:
        found = header(data)
    except Refused:
        return
    assert 1 <= found.width * found.height <= MAX_PIXELS
    assert 1 <= found.frames <= MAX_FRAMES
