"""Copies an image without its metadata, lossless and in pieces, from file to file. Pure.

Kept is what changes the picture: pixels, colours (ICC profiles too), transparency, animation and its loops. Everything
else is cut out: EXIF with its position, XMP, IPTC, comments, texts, times, embedded previews, unknown chunks, and bytes
behind the image's end. A list of what is kept, not of what is cut, so that an unknown kind of metadata does not pass.

An orientation other than 1 stays as an EXIF of this one tag, because viewers turn the picture by it. Only EXIF counts,
not XMP, because browsers read only EXIF.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from services.gateway.media import image_parts
from services.gateway.media.image_parts import EOI, GIF_HEAD, GIF_IMAGE, GIF_TRAILER, PIECE_BYTES, SCAN, SOI, Part
from services.gateway.media.image_parts import broken as _broken

_ORIENTATION_TAG = 0x0112
# The entry of the tag is in the first directory, which cameras write at the front.
_MAX_EXIF_BYTES = 64 * 1024
_EXIF_PREFIX = b"Exif\0\0"
# TIFF's numeric types by their width: BYTE, SHORT, LONG.
_WIDTHS = {1: 1, 3: 2, 4: 4}

_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD pHYs cICP mDCV cLLI acTL fcTL fdAT".split()
)
_APP0, _APP1, _APP2, _APP14 = b"\xe0", b"\xe1", b"\xe2", b"\xee"
_ADOBE_BYTES = 16
_GIF_CONTROL, _GIF_APPLICATION, _GIF_PLAIN_TEXT = b"!\xf9", b"!\xff", b"!\x01"
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
_GIF_LOOP_BYTES = 19
_GIF_COLOURS = b"ICCRGBG1012"
_WEBP_KEPT = frozenset({b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"})
_WEBP_FRAME_KEPT = frozenset({b"ALPH", b"VP8 ", b"VP8L"})
_WEBP_HAS_EXIF, _WEBP_KEPT_FLAGS = 0x08, 0x32  # profile, alpha, animation


def strip(source: BinaryIO, target: BinaryIO, content_type: str) -> int:
    """Write the image to `target` without metadata, and return its orientation, 1 to 8.

    `target`: empty, and it can seek. `content_type`: one of IMAGE_TYPES. Holds one piece of 64 KiB in memory. Raises
    Refused(`invalid_body`) for a broken file; `target` then holds a part.
    """
    return _STRIPPERS[content_type](source, target)


def orientation_of(exif: bytes) -> int:
    """The orientation in a TIFF structure; 1 if there is none or it is broken."""
    exif = exif.removeprefix(_EXIF_PREFIX)
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return 1

    def number(at: int, width: int) -> int:
        return int.from_bytes(exif[at : at + width], "little" if exif[:1] == b"I" else "big")

    directory = number(4, 4)
    for entry in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if entry + 12 > len(exif):
            break
        if number(entry, 2) == _ORIENTATION_TAG:
            width = _WIDTHS.get(number(entry + 2, 2), 0)
            value = number(entry + 8, width)
            return value if 1 <= value <= 8 else 1
    return 1


def minimal_exif(orientation: int) -> bytes:
    """A TIFF structure of the one tag."""
    entry = b"\x01\x12\0\x03\0\0\0\x01" + orientation.to_bytes(2) + b"\0\0"
    return b"MM\0*\0\0\0\x08\0\x01" + entry + b"\0\0\0\0"


def _copy(source: BinaryIO, target: BinaryIO, start: int, length: int) -> None:
    source.seek(start)
    while length > 0:
        piece = source.read(min(PIECE_BYTES, length))
        if not piece:
            raise image_parts.cut_off()
        target.write(piece)
        length -= len(piece)


def _head(source: BinaryIO, part: Part, count: int) -> bytes:
    """The first bytes of a part, with its header."""
    source.seek(part.start)
    return source.read(min(count, part.length))


# -- PNG -------------------------------------------------------------------------------------------


def _strip_png(source: BinaryIO, target: BinaryIO) -> int:
    orientation: int | None = None
    target.write(image_parts.PNG_SIGNATURE)
    for part in image_parts.png_parts(source):
        if part.kind in _PNG_KEPT:
            _copy(source, target, part.start, part.length)
        elif part.kind == b"eXIf" and orientation is None:
            orientation = orientation_of(_head(source, part, min(_MAX_EXIF_BYTES, part.length - 4))[8:])
            if orientation != 1:
                target.write(_png_chunk(b"eXIf", minimal_exif(orientation)))
        elif part.kind[:1].isupper():
            raise _broken("it has a chunk that no decoder may ignore")
    return orientation or 1


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)


# -- JPEG ------------------------------------------------------------------------------------------


def _strip_jpeg(source: BinaryIO, target: BinaryIO) -> int:
    orientation: int | None = None
    target.write(b"\xff" + SOI)
    for part in image_parts.jpeg_parts(source):
        if part.kind == _APP1 and orientation is None:
            exif = _head(source, part, part.length)[4:]
            if exif.startswith(_EXIF_PREFIX):
                orientation = orientation_of(exif)
                if orientation != 1:
                    target.write(_jpeg_segment(_APP1, _EXIF_PREFIX + minimal_exif(orientation)))
        else:
            _copy_jpeg(source, target, part)
    target.write(b"\xff" + EOI)
    return orientation or 1


def _copy_jpeg(source: BinaryIO, target: BinaryIO, part: Part) -> None:
    """Copy a segment, if it changes the picture."""
    head = _head(source, part, 18)
    if part.kind == _APP0:
        # Without the preview, whose sides are the last two bytes.
        if head[4:9] == b"JFIF\0" and len(head) == 18:
            target.write(_jpeg_segment(_APP0, head[4:16] + b"\0\0"))
    elif part.kind == _APP14:
        if head[4:9] == b"Adobe" and len(head) >= _ADOBE_BYTES:
            target.write(_jpeg_segment(_APP14, head[4:_ADOBE_BYTES]))
    elif (
        part.kind == SCAN or b"\xc0" <= part.kind <= b"\xdd" or (part.kind == _APP2 and head[4:16] == b"ICC_PROFILE\0")
    ):
        _copy(source, target, part.start, part.length)


def _jpeg_segment(kind: bytes, data: bytes) -> bytes:
    return b"\xff" + kind + (len(data) + 2).to_bytes(2) + data


# -- GIF -------------------------------------------------------------------------------------------


def _strip_gif(source: BinaryIO, target: BinaryIO) -> int:
    control: Part | None = None
    for part in image_parts.gif_parts(source):
        if part.kind == _GIF_CONTROL:
            control = part  # It belongs to the next picture, or to a text, which is cut out.
        elif part.kind == _GIF_PLAIN_TEXT:
            control = None
        elif part.kind == GIF_IMAGE:
            for kept in (control, part):
                if kept is not None:
                    _copy(source, target, kept.start, kept.length)
            control = None
        elif part.kind in (GIF_HEAD, GIF_TRAILER) or _is_kept_application(source, part):
            _copy(source, target, part.start, part.length)
    return 1


def _is_kept_application(source: BinaryIO, part: Part) -> bool:
    if part.kind != _GIF_APPLICATION:
        return False
    name = _head(source, part, 14)[3:]
    return (name in _GIF_LOOPS and part.length == _GIF_LOOP_BYTES) or name == _GIF_COLOURS


# -- WebP ------------------------------------------------------------------------------------------


def _strip_webp(source: BinaryIO, target: BinaryIO) -> int:
    orientation = _webp_orientation(source)
    target.write(b"RIFF\0\0\0\0WEBP")
    for part in _webp_kept(source):
        if part.kind == b"VP8X":
            flags = _head(source, part, 9)[8] & _WEBP_KEPT_FLAGS
            target.write(_riff_head(b"VP8X", 10))
            target.write(bytes([flags | (_WEBP_HAS_EXIF if orientation != 1 else 0)]))
            _copy(source, target, part.start + 9, 9)
        elif part.kind == b"ANMF":
            _copy_webp_frame(source, target, part)
        else:
            _copy(source, target, part.start, part.length)
    if orientation != 1:
        exif = minimal_exif(orientation)
        target.write(_riff_head(b"EXIF", len(exif)) + exif)
    size = target.tell()
    target.seek(4)
    target.write((size - 8).to_bytes(4, "little"))
    target.seek(size)
    return orientation


def _webp_kept(source: BinaryIO) -> Iterator[Part]:
    """Of a simple file the first chunk. Of an extended one the first VP8X, and what _WEBP_KEPT names."""
    parts = image_parts.webp_parts(source)
    first = next(parts, None)
    if first is None or (first.kind == b"VP8X" and first.length < 18):
        raise _broken("a header is too short")
    yield first
    if first.kind == b"VP8X":
        yield from (part for part in parts if part.kind in _WEBP_KEPT)


def _webp_orientation(source: BinaryIO) -> int:
    """That of the first EXIF chunk of an extended file."""
    for number, part in enumerate(image_parts.webp_parts(source)):
        if number == 0 and part.kind != b"VP8X":
            return 1
        if part.kind == b"EXIF":
            return orientation_of(_head(source, part, _MAX_EXIF_BYTES)[8:])
    return 1


def _copy_webp_frame(source: BinaryIO, target: BinaryIO, frame: Part) -> None:
    kept = [part for part in image_parts.webp_frame_parts(source, frame) if part.kind in _WEBP_FRAME_KEPT]
    target.write(_riff_head(b"ANMF", 16 + sum(part.length for part in kept)))
    _copy(source, target, frame.start + 8, 16)
    for part in kept:
        _copy(source, target, part.start, part.length)


def _riff_head(kind: bytes, length: int) -> bytes:
    return kind + length.to_bytes(4, "little")


_STRIPPERS: dict[str, Callable[[BinaryIO, BinaryIO], int]] = {
    "image/png": _strip_png,
    "image/jpeg": _strip_jpeg,
    "image/gif": _strip_gif,
    "image/webp": _strip_webp,
}
