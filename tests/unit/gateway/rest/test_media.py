"""Uploads and downloads through a real gateway, persister and fanout over memory."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.deployments import Deployment, deployed
from tests.unit.gateway.media.pictures import picture, pixels
from tidings import metrics
from tidings.metric_series import UPLOAD_REFUSALS
from tidings.store.media_rows import MediaRefRow


async def sent(there: Deployment, sender: str, kind: str, body: dict[str, Any], key: str = "m", **to: str) -> Any:
    """Status and answer of a message."""
    message = {"client_msg_id": key, "kind": kind, "body": body, **(to or {"to": "bob"})}
    return await there.call(sender, "POST", "/v1/messages", message)


async def test_image_of_its_sender_is_described_and_fetched(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        name = "%E4%BD%A0%F0%9F%98%80%22.png"
        image = (
            await there.bytes("alice", "POST", "/v1/media", picture(image=pixels(640, 480)), X_File_Name=name)
        ).json()
        assert (image["name"], image["width"], image["height"]) == ('你😀".png', 640, 480)
        assert (await there.bytes("bob", "GET", image["url"])).status_code == 404
        status, _ = await sent(there, "alice", "image", {"url": image["url"], "width": 64})
        assert status == 201
        _, page = await there.call("bob", "GET", "/v1/sessions/d:alice:bob/messages")
        facts = {key: image[key] for key in ("url", "thumb_url", "height", "size", "content_type")}
        assert page["messages"][0]["body"] == {**facts, "width": 64}
        fetched = await there.bytes("bob", "GET", image["url"])
        assert len(fetched.content) == image["size"]
        expected = {
            "content-type": "image/png",
            "x-content-type-options": "nosniff",
            "content-security-policy": "default-src 'none'; sandbox",
            "accept-ranges": "bytes",
        }
        assert expected.items() <= dict(fetched.headers).items()
        disposition = fetched.headers["content-disposition"]
        assert disposition.startswith("attachment; ")
        assert "filename*=UTF-8''%E4%BD%A0%F0%9F%98%80%22.png" in disposition
        thumb = await there.bytes("bob", "GET", image["thumb_url"])
        assert (thumb.headers["content-type"], thumb.content[8:12]) == ("image/webp", b"WEBP")
        assert (await there.bytes("carol", "GET", image["thumb_url"])).status_code == 404


@pytest.mark.parametrize("kind", ["image", "file"])
async def test_message_is_refused_for_an_upload_of_another_user(tmp_path: Path, kind: str) -> None:
    async with deployed(tmp_path) as there:
        image = (await there.bytes("alice", "POST", "/v1/media", picture(image=pixels(640, 480)))).json()
        for body in ({"url": image["url"]}, {"url": f"/v1/media/{'0' * 32}"}, {"url": "/v1/media/../x"}):
            status, problem = await sent(there, "bob", kind, body, to="alice")
            assert (status, problem["code"]) == (404, "media_not_found")
        assert not there.messages
        assert not there.store.rows(MediaRefRow.table)


async def test_file_is_no_image_and_has_no_thumbnail(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        file = (await there.bytes("alice", "POST", "/v1/media", b"text")).json()
        assert file.keys() == {"url", "size", "content_type", "name"}
        assert (await sent(there, "alice", "image", {"url": file["url"]}))[1]["code"] == "invalid_body"
        assert (await there.bytes("alice", "GET", f"{file['url']}/thumb")).status_code == 404
        assert (await sent(there, "alice", "file", {"url": file["url"]}))[0] == 201


async def test_repeat_is_acked_although_its_upload_is_removed(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        url = (await there.bytes("alice", "POST", "/v1/media", b"text")).json()["url"]
        group = await there.group("alice", "bob")
        for to in ({"to": "bob"}, {"session_id": group}):
            status, first = await sent(there, "alice", "file", {"url": url}, "kept", **to)
            assert status == 201
            await there.store.mark_media(url.rpartition("/")[2], 5, 0)
            status, again = await sent(there, "alice", "file", {"url": url}, "kept", **to)
            assert (status, again["seq"], again["duplicate"]) == (201, first["seq"], True)
            assert (await sent(there, "alice", "file", {"url": url}, "new", **to))[1]["code"] == "media_not_found"
            row = there.store._media[url.rpartition("/")[2]]
            there.store._media[row.media_id] = replace(row, removing_at=0)


async def test_ranges_heads_and_etags_of_a_download(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        content = bytes(range(256)) * 3_000
        url = (await there.bytes("alice", "POST", "/v1/media", content)).json()["url"]
        client = await there.client("alice")
        whole = await client.get(url)
        assert whole.content == content
        part = await client.get(url, headers={"Range": "bytes=-10"})
        assert (part.status_code, part.content) == (206, content[-10:])
        assert part.headers["content-range"] == f"bytes {len(content) - 10}-{len(content) - 1}/{len(content)}"
        beyond = await client.get(url, headers={"Range": f"bytes={len(content)}-"})
        assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
        several = await client.get(url, headers={"Range": "bytes=0-1,5-6"})
        assert (several.status_code, len(several.content)) == (200, len(content))
        head = await client.head(url)
        assert (head.headers["content-length"], head.content) == (str(len(content)), b"")
        etag = whole.headers["etag"]
        for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            same = await client.get(url, headers={"If-None-Match": held})
            assert (same.status_code, same.content) == (304, b"")
        same = await client.get(url, headers=[("If-None-Match", '"other"'), ("If-None-Match", etag)])
        assert same.status_code == 304
        assert there.objects.calls["open"] == 3


async def test_away_object_store_is_unavailable(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        url = (await there.bytes("alice", "POST", "/v1/media", b"text")).json()["url"]
        there.objects.stall()
        for answer in (
            await there.bytes("alice", "POST", "/v1/media", b"more"),
            await there.bytes("alice", "GET", url),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        there.objects.heal()
        assert (await there.bytes("alice", "GET", url)).content == b"text"


async def test_object_that_is_gone_is_not_found(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        url = (await there.bytes("alice", "POST", "/v1/media", b"text")).json()["url"]
        there.objects.objects.clear()
        assert (await there.bytes("alice", "GET", url)).json()["code"] == "media_not_found"


def _form(content: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    return head + content + b"\r\n--b--\r\n"


@pytest.mark.bad_input("B1")
@pytest.mark.parametrize(
    ("headers", "content", "status", "says"),
    [
        ({"Content_Encoding": "gzip"}, gzip.compress(b"text", mtime=0), 415, "gzip"),
        ({"Content_Encoding": "aws-chunked"}, b"4\r\ntext\r\n0\r\n\r\n", 415, "aws-chunked"),
        ({"Content_Encoding": "identity, BR"}, picture(), 415, "br"),
        ({"Content_Type": "multipart/form-data; boundary=b"}, _form(picture()), 415, "X-File-Name"),
        ({"Content_Type": "Multipart/Form-Data"}, b"x", 415, "X-File-Name"),
        ({"Content_Range": "bytes 0-3/8"}, b"text", 400, "the whole file"),
        ({"Content_Range": "bytes */*"}, b"text", 400, "the whole file"),
    ],
)
async def test_upload_that_is_not_a_whole_file_is_refused(
    tmp_path: Path, headers: dict[str, str], content: bytes, status: int, says: str
) -> None:
    async with deployed(tmp_path) as there:
        refused = await there.bytes("alice", "POST", "/v1/media", content, **headers)
        assert (refused.status_code, refused.json()["code"]) == (status, "invalid_frame")
        assert says in refused.json()["detail"]
        assert ("accept-encoding" in refused.headers) == ("Content_Encoding" in headers)
        assert not there.objects.objects


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content_Encoding": "identity"}, b"text"),
        # A file that is compressed is stored as it is.
        ({"Content_Type": "application/gzip"}, gzip.compress(b"text", mtime=0)),
        # What `curl --data-binary` sends unless it is given another type.
        ({"Content_Type": "application/x-www-form-urlencoded"}, b"a=b"),
        # A charset is a matter of the file, and no error here.
        ({"Content_Type": "text/plain; charset=gbk"}, "你好".encode("gbk")),
    ],
)
async def test_upload_of_a_whole_file_is_stored_as_it_is(
    tmp_path: Path, headers: dict[str, str], content: bytes
) -> None:
    async with deployed(tmp_path) as there:
        uploaded = await there.bytes("alice", "POST", "/v1/media", content, **headers)
        assert uploaded.status_code == 201
        assert (await there.bytes("alice", "GET", uploaded.json()["url"])).content == content


async def test_upload_needs_a_token_and_a_sound_head(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        client = await there.client("alice")
        refused = await client.post("/v1/media", content=b"x", headers={"Authorization": ""})
        assert refused.json()["code"] == "unauthorized"
        for headers, code in (
            ({"Idempotency_Key": "x" * 65}, "invalid_frame"),
            ({"X_File_Name": "a/b"}, "invalid_body"),
            ({"X_File_Name": "a%0Ab"}, "invalid_body"),
            ({"Content_Type": "image/svg+xml"}, "invalid_body"),
        ):
            answer = await there.bytes("alice", "POST", "/v1/media", b"<svg/>", **headers)
            assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert not there.objects.objects


async def test_upload_with_two_names_is_refused(tmp_path: Path) -> None:
    async with deployed(tmp_path) as there:
        client = await there.client("alice")
        names = [("X-File-Name", "a.txt"), ("X-File-Name", "b.txt")]
        answer = await client.post("/v1/media", content=b"text", headers=names)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_frame")
        assert "X-File-Name" in answer.json()["detail"]
        assert not there.objects.objects


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_type_is_served_as_it_is_stored(tmp_path: Path, method: str) -> None:
    """The charset of a text is not stored, so none is stated."""
    async with deployed(tmp_path) as there:
        content, declared = "你好".encode("utf-16"), "text/plain; charset=utf-16"
        uploaded = (await there.bytes("alice", "POST", "/v1/media", content, Content_Type=declared)).json()
        served = await (await there.client("alice")).request(method, uploaded["url"])
        assert served.headers["content-type"] == uploaded["content_type"] == "text/plain"


async def test_uploads_are_counted_by_their_outcome(tmp_path: Path) -> None:
    async def outcome(content: bytes, **headers: str) -> str:
        before = outcomes()
        await there.bytes("alice", "POST", "/v1/media", content, **headers)
        (changed,) = (name for name, count in outcomes().items() if count > before[name])
        return changed

    async with deployed(tmp_path) as there:
        assert await outcome(b"x", Idempotency_Key="k") == "stored"
        assert await outcome(b"y", Idempotency_Key="k") == "conflict"
        assert await outcome(b"") == "invalid_body"
        assert await outcome(b"x", Content_Range="bytes 0-0/1") == "invalid_frame"
        assert await outcome(b"x", Content_Encoding="gzip") == "invalid_frame"
        there.objects.stall()
        assert await outcome(b"x") == "unavailable"


def outcomes() -> dict[str, float]:
    names = ("stored", *UPLOAD_REFUSALS)
    return {name: metrics.UPLOADS.labels(name)._value.get() for name in names}
