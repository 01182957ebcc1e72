"""REST: uploads and downloads."""

import contextlib
from collections.abc import Iterator

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from services.gateway.http.problems import problem
from services.gateway.media.build import Media
from services.gateway.media.disposition import attachment, file_name
from services.gateway.media.downloads import Download
from services.gateway.media.ranges import answer_range
from services.gateway.media.uploads import Upload, too_large
from services.gateway.protocol.media_urls import media_url, thumb_url
from services.gateway.reads.media import MediaReads
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.client_msg_ids import client_msg_id_of
from services.gateway.rest.edges import IS_HEAD
from services.gateway.rest.models import UploadAnswer
from services.gateway.rest.wire import UnreadableBody, answer, check_encoding, declares_more, stream_of
from tidings import ids, metrics
from tidings.errors import MediaUnavailable, Refused, StoreUnavailable
from tidings.logging import logger
from tidings.store.media_rows import MediaRow

_log = logger("tidings.gateway.media")

THUMB_TYPE = "image/webp"
# A browser shows nothing of an answer with these but as a download, whatever its bytes are. Rights may end, so a
# copy of the client counts only after a call that answers 304.
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",
    "Accept-Ranges": "bytes",
}


class MediaCalls:
    """Each method is one call of PROTOCOL's REST table."""

    def __init__(self, authenticator: Authenticator, reads: MediaReads, media: Media) -> None:
        """All parts are shared by the whole gateway."""
        self._authenticator = authenticator
        self._reads = reads
        self._uploads = media.uploads
        self._objects = media.objects
        self._downloads = media.downloads
        self._redirect_s = media.rules.redirect_s

    async def upload_media(self, request: Request) -> Response:
        """Upload an image or a file as the raw body. The type comes from the bytes, the name from `X-File-Name`."""
        user_id = self._authenticator.user(request)
        with _counted():
            _check_is_whole_file(request)
            key = client_msg_id_of({}, request)
            if key is not None and not (isinstance(key, str) and ids.is_client_msg_id(key)):
                raise Refused("invalid_frame", "Idempotency-Key is 1-64 printable ASCII characters")
            if declares_more(request, self._uploads.most_bytes):
                raise too_large(self._uploads.most_bytes)
            upload = Upload(user_id, str(key or ""), request.headers.get("content-type"), _name_of(request))
            row = await self._uploads.take(upload, stream_of(request))
            return answer(_uploaded(row), 201)

    async def download_media(self, request: Request, media_id: str) -> Response:
        """The content of an upload, as an attachment. Ranges are served."""
        user_id = self._authenticator.user(request)
        row = await self._reads.readable(user_id, media_id)
        return await self._served(request, user_id, row, is_thumb=False)

    async def download_thumb(self, request: Request, media_id: str) -> Response:
        """The thumbnail of an image: WebP, at most 320 pixels a side."""
        user_id = self._authenticator.user(request)
        row = await self._reads.readable(user_id, media_id)
        if not row.thumb_size:
            raise Refused("media_not_found", "this upload has no thumbnail; only images have one")
        return await self._served(request, user_id, row, is_thumb=True)

    async def _served(self, request: Request, user_id: str, row: MediaRow, *, is_thumb: bool) -> Response:
        key, size = (row.thumb_key, row.thumb_size) if is_thumb else (row.object_key, row.size)
        etag = f'"{row.sha256.hex()}{"-thumb" if is_thumb else ""}"'
        content_type = THUMB_TYPE if is_thumb else row.content_type
        headers = _SAFE | {"ETag": etag, "Content-Disposition": attachment(_shown_name(row, is_thumb=is_thumb))}
        if _has_copy(request, etag):
            return Response(status_code=304, headers=headers)
        is_head = bool(request.scope.get(IS_HEAD))
        if self._redirect_s and not is_head:  # a presigned URL holds for GET alone
            url = await self._objects.sign(key, self._redirect_s, headers["Content-Disposition"], content_type)
            if url is not None:
                return RedirectResponse(url, 307, {"Cache-Control": "no-store"})
            _log.warning("downloads are not redirected", action="give the gateway an access key of S3, which can sign")
        asked = answer_range(request.headers.get("range"), request.headers.get("if-range"), etag, size)
        part = {} if asked.content_range is None else {"Content-Range": asked.content_range}
        if asked.status == 416:
            beyond = Refused("invalid_frame", f"the range begins behind the end; the content has {size} bytes")
            return problem(beyond, 416, part)
        headers |= {"Content-Length": str(asked.length), **part}
        if is_head:
            return Response(status_code=asked.status, headers=headers | {"Content-Type": content_type})
        chunks = self._objects.open(key, asked.start, asked.length)
        return Download(chunks, asked.status, headers, content_type, self._downloads.taken(user_id))


def _has_copy(request: Request, etag: str) -> bool:
    """Whether `If-None-Match` names the tag, as a strong or weak one, or any (RFC 9110, section 13.1.2)."""
    held = ",".join(request.headers.getlist("if-none-match"))
    return etag in held or held.strip() == "*"


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    """Count an upload by its outcome. An upload that its client cuts is not counted."""
    try:
        yield
    except Refused as refused:
        metrics.UPLOADS.labels(refused.code).inc()
        raise
    except UnreadableBody:
        metrics.UPLOADS.labels("invalid_frame").inc()
        raise
    except (StoreUnavailable, MediaUnavailable):
        metrics.UPLOADS.labels("unavailable").inc()
        raise
    metrics.UPLOADS.labels("stored").inc()


def _check_is_whole_file(request: Request) -> None:
    """Raises UnreadableBody or Refused if the stored bytes would not be those of the user's file.

    A form would be stored with its boundaries, and an encoded body or a part of a file as if it were the file.
    """
    check_encoding(request)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        raise UnreadableBody("the body is a form; send the bytes of one file as the body, and its name in X-File-Name")
    if "content-range" in request.headers:
        raise Refused("invalid_frame", "Content-Range is not supported; send the whole file in one request")


def _name_of(request: Request) -> str:
    names = [value for name, value in request.scope["headers"] if name == b"x-file-name"]
    if len(names) > 1:
        raise Refused("invalid_frame", "X-File-Name is given more than once; give it once")
    return file_name(names[0]) if names else "file"


def _shown_name(row: MediaRow, *, is_thumb: bool) -> str:
    return f"{row.name}.webp" if is_thumb else row.name


def _uploaded(row: MediaRow) -> UploadAnswer:
    facts = UploadAnswer(media_url(row.media_id), row.size, row.content_type, row.name)
    if row.is_image:
        facts.thumb_url, facts.width, facts.height = thumb_url(row.media_id), row.width, row.height
    return facts
