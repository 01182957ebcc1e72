"""Images for the tests: small real ones, and ones whose headers do not say the truth."""

import io
import struct
import zlib
from typing import Any

from PIL import Image

FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
TYPES = {name: f"image/{name.lower()}" for name in FORMATS}
SECRET = b"52.5163N 13.3777E"


def pixels(width: int = 40, height: int = 30, mode: str = "RGB") -> Image.Image:
    """Red at the left, blue at the right, and green in the upper left corner."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    image.paste("lime", (0, 0, width // 4, height // 4))
    return image.convert(mode)


def picture(kind: str = "PNG", image: Image.Image | None = None, **options: Any) -> bytes:
    held = io.BytesIO()
    (image or pixels()).save(held, kind, **options)
    return held.getvalue()


def animation(kind: str, frames: int = 3, **options: Any) -> bytes:
    images = [pixels().rotate(90 * number) for number in range(frames)]
    return picture(kind, images[0], save_all=True, append_images=images[1:], duration=50, loop=0, **options)


def exif(orientation: int = 1) -> bytes:
    """An EXIF with a position, a maker's text and an orientation."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = SECRET.decode()
    tags.get_ifd(0x8825)[1] = "N"
    return tags.tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colours: int = 2) -> bytes:
    """A PNG of a header that says anything, the chunks, and IEND."""
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + b"".join(chunks) + png_chunk(b"IEND", b"")


def png_bomb(width: int, height: int) -> bytes:
    """A true PNG of a palette of one colour. 10 KB of it are 80 megapixels."""
    data = zlib.compress(b"\0" * (1 + (width + 7) // 8) * height, 9)
    palette = png_chunk(b"PLTE", b"\xff\0\0") + png_chunk(b"tRNS", b"\x80")
    return png(width, height, palette, png_chunk(b"IDAT", data), depth=1, colours=3)


def jpeg_segment(kind: int, data: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(data) + 2) + data


def gif_frames(count: int, width: int = 10, height: int = 10) -> bytes:
    """A GIF of `count` pictures of one pixel each, in a loop."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    loop = b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    frame = b"!\xf9\x04\0\x05\0\0\0" + b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + loop + frame * count + b";"


def chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def riff(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int, flags: int = 0) -> bytes:
    return chunk(
        b"VP8X", bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    )


def replaced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
