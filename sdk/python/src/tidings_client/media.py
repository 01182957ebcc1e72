"""The REST calls for media. `upload` repeats under one id until its outcome is known, so that it is stored once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from tidings_client.rest import Rest, path_of, repeated

_CHUNK_BYTES = 256 * 1024
# The server gives each MiB of a body 60 s, and decodes an image afterwards.
UPLOAD_TIMEOUT_S = 90.0
_UPLOAD_URL = re.compile(r"/v1/media/[0-9a-f]{32}(?:/thumb)?")
# Called with the bytes that have passed and the bytes in all.
Progress = Callable[[int, int], None]


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A stored upload. `thumb_url`, `width` and `height` (pixels) are None for a file."""

    url: str
    size: int
    content_type: str
    name: str
    thumb_url: str | None = None
    width: int | None = None
    height: int | None = None

    @property
    def kind(self) -> str:
        """The kind of message that shows it: image or file."""
        return "file" if self.thumb_url is None else "image"

    def body(self) -> dict[str, Any]:
        """The body of that message. The server adds what it leaves out."""
        return {"url": self.url}


class MediaCalls:
    """Uploads and downloads of one user."""

    def __init__(self, rest: Rest, make_id: Callable[[], str]) -> None:
        self._rest = rest
        self._make_id = make_id

    async def upload(
        self, path: Path, *, content_type: str = "", upload_id: str = "", progress: Progress | None = None
    ) -> Upload:
        """Store a file. The server reads the type from its bytes. Raises ApiError, Unreachable or OSError.

        `upload_id`: an upload that is repeated with the same id and bytes is stored once.
        """
        size = _size_of(path)
        headers = {
            "Idempotency-Key": upload_id or self._make_id(),
            "X-File-Name": quote(path.name),
            "Content-Type": content_type or "application/octet-stream",
            "Content-Length": str(size),
        }
        send = self._rest.send_bytes
        return await repeated(
            lambda: send(Upload, path_of("media"), _chunks(path, size, progress), headers, UPLOAD_TIMEOUT_S)
        )

    async def download(self, url: str, path: Path, progress: Progress | None = None) -> int:
        """Write the content of a URL of this server to a file. Returns its bytes.

        Raises ApiError, Unreachable or OSError, and ValueError for a URL of another server. The file is complete or
        does not exist.
        """
        if not _UPLOAD_URL.fullmatch(url):
            # The token goes with the call, and a message of another user may hold any URL.
            raise ValueError(f"{url[:100]!r} is not an upload of this server")
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as file:
                async for chunk, total in self._rest.bytes_of(url):
                    file.write(chunk)
                    if progress is not None:
                        progress(file.tell(), total)
                size = file.tell()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return size


def _size_of(path: Path) -> int:
    return path.stat().st_size


async def _chunks(path: Path, size: int, progress: Progress | None) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            if progress is not None:
                progress(file.tell(), size)
