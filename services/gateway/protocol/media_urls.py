"""The URLs of uploads in messages, and what an upload adds to a body that refers to it. Pure."""

from collections.abc import Mapping

import orjson

from tidings import ids
from tidings.codec import canonical_json
from tidings.errors import Refused
from tidings.store.media_rows import MediaRow
from tidings.wire.common_pb2 import KIND_IMAGE
from tidings.wire.inbound_pb2 import Post

MEDIA_PATH = "/v1/media/"
_THUMB = "/thumb"


def media_url(media_id: str) -> str:
    """The URL of an upload's content."""
    return f"{MEDIA_PATH}{media_id}"


def thumb_url(media_id: str) -> str:
    """The URL of an upload's thumbnail."""
    return f"{MEDIA_PATH}{media_id}{_THUMB}"


def is_upload(url: object) -> bool:
    """Whether a URL is one of this server's uploads, well-formed or not."""
    return isinstance(url, str) and url.startswith(MEDIA_PATH)


def media_id_of(url: str, name: str) -> str:
    """The id in the URL of an upload. Raises Refused(`media_not_found`) for a malformed one."""
    media_id = url.removeprefix(MEDIA_PATH).removesuffix(_THUMB)
    if not ids.is_media_id(media_id):
        raise no_upload(name)
    return media_id


def no_upload(name: str) -> Refused:
    """The refusal of a missing upload, and of one by another user."""
    return Refused("media_not_found", f"{name} is not an upload of yours; upload it with POST /v1/media")


def described(post: Post, uploads: Mapping[str, MediaRow]) -> bytes:
    """The body with the facts of its upload where the client left them out, as canonical JSON.

    `uploads`: the rows of `post.media_ids`. Raises Refused if the upload cannot be the content of this kind.
    """
    body: dict[str, object] = orjson.loads(post.body)
    url = str(body["url"])
    if not is_upload(url):
        return post.body
    row = uploads[media_id_of(url, "url")]
    if url.endswith(_THUMB):
        raise Refused("invalid_body", "url is a thumbnail; give the url of the upload itself")
    if post.kind == KIND_IMAGE and not row.is_image:
        raise Refused("invalid_body", "url is an upload that is no image; send it as a file")
    thumb = str(body.get("thumb_url", ""))
    if is_upload(thumb) and not uploads[media_id_of(thumb, "thumb_url")].is_image:
        raise Refused("invalid_body", "thumb_url is an upload that is no image; give that of an image")
    return canonical_json({**_facts(row, post.kind == KIND_IMAGE), **body})


def _facts(row: MediaRow, is_image: bool) -> dict[str, object]:
    facts: dict[str, object] = {"size": row.size, "content_type": row.content_type}
    if is_image:
        return facts | {"width": row.width, "height": row.height, "thumb_url": thumb_url(row.media_id)}
    return facts | {"name": row.name}
