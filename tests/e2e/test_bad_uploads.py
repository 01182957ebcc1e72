"""Hostile uploads on the real stack: each gets its code, memory stays flat, and nothing is left behind."""

import asyncio
import os
from urllib.parse import urlsplit

import pytest

from benchmarks.processes import usage
from deploy.local.stack import Stack
from tests.e2e.raw import rest_of, token_of
from tests.e2e.uploads import CHANCE, media_id_of, message, photo, upload
from tests.unit.gateway.media.pictures import gif_frames, picture, pixels, png, png_bomb, png_chunk
from tests.waiting import becomes

MIB = 1024 * 1024
IMAGE_BYTES, FILE_BYTES = 20 * MIB, 100 * MIB
MOST_GROWTH_BYTES = 8 * MIB
SCRIPT = b"*/=1;alert(document.domain)//"
BAD = {
    "nothing": (b"", "", 400, "invalid_body"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "image/svg+xml", 400, "invalid_body"),
    "html called png": (b"<!doctype html><script>alert(1)</script>", "image/png", 400, "invalid_body"),
    "jpeg cut off": (picture("JPEG", pixels(400, 400))[:-40], "image/jpeg", 400, "invalid_body"),
    "png cut off": (picture("PNG", pixels(400, 400))[:-4], "image/png", 400, "invalid_body"),
    "png of 80 megapixels": (png_bomb(10_000, 8_000), "image/png", 400, "invalid_body"),
    "png without its pixels": (png(5000, 5000, png_chunk(b"IDAT", b"x\x9c\x03\0\0\0\0\1")), "", 400, "invalid_body"),
    "gif of 10,000 frames": (gif_frames(10_000), "image/gif", 400, "invalid_body"),
    "image of a byte too many": (picture().ljust(IMAGE_BYTES + 1, b"\0"), "", 413, "too_large"),
    "file of a byte too many": (b"\0" * (FILE_BYTES + 1), "", 413, "too_large"),
}
# As they are sent.
NAMES = ("../../etc/passwd", "..", "a%2Fb", "a%5Cb", "C:%5Ca", "a%00b", "a%0D%0AX-Evil:%20y", "%E2%80%AEgpj.exe", "%FF")


def objects_of(stack: Stack) -> set[str]:
    """The files of the object store, with those of uploads under way."""
    return {str(path) for path in stack.media_dir.rglob("*") if path.is_file()}


def resident_bytes(stack: Stack) -> int:
    """Of the first gateway."""
    pid = stack.process("gateway-0").pid()
    assert pid is not None
    return usage(pid).resident_bytes


@pytest.mark.bad_input("B1")
async def test_hostile_upload_gets_its_code_and_leaves_nothing(stack: Stack) -> None:
    async with rest_of(stack, f"hostile-{CHANCE.random()}") as http:
        await upload(http, photo())
        before, resident = objects_of(stack), resident_bytes(stack)
        for what, (content, declared, status, code) in BAD.items():
            answer = await http.post("/v1/media", content=content, headers={"Content-Type": declared})
            assert (answer.status_code, answer.json()["code"]) == (status, code), (what, answer.text)
        for name in NAMES:
            answer = await http.post("/v1/media", content=b"x", headers={"X-File-Name": name})
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body"), (name, answer.text)
        assert objects_of(stack) == before
        assert resident_bytes(stack) - resident <= MOST_GROWTH_BYTES


@pytest.mark.bad_input("B1")
async def test_polyglot_is_stored_as_its_image_alone(stack: Stack) -> None:
    async with rest_of(stack, "polyglot") as http:
        for kind in ("GIF", "PNG", "JPEG"):
            uploaded = await upload(http, picture(kind) + SCRIPT + b"PK\x03\x04", **{"Content-Type": "text/html"})
            fetched = await http.get(uploaded["url"])
            assert fetched.headers["content-type"] == uploaded["content_type"] == f"image/{kind.lower()}"
            assert SCRIPT not in fetched.content
        for content in (b"<script>alert(1)</script>", b"%PDF-1.7 <script>"):
            uploaded = await upload(http, content, **{"Content-Type": "text/html"})
            assert uploaded["content_type"] in ("application/octet-stream", "application/pdf")


@pytest.mark.bad_input("B1")
async def test_upload_cut_in_the_middle_leaves_no_object(stack: Stack) -> None:
    address, token = urlsplit(stack.url()), await token_of(stack, "cutter")
    head = f"POST /v1/media HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {30 * MIB}\r\n\r\n"
    before = objects_of(stack)
    for begun in (os.urandom(12 * MIB), picture()[:-9]):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(head.encode() + begun)
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.transport.abort()

    async def left() -> set[str]:
        return objects_of(stack) - before

    await becomes(left, set[str](), within_s=20)


@pytest.mark.bad_input("B1")
async def test_odd_ranges_and_ids_get_their_codes(stack: Stack) -> None:
    async with rest_of(stack, "ranger") as http:
        content = CHANCE.randbytes(5_000)
        url = (await upload(http, content))["url"]
        for asked, status in (
            ("bytes=5000-", 416),
            ("bytes=-0", 416),
            (f"bytes={'9' * 5_000}-", 416),
            ("bytes=4999-5001", 206),
            ("bytes=-6000", 206),
            ("bytes=0-1,3-4", 200),
            ("bytes=" + ",".join(["0-"] * 500), 200),
            ("bytes=9-1", 200),
            ("lines=1-2", 200),
            ("bytes=a-b", 200),
        ):
            answer = await http.get(url, headers={"Range": asked})
            assert answer.status_code == status, (asked[:40], answer.status_code)
        for name in ("x", "0" * 31, "0" * 33, "Z" * 32, "..%2f..", "%00", media_id_of({"url": url}).upper()):
            answer = await http.get(f"/v1/media/{name}")
            assert (answer.status_code in (400, 404), "size" in answer.text) == (True, False), name


@pytest.mark.bad_input("B1")
async def test_upload_of_another_user_cannot_be_sent(stack: Stack) -> None:
    async with rest_of(stack, "media-owner") as owner, rest_of(stack, "media-thief", 1) as thief:
        uploaded = await upload(owner, photo())
        for kind in ("image", "file"):
            answer = await thief.post("/v1/messages", json=message({"to": "media-fence"}, uploaded, kind))
            assert (answer.status_code, answer.json()["code"]) == (404, "media_not_found")
        outside = await owner.post("/v1/messages", json=message({"session_id": "d:a:b"}, uploaded, "image"))
        assert (outside.status_code, outside.json()["code"]) == (404, "session_not_found")
        assert (await thief.get(uploaded["url"])).status_code == 404
