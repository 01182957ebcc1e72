"""The verbs as a shell calls them: exit codes, and one readable line where something is wrong."""

import re
import sys
from pathlib import Path

import jwt
import pytest

from tidings import ids
from tidings.cli import main

KEY = "0123456789abcdef" * 4
URL_OF_NOBODY = "http://127.0.0.1:9"  # the discard port, where nobody listens


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tidings", *arguments])
    monkeypatch.delenv("TIDINGS_DEBUG", raising=False)
    monkeypatch.setattr("tidings.cli.app.configure", lambda *_, **__: None)  # logging belongs to the whole test run
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_a_token_is_what_protocol_says_and_checks_with_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY + "\n")
    assert run(monkeypatch, "token", "alice", "--ttl", "60", "--key-file", str(key_file)) == 0
    claims = jwt.decode(capsys.readouterr().out.strip(), KEY, algorithms=["HS256"], audience="tidings")
    assert claims["sub"] == "alice"
    assert claims["exp"] - claims["iat"] == 60


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("token", "alice", "--key-file", "/nowhere/key"), 2, "no development key in /nowhere/key .*make up"),
        (("send", "--from", "alice", "--to", "bob", "hi", "--url", URL_OF_NOBODY), 1, "no answer from .*make run"),
        (("tail", "--as", "alice", "--url", URL_OF_NOBODY), 1, "no answer from .*--url"),
        (("chat", "--as", "alice"), 2, "needs a terminal; scripts use `tidings send`"),
    ],
)
def test_what_goes_wrong_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    assert run(monkeypatch, *arguments) == code
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert re.match(f"error: .*{says}", said[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "not a user"),
        ("token", "alice", "--ttl", "86400000"),
        ("send", "--from", "alice", "--to", "b:ob", "hi"),
        ("tail", "--as", "alice", "--url", "localhost:8080"),
        *(("init", "--wait", bad) for bad in ("nan", "inf", "-1", "0", "1e9")),
        ("send", "--from", "alice", "--to", "bob", "hi", "--timeout", "nan"),
        ("where", "-1"),
        ("dlq", "show", "three"),
        ("nonsense",),
    ],
)
def test_a_misuse_ends_with_2(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert run(monkeypatch, *arguments) == 2


def test_a_setting_that_does_not_fit_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDINGS_KAFKA_EPOCH", "64")
    assert run(monkeypatch, "init") == 2
    assert "TIDINGS_KAFKA_EPOCH" in capsys.readouterr().err


def test_where_splits_a_message_id(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "where", str(ids.message_id(3, 5, 77))) == 0
    assert capsys.readouterr().out.startswith("epoch 3\nmessages.inbound partition 5 offset 77\n")


VERBS = ("init", "token", "send", "tail", "chat", "sessions", "receipts", "group", "dlq", "where")


@pytest.mark.parametrize("verb", [(), *((verb,) for verb in VERBS)])
def test_every_verb_explains_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *verb, "--help") == 0
    assert "Usage: tidings" in capsys.readouterr().out


@pytest.mark.field_case("1")
@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "--from", "..", "--to", "bob", "hi"),
        ("send", "--from", "alice", "--to", "...", "hi"),
        ("send", "--from", "alice", "--session", "d:..:alice", "hi"),
        ("token", "."),
        ("group", "remove", "g:x", "..", "--as", "alice"),
        ("sessions", "--as", ".."),
        ("chat", "--as", "alice", "--with", "."),
    ],
)
def test_id_of_dots_only_is_no_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert re.search("is no (user|session) id", capsys.readouterr().err)
