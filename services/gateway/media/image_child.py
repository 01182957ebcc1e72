"""The process that examines one image: the only one that runs a decoder. `images` starts it.

It reads the image from its standard input, writes it without metadata to TARGET_FD, decodes what it has written, and
answers on its standard output. The answer is READY, a line of JSON, and the thumbnail.

An image that its walk or decoder cannot take ends this process, and nothing else. The limits come before the image:

- memory, processor time, the size of a file, no core dump, no child of its own;
- no further file descriptor, so that it opens no file and no socket;
- an alarm, so that it ends also without its parent; and the kernel ends it first if the machine runs out of memory;
- a lower priority than the gateway's, which the parent sets at once.
"""

import copy
import errno
import io
import json
import os
import resource
import signal
import sys
import warnings
from contextlib import suppress
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, WebPImagePlugin

from services.gateway.media import metadata
from services.gateway.media.image_header import MAX_PIXELS, ImageHeader, read_header
from tidings.errors import Refused

TARGET_FD = 3
READY = b"ready\n"
# The parent sets it, too. See there.
NICENESS = 10
THUMB_SIDE = 320
THUMB_QUALITY = 80
# Display P3, which phones use, has 548 bytes. A thumbnail does not carry a larger profile.
MAX_THUMB_PROFILE_BYTES = 4096
# Pillow imports these when it first needs them, TIFF for the EXIF of a JPEG, and `copy` for a GIF. It could not open
# their files any more then.
_IMPORTED_EARLY = (copy, TiffImagePlugin, WebPImagePlugin)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

# What turns a picture of each orientation upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})


def main(memory_bytes: int, cpu_seconds: int, file_bytes: int, wall_seconds: int, target_fd: int) -> None:
    """Examine the image on standard input."""
    Image.preinit()
    _be_limited(memory_bytes, cpu_seconds, file_bytes, wall_seconds, target_fd)
    answer = sys.stdout.buffer
    answer.write(READY)
    answer.flush()
    with open(0, "rb") as source, open(TARGET_FD, "r+b") as target:
        try:
            facts, thumb = examined(source, target)
        except Refused as error:
            facts, thumb = {"code": error.code, "text": error.text}, b""
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise
            facts, thumb = {"code": "unavailable", "text": "there is no space to store the image; retry"}, b""
    answer.write(json.dumps(facts).encode() + b"\n" + thumb)
    answer.flush()


def _be_limited(memory_bytes: int, cpu_seconds: int, file_bytes: int, wall_seconds: int, target_fd: int) -> None:
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    with suppress(OSError), open("/proc/self/autogroup", "w") as group:
        group.write(str(NICENESS))
    if target_fd != TARGET_FD:
        os.dup2(target_fd, TARGET_FD)
        os.close(target_fd)
    signal.alarm(wall_seconds)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (TARGET_FD + 1, TARGET_FD + 1))


def examined(source: BinaryIO, target: BinaryIO) -> tuple[dict[str, object], bytes]:
    """The facts of the image in `target`, and its thumbnail. Raises Refused, or whatever the decoder raises."""
    header = read_header(source)
    orientation = metadata.strip(source, target, header.content_type)
    target.flush()
    width, height = header.width, header.height
    if orientation in _SIDEWAYS:
        width, height = height, width
    facts = {"content_type": header.content_type, "width": width, "height": height, "size": target.tell()}
    return facts, thumbnail(target, header, orientation)


def thumbnail(stripped: BinaryIO, header: ImageHeader, orientation: int) -> bytes:
    """A WebP of at most THUMB_SIDE pixels a side, upright, of the first frame. Raises whatever the decoder raises."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    stripped.seek(0)
    kind = header.content_type.removeprefix("image/").upper()
    with Image.open(stripped, formats=(kind,)) as image:
        if image.size != (header.width, header.height):
            raise Refused("invalid_body", "the image is broken: its headers give it two sizes")
        profile = image.info.get("icc_profile", b"")
        small = _shrunk(image)
    if (turn := _TURNS.get(orientation)) is not None:
        small = small.transpose(turn)
    is_carried = len(profile) <= MAX_THUMB_PROFILE_BYTES and profile[16:20] == b"RGB "
    encoded = io.BytesIO()
    small.save(encoded, "WEBP", quality=THUMB_QUALITY, icc_profile=profile if is_carried else b"", exif=b"", xmp=b"")
    return encoded.getvalue()


def _shrunk(image: Image.Image) -> Image.Image:
    """The first frame, not enlarged, as RGB or RGBA. A JPEG is decoded at a part of its size."""
    # Pixels of a palette cannot be averaged, and 16 bits a pixel would be clipped.
    upright: Image.Image = image
    if image.mode.startswith("I"):
        # A value that stands for transparency has 16 bits, too, and fits no grey of 8. The thumbnail shows that grey.
        image.info.pop("transparency", None)
        upright = image.point(lambda value: value / 256).convert("L")
    elif image.mode in ("P", "PA", "1") or "transparency" in image.info:
        upright = image.convert("RGBA")
    upright.thumbnail((THUMB_SIDE, THUMB_SIDE))
    has_alpha = upright.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    return upright.convert("RGBA" if has_alpha else "RGB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
