"""The verbs as a shell calls them: exit codes, and one readable line where something is wrong."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest
import typer

from cli import main
from cli.app import app
from tidings import ids

KEY = "0123456789abcdef" * 4
URL_OF_NOBODY = "http://127.0.0.1:9"  # the discard port, where nobody listens


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tidings", *arguments])
    monkeypatch.delenv("TIDINGS_DEBUG", raising=False)
    monkeypatch.setattr("cli.app.configure", lambda *_, **__: None)  # logging belongs to the whole test run
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


def commands() -> dict[tuple[str, ...], Any]:
    """Every command of the program by its words, groups of commands among them."""
    found: dict[tuple[str, ...], Any] = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((), typer.main.get_command(app))]
    for words, command in waiting:
        found[words] = command
        for name, below in getattr(command, "commands", {}).items():
            waiting.append(((*words, name), below))
    return found


COMMANDS = commands()


def words_of(text: str) -> list[str]:
    return text.split()


@pytest.mark.field_case("26")
@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_text_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run(monkeypatch, *words, "--help") == 0
    shown = " ".join(words_of(capsys.readouterr().out))
    assert "Usage: tidings" in shown
    command = COMMANDS[words]
    texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    metavars = [parameter.metavar or "" for parameter in command.params]
    for text in texts:
        assert " ".join(words_of(inspect.cleandoc(text))) in shown
    for metavar in metavars:
        assert metavar in shown


@pytest.mark.field_case("26")
def test_the_help_of_receipts_names_its_ids(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "receipts", "--help") == 0
    assert "d:<a>:<b> or g:<id>." in capsys.readouterr().out


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "..."])
@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "{}"),
        ("send", "--from", "{}", "--to", "bob", "x"),
        ("send", "--from", "alice", "--to", "{}", "x"),
        ("send", "--from", "alice", "--session", "g:{}", "x"),
        ("send", "--from", "alice", "--session", "d:{}:alice", "x"),
        ("tail", "--as", "{}"),
        ("chat", "--as", "{}"),
        ("chat", "--as", "alice", "--with", "{}"),
        ("sessions", "--as", "{}"),
        ("receipts", "--as", "alice", "d:{}:alice", "1"),
        ("group", "create", "--as", "alice", "team", "{}"),
        ("group", "add", "--as", "alice", "g:1", "{}"),
        ("group", "remove", "--as", "alice", "g:1", "{}"),
        ("group", "remove", "--as", "alice", "g:{}", "bob"),
        ("group", "members", "--as", "alice", "{}"),
    ],
)
def test_an_id_of_dots_alone_is_a_misuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], dots: str
) -> None:
    assert run(monkeypatch, *(argument.format(dots) for argument in arguments)) == 2
    assert re.search(r"is not a valid (user id|session id|group id)", " ".join(capsys.readouterr().err.split()))
