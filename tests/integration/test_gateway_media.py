"""Uploads of a real gateway, byte by byte: slow ones, cut ones, and those with odd framing. Nothing is left behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.gateway.settings import MediaSettings
from tests.deployments import Deployment, running, settings
from tests.integration.test_gateway_http import wired
from tests.unit.gateway.media.pictures import picture, pixels
from tests.waiting import becomes
from tidings.store.media_rows import MediaUsageRow

MIB = 1024 * 1024
FILE_BYTES = 5 * MIB
IMAGE = picture(image=pixels(640, 480))


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("BODY_S", 0.6), ("LINGER_S", 0.2)):
        monkeypatch.setattr(f"services.gateway.http.h11_protocol.{name}", value)


@contextlib.asynccontextmanager
async def uploading(tmp_path: Path) -> AsyncIterator[tuple[Deployment, str]]:
    """A gateway, and the head of an upload without its end."""
    chosen = settings(tmp_path).model_copy(
        update={"media": MediaSettings(image_bytes=MIB, file_bytes=FILE_BYTES, upload_dir=str(tmp_path / "uploads"))}
    )
    async with running(chosen) as there:
        token = await there.token("alice")
        yield there, f"POST /v1/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"


async def nothing_is_left(there: Deployment, tmp_path: Path) -> None:
    """No row, no object and no file, once the gateway has seen the end. Its own folder stays until it ends."""

    async def left() -> tuple[int, int, int, int]:
        rows = len(there.store._media), len(there.store.rows(MediaUsageRow.table))
        return *rows, len(there.objects.objects), len(list((tmp_path / "uploads").glob("*/*")))

    await becomes(left, (0, 0, 0, 0), within_s=10)


@pytest.mark.bad_input("B1")
@pytest.mark.usefixtures("_hurried")
@pytest.mark.parametrize("framing", ["Content-Length: 4000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100000\r\n"])
@pytest.mark.parametrize("begun", [b"", b"x" * 600, IMAGE[:-9]], ids=["nothing", "file", "image"])
async def test_upload_that_stops_is_408(tmp_path: Path, framing: str, begun: bytes) -> None:
    async with uploading(tmp_path) as (there, head):
        drip = [b"x"] * 14
        answer = await wired(there.port, head + framing, begun, *drip, until_closed=True)
        assert (answer.status, answer.problem["code"], answer.is_closed) == (408, "timeout", True)
        await nothing_is_left(there, tmp_path)


@pytest.mark.usefixtures("_hurried")
async def test_each_mib_of_an_upload_has_its_own_time(tmp_path: Path) -> None:
    async with uploading(tmp_path) as (there, head):
        parts = [b"x" * MIB] * 4
        slow = [piece for part in parts for piece in (part, b"", b"", b"", b"")]
        answer = await wired(there.port, f"{head}Content-Length: {4 * MIB}\r\n\r\n", *slow)
        assert (answer.status, answer.problem["size"]) == (201, 4 * MIB)


@pytest.mark.bad_input("B1")
@pytest.mark.parametrize("framing", ["Content-Length: 4000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n100000\r\n"])
@pytest.mark.parametrize("begun", [b"", b"x" * 700_000, IMAGE[:-9]], ids=["nothing", "file", "image"])
async def test_upload_that_is_cut_leaves_nothing(tmp_path: Path, framing: str, begun: bytes) -> None:
    async with uploading(tmp_path) as (there, head):
        for _ in range(5):  # one more than a user may have at a time
            _, writer = await asyncio.open_connection("127.0.0.1", there.port)
            writer.write((head + framing).encode() + begun)
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
        await asyncio.sleep(0.1)
        answer = await wired(there.port, f"{head}Content-Length: 0\r\n\r\n")
        assert (answer.status, answer.problem["code"]) == (400, "invalid_body")
        await nothing_is_left(there, tmp_path)


def chunked(size: int) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)


@pytest.mark.bad_input("B1")
@pytest.mark.parametrize(
    ("framing", "body", "status", "code"),
    [
        (f"Expect: 100-continue\r\nContent-Length: {FILE_BYTES + 1}\r\n\r\n", b"", 413, "too_large"),
        ("Transfer-Encoding: chunked\r\n\r\n", chunked(FILE_BYTES + 1), 413, "too_large"),
        ("Transfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n", 400, "invalid_body"),
        ("Transfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\nzz\r\n", 400, "invalid_frame"),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n", chunked(4), 501, "invalid_frame"),
        ("Transfer-Encoding: identity\r\n\r\n", b"abcd", 501, "invalid_frame"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", chunked(4), 400, "invalid_frame"),
        ("\r\n", b"", 400, "invalid_body"),
    ],
    ids=["declared", "chunked", "empty", "broken chunk", "gzip", "identity", "ambiguous", "no body"],
)
async def test_odd_framing_gets_its_code(tmp_path: Path, framing: str, body: bytes, status: int, code: str) -> None:
    async with uploading(tmp_path) as (there, head):
        answer = await wired(there.port, head + framing, body)
        assert (answer.status, answer.problem["code"]) == (status, code)
        await nothing_is_left(there, tmp_path)
