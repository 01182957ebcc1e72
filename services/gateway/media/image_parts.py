"""Walks PNG, JPEG, GIF and WebP files as byte ranges, without decoding pixels. Pure.

A part is a chunk, segment or block. Readers may seek in the file between two parts. A walk ends at the image's own
end, so that bytes behind it belong to no part. Each walk raises Refused(`invalid_body`) for a file that is cut off or
broken.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from tidings.errors import Refused

# A GIF of 20 MiB has 82,000 sub-blocks of 255 bytes, of two steps each. A step takes 1 to 4 µs, so a file of tiny parts
# costs up to 1 s in each walk.
MAX_STEPS = 250_000
PIECE_BYTES = 64 * 1024

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SOI, EOI, SOS = b"\xd8", b"\xd9", b"\xda"
SCAN = b"scan"  # entropy-coded data, which follows a segment SOS
GIF_HEAD, GIF_IMAGE, GIF_TRAILER = b"head", b",", b";"

# A marker between segments: 0xFF repeated is filling.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
# A marker in entropy-coded data: 0xFF00 is a byte of data, and 0xFFD0 to 0xFFD7 are restarts.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class Part(NamedTuple):
    """`kind`: the chunk's or marker's name. The range begins at the part's own header."""

    kind: bytes
    start: int
    length: int

    @property
    def end(self) -> int:
        """The position behind the part."""
        return self.start + self.length


class Bytes:
    """A file with a position of its own. A read beyond its end is refused, and so is the step after MAX_STEPS."""

    __slots__ = ("_source", "_steps", "at", "end")

    def __init__(self, source: BinaryIO, at: int = 0, end: int | None = None) -> None:
        self._source = source
        self._steps = 0
        self.at = at
        self.end = source.seek(0, 2) if end is None else end

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start = self.at
        self.skip(count)
        self._source.seek(start)
        taken = self._source.read(count)
        if len(taken) != count:
            raise cut_off()
        return taken

    def skip(self, count: int) -> None:
        """Go over `count` bytes without reading them."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise refused(f"the image consists of more than {MAX_STEPS} parts")
        if self.at + count > self.end:
            raise cut_off()
        self.at += count

    def find(self, marker: re.Pattern[bytes]) -> bytes:
        """Go behind the next marker, and return its second byte. It is near between segments, and far in a scan."""
        before, count = b"", 16
        while piece := self.take(min(count, self.end - self.at)):
            if (found := marker.search(before + piece)) is not None:
                self.at += found.end() - len(before + piece)
                return found[0][1:]
            before, count = piece[-1:], min(2 * count, PIECE_BYTES)
        raise cut_off()


def refused(text: str) -> Refused:
    """An image that its sender has to change."""
    return Refused("invalid_body", text)


def cut_off() -> Refused:
    """A file that ends inside its image."""
    return refused("the image is cut off: upload the whole file")


def broken(what: str) -> Refused:
    """A file that does not follow its format. `what` is a phrase."""
    return refused(f"the image is broken: {what}; save it again in an image editor")


def png_parts(source: BinaryIO) -> Iterator[Part]:
    """The chunks behind the signature, with length and checksum. IEND is the last."""
    data = Bytes(source)
    if data.take(8) != PNG_SIGNATURE:
        raise broken("it has no PNG signature")
    kind = b""
    while kind != b"IEND":
        start = data.at
        head = data.take(8)
        kind = head[4:]
        if not kind.isalpha():
            raise broken("a PNG chunk has no valid name")
        data.skip(int.from_bytes(head[:4]) + 4)
        yield Part(kind, start, data.at - start)


def jpeg_parts(source: BinaryIO) -> Iterator[Part]:
    """The segments between SOI and EOI, each with its marker. SCAN follows each SOS.

    Bytes between segments that belong to none are left out, as decoders skip them.
    """
    data = Bytes(source)
    if data.take(2) != b"\xff" + SOI:
        raise broken("it has no JPEG signature")
    while (kind := data.find(_MARKER)) != EOI:
        start = data.at - 2
        length = int.from_bytes(data.take(2))
        if length < 2 or not _has_length(kind):
            raise broken("a JPEG segment has no valid marker or length")
        data.skip(length - 2)
        yield Part(kind, start, data.at - start)
        if kind == SOS:
            start = data.at
            data.find(_SCAN_END)
            data.at -= 2
            yield Part(SCAN, start, data.at - start)


def _has_length(kind: bytes) -> bool:
    """False for SOI, restarts and reserved markers, which no file has between its segments."""
    return b"\xc0" <= kind <= b"\xcf" or b"\xda" <= kind <= b"\xdd" or b"\xe0" <= kind <= b"\xef" or kind == b"\xfe"


def gif_parts(source: BinaryIO) -> Iterator[Part]:
    """The head with the global colours, extensions (`!` and the label), images and the trailer."""
    data = Bytes(source)
    head = data.take(13)
    if head[:6] not in (b"GIF87a", b"GIF89a"):
        raise broken("it has no GIF signature")
    _skip_colours(data, head[10])
    yield Part(GIF_HEAD, 0, data.at)
    kind = b""
    while kind != GIF_TRAILER:
        start = data.at
        kind = data.take(1)
        if kind == b"!":
            kind += data.take(1)
            _skip_blocks(data)
        elif kind == GIF_IMAGE:
            _skip_colours(data, data.take(9)[8])
            data.skip(1)  # the size of the first code
            _skip_blocks(data)
        elif kind != GIF_TRAILER:
            raise broken("a GIF block has no valid label")
        yield Part(kind, start, data.at - start)


def _skip_colours(data: Bytes, flags: int) -> None:
    if flags & 0x80:
        data.skip(3 << ((flags & 7) + 1))


def _skip_blocks(data: Bytes) -> None:
    while length := data.take(1)[0]:
        data.skip(length)


def webp_parts(source: BinaryIO) -> Iterator[Part]:
    """The chunks of the RIFF file, each with its header and padding."""
    data = Bytes(source)
    head = data.take(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        raise broken("it has no WebP signature")
    end = 8 + int.from_bytes(head[4:8], "little")
    if end > data.end:
        raise cut_off()
    data.end = end
    yield from _riff_parts(data)


def webp_frame_parts(source: BinaryIO, frame: Part) -> Iterator[Part]:
    """The chunks inside a chunk ANMF, behind its 16 bytes of position and timing."""
    yield from _riff_parts(Bytes(source, frame.start + 24, frame.end))


def _riff_parts(data: Bytes) -> Iterator[Part]:
    while data.at < data.end:
        start = data.at
        head = data.take(8)
        length = int.from_bytes(head[4:], "little")
        data.skip(length + length % 2)
        yield Part(head[:4], start, data.at - start)
