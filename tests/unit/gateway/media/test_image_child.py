"""The child's own work, in this process: facts, and thumbnails that look as the image does."""

import io
import zlib
from collections.abc import Sequence
from typing import cast

import pytest
from PIL import Image, ImageCms

from services.gateway.media.image_child import NICENESS, READY, THUMB_SIDE, examined
from services.gateway.media.images import NICENESS as PARENTS_NICENESS
from services.gateway.media.images import READY as PARENTS_READY
from tests.unit.gateway.media.pictures import FORMATS, TYPES, animation, exif, opened, picture, pixels, png, png_chunk
from tidings.errors import Refused

RED, BLUE, LIME = (255, 0, 0), (0, 0, 255), (0, 255, 0)


def examine(data: bytes) -> tuple[dict[str, object], Image.Image, bytes]:
    target = io.BytesIO()
    facts, thumb = examined(io.BytesIO(data), target)
    image = opened(thumb)
    assert image.format == "WEBP"
    assert getattr(image, "n_frames", 1) == 1
    assert not {"exif", "xmp"} & set(image.info)
    return facts, image, target.getvalue()


def is_like(image: Image.Image, at: tuple[float, float], colour: Sequence[int]) -> bool:
    """Whether the pixel there, as parts of the sides, is nearly of the colour."""
    place = (int(at[0] * image.width), int(at[1] * image.height))
    found = cast(tuple[int, ...], image.convert("RGB").getpixel(place))
    return all(abs(one - wanted) < 60 for one, wanted in zip(found, colour, strict=True))


def test_child_and_parent_agree() -> None:
    assert (READY, NICENESS) == (PARENTS_READY, PARENTS_NICENESS)


@pytest.mark.parametrize("kind", FORMATS)
def test_facts_and_thumbnail_of_a_large_image(kind: str) -> None:
    facts, thumb, stored = examine(picture(kind, pixels(800, 600)))
    assert facts == {"content_type": TYPES[kind], "width": 800, "height": 600, "size": len(stored)}
    assert thumb.size == (THUMB_SIDE, 240)
    assert is_like(thumb, (0.1, 0.1), LIME)
    assert is_like(thumb, (0.1, 0.9), RED)
    assert is_like(thumb, (0.9, 0.5), BLUE)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("size", "expected"), [((40, 30), (40, 30)), ((1, 1), (1, 1)), ((2000, 1), (320, 1)), ((320, 321), (319, 320))]
)
def test_thumbnail_is_never_enlarged(kind: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert examine(picture(kind, pixels(*size)))[1].size == expected


# Where an upright picture shows its left upper corner, by the orientation that is stored.
CORNERS = {
    1: (0.1, 0.1),
    2: (0.9, 0.1),
    3: (0.9, 0.9),
    4: (0.1, 0.9),
    5: (0.1, 0.1),
    6: (0.9, 0.1),
    7: (0.9, 0.9),
    8: (0.1, 0.9),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    facts, thumb, _ = examine(picture(kind, pixels(800, 400), exif=exif(orientation)))
    expected = (400, 800) if orientation >= 5 else (800, 400)
    assert (facts["width"], facts["height"]) == expected
    assert thumb.size == ((160, 320) if orientation >= 5 else (320, 160))
    assert is_like(thumb, CORNERS[orientation], LIME)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_alpha_is_kept(kind: str) -> None:
    image = Image.new("RGBA", (400, 400), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (200, 0, 400, 400))
    _, thumb, _ = examine(picture(kind, image))
    assert thumb.mode == "RGBA"
    assert cast(tuple[int, ...], thumb.getpixel((20, 20)))[3] == 0
    assert cast(tuple[int, ...], thumb.getpixel((300, 20)))[3] == 255


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_thumbnail_shows_the_first_frame(kind: str) -> None:
    _, thumb, _ = examine(animation(kind))
    assert is_like(thumb, (0.05, 0.05), LIME)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_thumbnail_of_every_png(mode: str) -> None:
    image = Image.new("L", (400, 300), 128)
    image.paste(255, (0, 0, 200, 300))
    if mode == "I;16":
        image = Image.new("I;16", (400, 300), 0x8000)
        image.paste(0xFFFF, (0, 0, 200, 300))
    elif mode == "1":
        image = image.point(lambda value: 255 if value > 200 else 0).convert("1")
    else:
        image = image.convert(mode)
    _, thumb, _ = examine(picture("PNG", image))
    assert is_like(thumb, (0.2, 0.5), (255, 255, 255))
    assert is_like(thumb, (0.8, 0.5), (0, 0, 0) if mode == "1" else (128, 128, 128))


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_thumbnail_of_every_jpeg(mode: str) -> None:
    _, thumb, _ = examine(picture("JPEG", pixels(800, 600, mode), icc_profile=b"p" * 8000))
    assert thumb.size == (320, 240)
    assert mode == "L" or is_like(thumb, (0.9, 0.5), BLUE)


def test_small_profile_goes_with_the_thumbnail() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert examine(picture("JPEG", pixels(), icc_profile=profile))[1].info["icc_profile"] == profile
    for other in (profile + b"\0" * 4096, profile[:16] + b"CMYK" + profile[20:]):
        assert "icc_profile" not in examine(picture("JPEG", pixels(), icc_profile=other))[1].info


# A JPEG whose scan lacks a piece is valid, and grey at its end.
@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_damaged_pixels_are_no_image(kind: str) -> None:
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    data = bytearray(picture(kind, noise))
    data[len(data) // 3 : -len(data) // 3] = b""
    with pytest.raises((Refused, OSError, SyntaxError, ValueError)):
        examined(io.BytesIO(bytes(data)), io.BytesIO())


def test_png_without_its_pixels_is_no_image() -> None:
    with pytest.raises((OSError, SyntaxError)):
        examined(io.BytesIO(png(5000, 5000, png_chunk(b"IDAT", b"x\x9c\x03\0\0\0\0\1"))), io.BytesIO())


def _raw_png(depth: int, colours: int, sample: int, transparent: int) -> bytes:
    """400x300 of one colour, which tRNS names if `transparent` is it."""
    channels = 3 if colours == 2 else 1
    row = int(f"{sample:0{depth}b}" * 400 * channels, 2).to_bytes(400 * channels * depth // 8, "big")
    trns = png_chunk(b"tRNS", transparent.to_bytes(2, "big") * channels)
    return png(400, 300, trns, png_chunk(b"IDAT", zlib.compress((b"\0" + row) * 300)), depth=depth, colours=colours)


@pytest.mark.parametrize(
    ("depth", "colours", "sample", "shown"),
    [(16, 0, 0x8000, 128), (16, 2, 0x8000, 128), (8, 0, 128, 128), (8, 2, 128, 128), (2, 0, 2, 170), (1, 0, 1, 255)],
)
@pytest.mark.parametrize("is_transparent", [True, False])
def test_transparent_colours_of_every_depth(
    depth: int, colours: int, sample: int, shown: int, *, is_transparent: bool
) -> None:
    """The thumbnail is transparent there, or shows the colour."""
    _, thumb, _ = examine(_raw_png(depth, colours, sample, sample if is_transparent else sample - 1))
    red, green, blue, alpha = cast(tuple[int, ...], thumb.convert("RGBA").getpixel((100, 100)))
    is_clear = is_transparent and alpha == 0
    assert is_clear or all(abs(value - shown) < 5 for value in (red, green, blue))
    assert alpha == 255 or is_transparent
