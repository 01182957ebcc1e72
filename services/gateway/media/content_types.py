"""The type of an upload, from its first bytes. Pure.

The rule, in its order:

1. Bytes that begin as PNG, JPEG, GIF or WebP are that image, whatever the header says. So a wrong `Content-Type` gives
   the type of the bytes.
2. A header that says `image/…` for any other bytes is refused. SVG, HTML, XML and scripts are never images here, as a
   browser runs what they hold. The text says how to send the bytes as a file.
3. Bytes of another well-known format have its type. A ZIP or Ogg file keeps a declared type that is stored as one,
   such as an office document.
4. For other bytes the header counts if it names a harmless type: one that no browser runs or shows as a page.
   Everything else is `application/octet-stream`. HTML, SVG, XML and JavaScript are therefore served as that, never
   with a type that a browser would run.

A polyglot, such as a GIF that is also JavaScript or a JPEG that is also a ZIP, is the image of its first bytes. It is
harmless, because downloads are attachments with `nosniff`, so that a browser runs no image type as a script or page.
Bytes behind the end of an image are cut by `metadata`, so that the stored file ends with its image. They are not
refused, because cameras append previews and clips to real photos.
"""

from tidings.errors import Refused

SNIFFED_BYTES = 512
OCTET_STREAM = "application/octet-stream"
IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

_ZIP_BASED = frozenset(
    {
        "application/epub+zip",
        "application/vnd.oasis.opendocument.presentation",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }
)
_OGG_BASED = frozenset({"audio/ogg", "audio/opus", "video/ogg"})
# Types without a signature of their own, or with one that is too short to rely on.
_HARMLESS = frozenset(
    {
        "application/json",
        "application/msword",
        "application/vnd.ms-excel",
        "application/vnd.ms-powerpoint",
        "application/x-tar",
        "audio/aac",
        "audio/amr",
        "audio/mpeg",
        "text/calendar",
        "text/csv",
        "text/markdown",
        "text/plain",
        "text/vcard",
        "video/mp2t",
    }
)
_SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"OggS", "application/ogg"),
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
)
# The brand of an ISO media file. HEIC and AVIF have others, and stay files of octets.
_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime"}
_MP4_BRANDS = (b"iso", b"mp4", b"avc", b"M4V", b"dash", b"MSNV", b"f4v", b"3gp")
_REFUSED = (
    "the upload is called an image, but its bytes are not PNG, JPEG, GIF or WebP; "
    "to store a file, send Content-Type application/octet-stream"
)


def content_type_of(first: bytes, declared: str | None) -> str:
    """The stored type, without parameters. `first`: the first SNIFFED_BYTES, or all bytes if there are fewer.

    Raises Refused(`invalid_body`) by rule 2.
    """
    if (image := image_type(first)) is not None:
        return image
    said = (declared or "").partition(";")[0].strip().lower()
    if said.startswith("image/"):
        raise Refused("invalid_body", _REFUSED)
    found = _signed_type(first)
    if found == "application/zip" and said in _ZIP_BASED:
        return said
    if found == "application/ogg" and said in _OGG_BASED:
        return said
    if found is not None:
        return found
    return said if said in _HARMLESS else OCTET_STREAM


def image_type(first: bytes) -> str | None:
    """Which of IMAGE_TYPES the bytes begin as. 12 bytes are enough."""
    if first.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if first.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if first.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    return None


def _signed_type(first: bytes) -> str | None:
    for signature, content_type in _SIGNATURES:
        if first.startswith(signature):
            return content_type
    if first[:4] == b"RIFF" and first[8:12] == b"WAVE":
        return "audio/wav"
    if first[4:8] == b"ftyp":
        brand = first[8:12]
        return _BRANDS.get(brand) or ("video/mp4" if brand.startswith(_MP4_BRANDS) else None)
    if first.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in first[:64] else "video/x-matroska"
    return None
