"""The first minutes of a new user, on the embedded stack: send, tail, chat, a token for curl; and its clean end."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet
import pytest

from deploy.local.ports import free_ports
from deploy.local.probes import service_health
from tests.unit.gateway.media.pictures import picture, pixels

START_S = 60.0
PATIENCE_S = 60.0
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()][0-9A-B]|[=>78])")


@dataclass(frozen=True, slots=True)
class Embedded:
    """One that runs."""

    url: str
    key_file: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli", *arguments]

    def environment(self) -> dict[str, str]:
        there = {"TIDINGS_URL": self.url, "TIDINGS_TOKEN_DEV_KEY_FILE": str(self.key_file), "TERM": "xterm"}
        return {**os.environ, **there, "PYTHONUNBUFFERED": "1", "PROMPT_TOOLKIT_NO_CPR": "1"}

    def tidings(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    run_dir = tmp_path_factory.mktemp("embedded")
    ports = free_ports()
    settings = {
        "RUN_DIR": str(run_dir),
        "GATEWAY_PORT": str(ports.gateway),
        "GATEWAY_ADMIN_PORT": str(ports.gateway_admin),
        "PYTHONUNBUFFERED": "1",
    }
    log = (run_dir / "log").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.local.embedded"], env={**os.environ, **settings}, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + START_S
        while service_health(ports.gateway_admin) != "ready":
            assert process.poll() is None, (run_dir / "log").read_text()
            assert time.monotonic() < deadline, (run_dir / "log").read_text()
            time.sleep(0.1)
        yield Embedded(f"http://127.0.0.1:{ports.gateway}", run_dir / "dev-token.key")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        said = (run_dir / "log").read_text()
        assert "Nothing is kept" in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.wait()
        log.close()


def test_a_first_message_is_answered_by_the_echo(embedded: Embedded) -> None:
    done = embedded.tidings("send", "--from", "alice", "--to", "echo", "--until", "answer", "hello 你好")
    assert done.returncode == 0, done.stderr
    sent, answer = done.stdout.splitlines()
    assert re.fullmatch(r"✓ sent  d:alice:echo #\d+  message \d+", sent)
    assert answer == "echo: hello 你好"


def test_the_statuses_of_a_message_are_printed_in_order(embedded: Embedded) -> None:
    done = embedded.tidings("send", "--from", "bob", "--to", "echo", "--until", "read", "hello")
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["✓ sent", "✓✓ delivered", "✓✓ read"]


def test_send_says_when_delivered_is_not_reached(embedded: Embedded) -> None:
    done = embedded.tidings("send", "--from", "bob", "--to", "nobody", "--until", "delivered", "--timeout", "1", "hi")
    assert done.returncode == 1
    assert done.stderr == "error: the message is stored (sent), but there was no delivered within 1 s\n"


@pytest.mark.promise("G2")
def test_an_id_is_stored_once_and_refused_with_other_content(embedded: Embedded) -> None:
    first, again = (embedded.tidings("send", "--from", "bob", "--to", "dora", "--id", "one", "hi") for _ in range(2))
    assert first.stdout == again.stdout
    other = embedded.tidings("send", "--from", "bob", "--to", "dora", "--id", "one", "something else")
    assert other.returncode == 1
    assert re.fullmatch(r"error: conflict: [^\n]+\n", other.stderr)


def test_tail_prints_messages_once_and_resumes_at_its_cursor(embedded: Embedded, tmp_path: Path) -> None:
    cursor = str(tmp_path / "carol.cursor")
    for text in ("one", "two"):
        assert embedded.tidings("send", "--from", "alice", "--to", "carol", text).returncode == 0
    first = embedded.tidings("tail", "--as", "carol", "--cursor", cursor, "--all", "--count", "2")
    assert [line.split(" ", 1)[1] for line in first.stdout.splitlines()] == [
        "d:alice:carol #1 alice: one",
        "d:alice:carol #2 alice: two",
    ]
    assert embedded.tidings("send", "--from", "alice", "--to", "carol", "three").returncode == 0
    second = embedded.tidings("tail", "--as", "carol", "--cursor", cursor, "--count", "1")
    assert second.stdout.endswith("d:alice:carol #3 alice: three\n")


def test_history_and_export_have_every_message(embedded: Embedded, tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        assert embedded.tidings("send", "--from", "frank", "--to", "grace", text).returncode == 0
    session = ("--as", "grace", "--session", "d:frank:grace")
    newest = embedded.tidings("history", *session, "--limit", "2")
    assert [line.split(" ", 2)[2] for line in newest.stdout.splitlines()] == [
        "d:frank:grace #2 frank: two",
        "d:frank:grace #3 frank: three",
    ]
    assert len(embedded.tidings("history", *session, "--at", "2020-01-01").stdout.splitlines()) == 3
    assert embedded.tidings("history", *session, "--at", "2100-01-01").stdout == "no messages\n"
    for kind in ("jsonl", "parquet"):
        done = embedded.tidings("export", *session, "--format", kind, "--out", str(tmp_path / kind))
        assert (done.returncode, done.stdout) == (0, f"3 messages in {tmp_path / kind}\n"), done.stderr
    lines = [json.loads(line) for line in (tmp_path / "jsonl").read_text().splitlines()]
    assert [line["body"]["text"] for line in lines] == ["one", "two", "three"]
    assert pyarrow.parquet.read_table(tmp_path / "parquet")["seq"].to_pylist() == [1, 2, 3]
    other = embedded.tidings("history", "--as", "mallory", "--session", "d:frank:grace")
    assert (other.returncode, other.stdout) == (1, "")
    assert "session_not_found" in other.stderr


def test_sent_image_and_file_are_fetched_by_the_recipient(embedded: Embedded, tmp_path: Path) -> None:
    image, file = tmp_path / "dot.png", tmp_path / "notes.txt"
    image.write_bytes(picture(image=pixels(64, 48)))
    file.write_text("你好")
    for option, path in (("--image", image), ("--file", file)):
        done = embedded.tidings("send", "--from", "alice", "--to", "henry", option, str(path))
        assert (done.returncode, done.stdout.split("  ")[0]) == (0, "✓ sent"), done.stderr
    exported = str(tmp_path / "jsonl")
    session = ("--as", "henry", "--session", "d:alice:henry")
    assert embedded.tidings("export", *session, "--format", "jsonl", "--out", exported).returncode == 0
    first, second = (json.loads(line) for line in Path(exported).read_text().splitlines())
    assert (first["kind"], first["body"]["width"], first["body"]["height"]) == ("image", 64, 48)
    assert (second["kind"], second["body"]["name"], second["body"]["size"]) == ("file", "notes.txt", 6)
    out = str(tmp_path / "out")
    url = second["body"]["url"]
    assert embedded.tidings("media", "download", "--as", "henry", url, out).stdout == "6 bytes\n"
    assert Path(out).read_text() == "你好"
    assert embedded.tidings("media", "download", "--as", "mallory", url, out).returncode == 1
    other = embedded.tidings("send", "--from", "alice", "--to", "henry", "--image", str(file))
    assert other.returncode == 1
    assert other.stderr == f"error: {file} is not an image (PNG, JPEG, GIF or WebP): send it with --file\n"


def test_a_token_signed_here_is_accepted_there(embedded: Embedded) -> None:
    token = embedded.tidings("token", "alice").stdout.strip()
    request = urllib.request.Request(f"{embedded.url}/v1/sessions", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.status == 200
    other = embedded.tidings("send", "--from", "bob", "--to", "echo", "--token", token, "hi")
    assert other.returncode == 1
    assert other.stderr == "error: the token speaks for alice, not for bob: change --as or --token\n"


def test_a_refused_token_is_one_line(embedded: Embedded) -> None:
    done = embedded.tidings("send", "--from", "bob", "--to", "echo", "--token", "nonsense", "hi")
    assert done.returncode == 1
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr)


def test_chat_shows_both_sides_with_ticks_and_marks_as_read(embedded: Embedded) -> None:
    with Terminal(embedded, "chat", "--as", "erin", "--with", "echo") as terminal:
        terminal.wait_for("erin and echo")
        terminal.type("hello\r")
        terminal.wait_for(r"echo\s*hello")
        terminal.type("\x03")
        assert terminal.end() == 0
    with Terminal(embedded, "chat", "--as", "erin", "--with", "echo") as terminal:
        terminal.wait_for(r"erin\s*hello\s*✓✓.?read")
        terminal.wait_for(r"echo\s*hello")
        terminal.type("\x03")
        assert terminal.end() == 0


class Terminal:
    """A verb in a terminal of its own: what it draws, without the escapes, as one text."""

    def __init__(self, embedded: Embedded, *arguments: str) -> None:
        self._text = ""
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            embedded.command(*arguments), env=embedded.environment(), stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, pattern: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self._drawn()):
            assert time.monotonic() < deadline, self._drawn()
            assert self._process.poll() is None, self._drawn()
            self._read()

    def end(self) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, self._drawn()
            self._read()
        return self._process.returncode

    def _drawn(self) -> str:
        return _ESCAPES.sub("", self._text)

    def _read(self) -> None:
        ready, _, _ = select.select([self._master], [], [], 0.1)
        if ready:
            try:
                self._text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                time.sleep(0.1)
