"""URLs of uploads in bodies, and what the gateway adds to a body."""

import orjson
import pytest

from services.gateway.protocol.bodies import BodyRules, checked_post
from services.gateway.protocol.media_urls import described, media_url, thumb_url
from tidings.errors import Refused
from tidings.store.media_rows import MediaRow

ID, OTHER = "0" * 32, "1" * 32
IMAGE = MediaRow(ID, "alice", "1/a/b", "image/png", "a.png", 300, b"s" * 32, 640, 480, 20, 1)
FILE = MediaRow(ID, "alice", "1/a/b", "text/plain", "a.txt", 300, b"s" * 32, 0, 0, 0, 1)
RULES = BodyRules(frozenset({"media.example"}))


def body_of(kind: str, row: MediaRow, **fields: object) -> dict[str, object]:
    """The stored body of what a client sent."""
    post = checked_post(kind, {"url": media_url(ID), **fields}, None, None, RULES)
    body: dict[str, object] = orjson.loads(described(post, {ID: row, OTHER: row}))
    return body


def test_image_body_gets_what_it_lacks() -> None:
    facts = {"thumb_url": thumb_url(ID), "width": 640, "height": 480, "size": 300, "content_type": "image/png"}
    assert body_of("image", IMAGE) == {"url": media_url(ID), **facts}
    assert body_of("image", IMAGE, width=1, size=2) == {"url": media_url(ID), **facts, "width": 1, "size": 2}


def test_file_body_gets_what_it_lacks() -> None:
    facts = {"name": "a.txt", "size": 300, "content_type": "text/plain"}
    assert body_of("file", FILE) == {"url": media_url(ID), **facts}
    assert body_of("file", IMAGE, name="b")["name"] == "b"


def test_file_is_no_content_of_an_image_message() -> None:
    with pytest.raises(Refused, match="send it as a file"):
        body_of("image", FILE)


@pytest.mark.parametrize(
    ("kind", "body", "media_ids"),
    [
        ("image", {"url": media_url(ID)}, [ID]),
        ("image", {"url": media_url(ID), "thumb_url": thumb_url(ID)}, [ID]),
        ("image", {"url": media_url(ID), "thumb_url": media_url(OTHER)}, [ID, OTHER]),
        ("file", {"url": media_url(ID), "thumb_url": media_url(OTHER)}, [ID]),
        (
            "image",
            {"url": "https://media.example/a", "thumb_url": "https://media.example/b", "width": 1, "height": 1},
            [],
        ),
        ("text", {"text": media_url(ID)}, []),
    ],
)
def test_uploads_of_a_body_are_named_once(kind: str, body: dict[str, object], media_ids: list[str]) -> None:
    assert list(checked_post(kind, body, None, None, RULES).media_ids) == media_ids


@pytest.mark.parametrize("url", ["/v1/media/", "/v1/media/x", f"/v1/media/{ID}/x", f"/v1/media/{ID}?a"])
def test_malformed_url_of_an_upload_is_not_found(url: str) -> None:
    with pytest.raises(Refused, match="media_not_found"):
        checked_post("file", {"url": url}, None, None, RULES)


@pytest.mark.parametrize(("kind", "missing"), [("image", "thumb_url"), ("file", "name")])
def test_body_with_a_foreign_url_needs_all_fields(kind: str, missing: str) -> None:
    with pytest.raises(Refused, match=f"{missing} is missing"):
        checked_post(kind, {"url": "https://media.example/a"}, None, None, RULES)


@pytest.mark.parametrize("kind", ["image", "file"])
@pytest.mark.parametrize("url", ["https://other.example/a", "ftp://media.example/a", "a"])
def test_refused_url_is_named_before_missing_fields(kind: str, url: str) -> None:
    with pytest.raises(Refused, match="invalid_body: url is "):
        checked_post(kind, {"url": url}, None, None, RULES)


@pytest.mark.parametrize("fields", [{"url": thumb_url(ID)}, {"thumb_url": thumb_url(ID)}])
def test_thumbnail_that_cannot_be_one_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(Refused, match="invalid_body"):
        body_of("image" if "thumb_url" in fields else "file", FILE, **fields)
