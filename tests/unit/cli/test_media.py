"""`tidings media upload` and `download`, and what `send` takes."""

import re
from pathlib import Path

import httpx2
import pytest

from tests.unit.cli.gateway import AS_ALICE, Gateway
from tests.unit.cli.shell import Shell

URL = f"/v1/media/{'0' * 32}"


def test_upload_prints_the_url_alone(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hi")
    stored = {"url": URL, "size": 2, "content_type": "text/plain", "name": "a.txt"}
    gateway.answer = lambda request: httpx2.Response(201 if request.url.path == "/v1/media" else 404, json=stored)
    assert shell.run("media", "upload", *AS_ALICE, str(path)) == (0, f"{URL}\n", "")


def test_download_writes_the_file(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answer = lambda _: httpx2.Response(200, content=b"content")
    ended = shell.run("media", "download", *AS_ALICE, URL, str(tmp_path / "out"))
    assert ended == (0, "7 bytes\n", "")
    assert (tmp_path / "out").read_bytes() == b"content"


def test_download_of_another_server_is_refused(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    ended = shell.run("media", "download", *AS_ALICE, "https://other.example/x", str(tmp_path / "out"))
    assert ended.code == 1
    assert "not an upload of this server" in ended.err


@pytest.mark.parametrize("content", [(), ("hi", "--file"), ("--image", "--file")])
def test_send_takes_one_content(shell: Shell, tmp_path: Path, content: tuple[str, ...]) -> None:
    path = tmp_path / "a"
    path.write_text("hi")
    given = [part for one in content for part in ((one, str(path)) if one.startswith("--") else (one,))]
    ended = shell.run("send", "--from", "alice", "--to", "bob", *given)
    assert ended.code == 2
    assert "give one of them" in " ".join(ended.err.split())


def test_a_folder_is_prepared_once(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_MEDIA_STORE_URL", f"file:{tmp_path}/media")
    assert shell.run("media", "prepare") == (0, f"{tmp_path}/media: prepared\n", "")
    assert shell.run("media", "prepare") == (0, f"{tmp_path}/media: was prepared before\n", "")
    monkeypatch.setenv("TIDINGS_MEDIA_STORE_URL", "s3://bucket/prefix")
    assert shell.run("media", "prepare") == (0, "bucket: a bucket needs no preparation\n", "")


@pytest.mark.parametrize("verb", [("media", "upload", *AS_ALICE), ("send", *AS_ALICE, "--to", "bob", "--file")])
def test_an_empty_file_is_refused_before_its_upload(
    shell: Shell, gateway: Gateway, tmp_path: Path, verb: tuple[str, ...]
) -> None:
    path = tmp_path / "empty.txt"
    path.touch()
    ended = shell.run(*verb, str(path))
    assert ended.code == 2
    assert "is empty" in ended.err


@pytest.mark.parametrize(("path", "says"), [("", "is a folder"), ("nodir/y.bin", "folder .*nodir does not exist")])
def test_a_place_that_is_none_is_refused_before_a_download(
    shell: Shell, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, says: str
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    ended = shell.run("media", "download", *AS_ALICE, URL, str(tmp_path / path))
    assert ended.code == 2
    assert re.search(says, ended.err)


def test_download_takes_the_whole_url_of_its_server(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answer = lambda request: httpx2.Response(200 if request.url.path == URL else 404, content=b"content")
    there = ("--url", "ws://127.0.0.1:8090/v1/ws")
    ended = shell.run("media", "download", *AS_ALICE, *there, f"http://127.0.0.1:8090{URL}", str(tmp_path / "out"))
    assert ended == (0, "7 bytes\n", "")


def test_download_of_a_bare_id_says_how_to_write_it(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    ended = shell.run("media", "download", *AS_ALICE, "0" * 32, str(tmp_path / "out"))
    assert ended.code == 2
    assert f"write {URL}" in " ".join(ended.err.split())
