"""Uploads and downloads through a gateway's REST calls on S3, as moto serves it: redirected, and served."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from services.gateway.settings import MediaSettings
from tests.contract.media.conftest import s3_config
from tests.contract.media.moto_running import MotoServer, moto_server
from tests.deployments import Deployment, running, settings
from tests.unit.gateway.media.pictures import picture, pixels
from tidings.media.obstore_store import ObstoreMediaStore

CONTENT = b"%PDF-" + bytes(range(256)) * 40_000  # two parts of an upload, and three blocks of a download
NAME = "%E5%9B%BE%F0%9F%98%80%22.pdf"
IMAGE = picture(image=pixels(640, 480))


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    with moto_server() as server:
        yield server


@contextlib.asynccontextmanager
async def on_s3(tmp_path: Path, moto: MotoServer, redirect_s: int) -> AsyncIterator[Deployment]:
    """A gateway over the bucket of moto."""
    media = MediaSettings(redirect_s=redirect_s, upload_dir=str(tmp_path / "uploads"))
    objects = ObstoreMediaStore(s3_config(moto))
    async with running(settings(tmp_path).model_copy(update={"media": media}), objects=objects) as there:
        yield there
    await objects.close()


async def test_upload_is_downloaded_through_the_gateway(tmp_path: Path, moto: MotoServer) -> None:
    async with on_s3(tmp_path, moto, 0) as there:
        stored = await there.bytes("alice", "POST", "/v1/media", CONTENT, X_File_Name=NAME)
        file = stored.json()
        assert (stored.status_code, file["size"], file["name"]) == (201, len(CONTENT), '图😀".pdf')
        whole = await there.bytes("alice", "GET", file["url"])
        assert whole.content == CONTENT
        assert NAME in whole.headers["content-disposition"]
        part = await there.bytes("alice", "GET", file["url"], Range="bytes=-5000000")
        assert (part.status_code, part.content) == (206, CONTENT[-5_000_000:])
        image = (await there.bytes("alice", "POST", "/v1/media", IMAGE)).json()
        thumb = await there.bytes("alice", "GET", image["thumb_url"])
        assert (thumb.headers["content-type"], thumb.content[8:12]) == ("image/webp", b"WEBP")


async def test_redirect_ends_at_the_object_with_its_name(tmp_path: Path, moto: MotoServer) -> None:
    async with on_s3(tmp_path, moto, 60) as there:
        file = (await there.bytes("alice", "POST", "/v1/media", CONTENT, X_File_Name=NAME)).json()
        image = (await there.bytes("alice", "POST", "/v1/media", IMAGE, X_File_Name="a.png")).json()
        for url, content_type, name in (
            (file["url"], "application/pdf", NAME),
            (image["url"], "image/png", 'filename="a.png"'),
            (image["thumb_url"], "image/webp", 'filename="a.png.webp"'),
        ):
            answer = await there.bytes("alice", "GET", url)
            assert (answer.status_code, answer.headers["cache-control"]) == (307, "no-store")
            target = answer.headers["location"]
            query = parse_qs(urlsplit(target).query)
            row = there.store._media[url.split("/")[3]]
            key = row.thumb_key if url.endswith("/thumb") else row.object_key
            assert urlsplit(target).path == f"/{moto.bucket}/below/a-prefix/{key}"
            assert query["X-Amz-Expires"] == ["60"]
            # As a browser follows it: without the token of the gateway.
            async with httpx2.AsyncClient(verify=False) as anyone:
                fetched = await anyone.get(target)
            assert (fetched.status_code, fetched.headers["content-type"]) == (200, content_type)
            assert len(fetched.content) == (row.thumb_size if url.endswith("/thumb") else row.size)
            assert fetched.headers["cache-control"] == "private, no-store"
            disposition = fetched.headers["content-disposition"]
            assert disposition.startswith("attachment; ")
            assert name in disposition
        assert (await (await there.client("alice")).head(file["url"])).headers["content-length"] == str(len(CONTENT))
