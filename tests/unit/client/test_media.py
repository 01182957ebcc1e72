"""Uploads and downloads of the SDK: once under an id, whole or not at all, and only from this server."""

from pathlib import Path

import httpx2
import pytest

from tests.unit.client.gateways import Gateway
from tidings_client import ApiError, Unreachable, Upload, backoff
from tidings_client.media import MediaCalls

URL = f"/v1/media/{'0' * 32}"
STORED = {"url": URL, "size": 300_000, "content_type": "image/png", "name": "a.png", "thumb_url": f"{URL}/thumb"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BASE_MS", 0)


def file_of(tmp_path: Path, content: bytes = b"x" * 300_000) -> Path:
    path = tmp_path / "你好.png"
    path.write_bytes(content)
    return path


def calls_of(gateway: Gateway) -> MediaCalls:
    return MediaCalls(gateway.rest, lambda: f"made-{len(gateway.asked)}")


async def test_upload_repeats_the_whole_body_under_one_id(tmp_path: Path) -> None:
    gateway = Gateway(503, httpx2.ConnectError("away"), STORED)
    seen: list[tuple[int, int]] = []
    uploaded = await calls_of(gateway).upload(file_of(tmp_path), progress=lambda done, size: seen.append((done, size)))
    assert uploaded == Upload(**STORED)  # type: ignore[arg-type]
    assert (uploaded.kind, uploaded.body()) == ("image", {"url": URL})
    assert gateway.keys == ["made-0"] * 3
    assert {request.headers["X-File-Name"] for request in gateway.asked} == {"%E4%BD%A0%E5%A5%BD.png"}
    assert seen[-1] == (300_000, 300_000)


async def test_refused_upload_is_not_repeated(tmp_path: Path) -> None:
    gateway = Gateway(403, STORED)
    with pytest.raises(ApiError):
        await calls_of(gateway).upload(file_of(tmp_path))
    assert len(gateway.asked) == 1


async def test_download_writes_a_whole_file(tmp_path: Path) -> None:
    gateway = Gateway(lambda _: httpx2.Response(200, content=b"whole"))
    path, seen = tmp_path / "out", []
    size = await calls_of(gateway).download(URL, path, lambda done, total: seen.append((done, total)))
    assert (size, path.read_bytes(), seen) == (5, b"whole", [(5, 5)])
    assert gateway.asked[0].headers["Authorization"] == "Bearer token"


@pytest.mark.parametrize("answer", [403, httpx2.ReadError("cut")])
async def test_failed_download_leaves_no_file(tmp_path: Path, answer: int | Exception) -> None:
    with pytest.raises((ApiError, Unreachable)):
        await calls_of(Gateway(answer)).download(URL, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.part").exists()


@pytest.mark.parametrize(
    "url", ["https://other.example/v1/media/x", "/v1/tokens", f"{URL}/../x", "//other.example", ""]
)
async def test_token_goes_to_no_other_url(tmp_path: Path, url: str) -> None:
    gateway = Gateway(STORED)
    with pytest.raises(ValueError, match="not an upload"):
        await calls_of(gateway).download(url, tmp_path / "out")
    assert not gateway.asked


async def test_redirect_is_followed_without_the_token(tmp_path: Path) -> None:
    there = {"Location": "http://objects.example/o?sig=1"}
    gateway = Gateway(lambda _: httpx2.Response(307, headers=there), lambda _: httpx2.Response(200, content=b"o"))
    await calls_of(gateway).download(URL, tmp_path / "out")
    assert str(gateway.asked[1].url) == there["Location"]
    assert "Authorization" not in gateway.asked[1].headers
