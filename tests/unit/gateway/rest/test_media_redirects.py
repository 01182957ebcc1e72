"""Redirected downloads: the URL of the object store, the right to it, and what the gateway serves itself."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from deploy.local.embedded import WORKERS
from services.gateway.settings import MediaSettings
from tests.deployments import Deployment, running, settings
from tests.faults.media import FaultyMediaStore
from tests.unit.gateway.media.pictures import picture, pixels
from tidings.clock import SystemClock

IMAGE = picture(image=pixels(640, 480))


@contextlib.asynccontextmanager
async def redirecting(tmp_path: Path, *, signs: bool = True) -> AsyncIterator[tuple[Deployment, FaultyMediaStore]]:
    """A gateway that redirects for 60 s, and the store behind it."""
    chosen = settings(tmp_path).model_copy(update={"media": MediaSettings(redirect_s=60)})
    objects = FaultyMediaStore(SystemClock(), signs=signs)
    async with running(chosen, objects=objects, workers=list(WORKERS)) as there:
        yield there, objects


async def sent_image(there: Deployment) -> dict[str, Any]:
    """An image that alice has sent to bob."""
    image: dict[str, Any] = (await there.bytes("alice", "POST", "/v1/media", IMAGE)).json()
    message = {"client_msg_id": "m", "kind": "image", "body": {"url": image["url"]}, "to": "bob"}
    assert (await there.call("alice", "POST", "/v1/messages", message))[0] == 201
    return image


def is_redirect(answer: httpx2.Response, url: str) -> bool:
    assert (answer.status_code, answer.content) == (307, b"")
    assert answer.headers["cache-control"] == "no-store"
    return answer.headers["location"] == url


async def test_download_is_redirected_to_its_very_object(tmp_path: Path) -> None:
    async with redirecting(tmp_path) as (there, objects):
        image = await sent_image(there)
        other = (await there.bytes("alice", "POST", "/v1/media", b"other")).json()
        rows = there.store._media
        row, file = (rows[one["url"].rpartition("/")[2]] for one in (image, other))
        for user_id in ("alice", "bob"):
            assert is_redirect(await there.bytes(user_id, "GET", image["url"]), f"memory:{row.object_key}?expires_s=60")
            assert is_redirect(
                await there.bytes(user_id, "GET", image["thumb_url"]), f"memory:{row.thumb_key}?expires_s=60"
            )
        assert is_redirect(await there.bytes("alice", "GET", other["url"]), f"memory:{file.object_key}?expires_s=60")
        assert objects.calls["open"] == 0


@pytest.mark.promise("G10")
async def test_url_is_signed_only_for_users_with_the_right(tmp_path: Path) -> None:
    async with redirecting(tmp_path) as (there, objects):
        image = await sent_image(there)
        for url in (image["url"], image["thumb_url"], f"/v1/media/{'0' * 32}", f"/v1/media/{'0' * 32}/thumb"):
            refused = await there.bytes("carol", "GET", url)
            assert (refused.status_code, refused.json()["code"]) == (404, "media_not_found")
        client = await there.client("carol")
        assert (await client.get(image["url"], headers={"Authorization": ""})).status_code == 401
        file = (await there.bytes("alice", "POST", "/v1/media", b"file")).json()
        assert (await there.bytes("alice", "GET", f"{file['url']}/thumb")).status_code == 404
        assert objects.calls["sign"] == 0


async def test_head_and_known_copies_are_not_redirected(tmp_path: Path) -> None:
    async with redirecting(tmp_path) as (there, objects):
        image = await sent_image(there)
        head = await (await there.client("bob")).head(image["url"])
        assert (head.status_code, head.headers["content-length"]) == (200, str(image["size"]))
        assert head.headers["cache-control"] == "private, no-cache"
        same = await there.bytes("bob", "GET", image["url"], If_None_Match=head.headers["etag"])
        assert (same.status_code, same.headers["cache-control"]) == (304, "private, no-cache")
        assert objects.calls["sign"] == 0


async def test_download_is_served_where_the_store_cannot_sign(tmp_path: Path) -> None:
    async with redirecting(tmp_path, signs=False) as (there, objects):
        image = await sent_image(there)
        row = there.store._media[image["url"].rpartition("/")[2]]
        with capture_logs() as logs:
            served = await there.bytes("bob", "GET", image["url"])
        assert "downloads are not redirected" in [line["event"] for line in logs]
        assert (served.status_code, served.content) == (200, objects.objects[row.object_key])
        assert served.headers["cache-control"] == "private, no-cache"
        part = await there.bytes("bob", "GET", image["thumb_url"], Range="bytes=0-3")
        assert (part.status_code, part.content) == (206, objects.objects[row.thumb_key][:4])
