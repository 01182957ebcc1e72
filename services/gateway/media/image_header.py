"""The type, sides and frames of an image from its headers, without decoding a pixel. Pure.

A decoder allocates what a header announces. So an image beyond the limits is refused before a decoder sees it, and so
is one whose headers contradict each other.
"""

from collections.abc import Callable
from typing import BinaryIO, Literal, NamedTuple

from services.gateway.media import image_parts
from services.gateway.media.content_types import image_type
from services.gateway.media.image_parts import SOS, Part, broken, refused
from services.gateway.protocol.limits import MAX_SIDE

# 25 megapixels of RGBA are 100 MB. WebP's decoder holds four such pictures, which is what `images` allows a child.
MAX_PIXELS = 25_000_000
# 80 s at 25 frames a second. A client decodes all of them, although the server decodes only the first.
MAX_FRAMES = 2_000
# Each scan of a progressive JPEG is a pass over all pixels, however few bytes it has. Encoders write about 10.
MAX_SCANS = 100

_SOF = frozenset(bytes([code]) for code in range(0xC0, 0xD0)) - {b"\xc4", b"\xc8", b"\xcc"}
_BASELINE_OR_PROGRESSIVE = (b"\xc0", b"\xc1", b"\xc2")


class ImageHeader(NamedTuple):
    """The sides are in pixels as stored, before an orientation is applied.

    A NamedTuple, because each child would import `inspect` for a dataclass, which takes a tenth of its start.
    """

    content_type: str
    width: int
    height: int
    frames: int


def read_header(source: BinaryIO) -> ImageHeader:
    """Walk the whole file. Raises Refused(`invalid_body`) for what no server decodes, with what to change."""
    source.seek(0)
    content_type = image_type(source.read(16))
    if content_type is None:
        raise refused("the upload is not a PNG, JPEG, GIF or WebP image")
    width, height, frames = _READERS[content_type](source)
    return ImageHeader(content_type, width, height, frames)


def _checked(width: int, height: int) -> tuple[int, int]:
    if not width or not height:
        raise broken("its header gives it no width or no height")
    if width > MAX_SIDE or height > MAX_SIDE:
        raise refused(f"the image has {width} x {height} pixels; make each side at most {MAX_SIDE}")
    if width * height > MAX_PIXELS:
        raise refused(f"the image has {width} x {height} pixels; make it at most {MAX_PIXELS // 1_000_000} megapixels")
    return width, height


def _check_frames(frames: int) -> None:
    if frames > MAX_FRAMES:
        raise refused(f"the animation has more than {MAX_FRAMES} frames; shorten it")


def _check_inside(frame: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    """`frame`: left, top, width, height."""
    left, top, width, height = frame
    if not width or not height or left + width > size[0] or top + height > size[1]:
        raise broken("a frame does not lie inside the picture")


def _payload(source: BinaryIO, part: Part, count: int, head: int = 8) -> bytes:
    """The first `count` bytes behind a part's header of `head` bytes."""
    if part.length < head + count:
        raise broken("a header is too short")
    source.seek(part.start + head)
    return source.read(count)


def _numbers(data: bytes, width: int, order: Literal["little", "big"] = "big") -> tuple[int, ...]:
    """Unsigned numbers of `width` bytes each."""
    return tuple(int.from_bytes(data[at : at + width], order) for at in range(0, len(data), width))


# -- one reader per format -------------------------------------------------------------------------


def _png(source: BinaryIO) -> tuple[int, int, int]:
    size, frames, has_pixels = (0, 0), 0, False
    for number, part in enumerate(image_parts.png_parts(source)):
        if (part.kind == b"IHDR") != (number == 0):
            raise broken("IHDR is not its first and only header")
        if part.kind == b"IHDR":
            width, height = _numbers(_payload(source, part, 17)[:8], 4)  # and 4 of the checksum
            size = _checked(width, height)
        elif part.kind == b"fcTL":
            frames += 1
            _check_frames(frames)
            width, height, left, top = _numbers(_payload(source, part, 30)[4:20], 4)
            _check_inside((left, top, width, height), size)
        has_pixels |= part.kind == b"IDAT"
    if not has_pixels:
        raise broken("it holds no pixels")
    return *size, max(frames, 1)


def _jpeg(source: BinaryIO) -> tuple[int, int, int]:
    size: tuple[int, int] | None = None
    scans = 0
    for part in image_parts.jpeg_parts(source):
        if part.kind in _SOF:
            if size is not None:
                raise broken("it has several headers of frames")
            if part.kind not in _BASELINE_OR_PROGRESSIVE:
                raise refused("the JPEG is of a kind that browsers do not show; save it as baseline or progressive")
            height, width = _numbers(_payload(source, part, 5, 4)[1:], 2)
            size = _checked(width, height)
        elif part.kind == SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise refused(f"the JPEG has more than {MAX_SCANS} scans; save it as baseline")
    if size is None or not scans:
        raise broken("it holds no pixels")
    return *size, 1


def _gif(source: BinaryIO) -> tuple[int, int, int]:
    size, frames = (0, 0), 0
    for part in image_parts.gif_parts(source):
        if part.kind == image_parts.GIF_HEAD:
            width, height = _numbers(_payload(source, part, 4, 6), 2, "little")
            size = _checked(width, height)
        elif part.kind == image_parts.GIF_IMAGE:
            frames += 1
            _check_frames(frames)
            left, top, width, height = _numbers(_payload(source, part, 8, 1), 2, "little")
            _check_inside((left, top, width, height), size)
    if not frames:
        raise broken("it holds no pixels")
    return *size, frames


def _webp(source: BinaryIO) -> tuple[int, int, int]:
    parts = image_parts.webp_parts(source)
    first = next(parts, None)
    if first is None:
        raise broken("it holds no pixels")
    if first.kind != b"VP8X":
        return *_checked(*_bitstream_size(source, first)), 1
    head = _payload(source, first, 10)
    width, height = (side + 1 for side in _numbers(head[4:], 3, "little"))
    size = _checked(width, height)
    is_animated = bool(head[0] & 2)
    frames = 0
    for part in parts:
        if part.kind == b"ANMF" and is_animated:
            _check_webp_frame(source, part, size)
        elif part.kind not in (b"VP8 ", b"VP8L") or is_animated:
            continue
        elif frames or _bitstream_size(source, part) != size:
            raise broken("its headers give it two sizes or two pictures")
        frames += 1
        _check_frames(frames)
    if not frames:
        raise broken("it holds no pixels")
    return *size, frames


def _check_webp_frame(source: BinaryIO, frame: Part, size: tuple[int, int]) -> None:
    left, top, width, height = _numbers(_payload(source, frame, 12), 3, "little")
    place = (left * 2, top * 2, width + 1, height + 1)
    _check_inside(place, size)
    pictures = [part for part in image_parts.webp_frame_parts(source, frame) if part.kind in (b"VP8 ", b"VP8L")]
    if len(pictures) != 1 or _bitstream_size(source, pictures[0]) != place[2:]:
        raise broken("a frame has no pixels or two sizes")


def _bitstream_size(source: BinaryIO, part: Part) -> tuple[int, int]:
    if part.kind == b"VP8 ":
        head = _payload(source, part, 10)
        if head[3:6] != b"\x9d\x01\x2a" or head[0] & 1:
            raise broken("its first frame is not a key frame")
        width, height = _numbers(head[6:], 2, "little")
        return width & 0x3FFF, height & 0x3FFF
    if part.kind == b"VP8L":
        head = _payload(source, part, 5)
        if head[0] != 0x2F:
            raise broken("its lossless picture has no signature")
        bits = int.from_bytes(head[1:], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise broken("it begins with a chunk that holds no picture")


_READERS: dict[str, Callable[[BinaryIO], tuple[int, int, int]]] = {
    "image/png": _png,
    "image/jpeg": _jpeg,
    "image/gif": _gif,
    "image/webp": _webp,
}
