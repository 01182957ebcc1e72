"""The verbs as a shell calls them: exit codes, help texts, and one readable line where something is wrong."""

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
import typer

from cli.app import app
from tests.unit.cli.shell import Shell

URL_WITHOUT_LISTENER = "http://127.0.0.1:9"  # the discard port, without a listener


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("token", "alice", "--key-file", "/nowhere/key"), 2, "no development key in /nowhere/key .*make up"),
        (
            ("send", "--from", "alice", "--to", "bob", "hi", "--url", URL_WITHOUT_LISTENER),
            1,
            "no answer from .*make run",
        ),
        (("tail", "--as", "alice", "--url", URL_WITHOUT_LISTENER), 1, "no answer from .*--url"),
        (("chat", "--as", "alice"), 2, "needs a terminal; scripts use `tidings send`"),
    ],
)
def test_an_error_is_one_line_that_says_what_to_do(
    shell: Shell, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended = shell.run(*arguments)
    assert ended.code == code
    (line,) = ended.err.splitlines()
    assert re.match(f"error: .*{says}", line)


def test_a_setting_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    monkeypatch.setenv("TIDINGS_KAFKA_EPOCH", "64")
    ended = shell.run("init")
    assert ended.code == 2
    assert "TIDINGS_KAFKA_EPOCH" in ended.err


@pytest.mark.parametrize("verb", ["sessions", "send", "history", "group"])
def test_a_verb_of_users_imports_none_of_the_server(verb: str) -> None:
    heavy = {"aiokafka", "cassandra", "pyarrow", "services", "structlog"}
    code = f"import sys; from cli import main; sys.argv[1:] = [{verb!r}, '--help']\n"
    code += f"try: main()\nexcept SystemExit: sys.exit(str(sorted({heavy!r} & sys.modules.keys())))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "Usage: tidings" in ended.stdout
    assert ended.stderr == "[]\n"


def test_a_misspelt_verb_gets_a_proposal(shell: Shell) -> None:
    ended = shell.run("sessionz")
    assert ended.code == 2
    assert "Did you mean 'sessions'?" in ended.err


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


@pytest.mark.field_case("26")
@pytest.mark.parametrize("words", COMMANDS)
def test_every_help_text_is_whole(monkeypatch: pytest.MonkeyPatch, shell: Shell, words: tuple[str, ...]) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    ended = shell.run(*words, "--help")
    assert ended.code == 0
    shown = " ".join(ended.out.split())
    assert "Usage: tidings" in shown
    command = COMMANDS[words]
    texts = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    metavars = [parameter.metavar or "" for parameter in command.params]
    for text in texts:
        assert " ".join(inspect.cleandoc(text).split()) in shown
    for metavar in metavars:
        assert metavar in shown


@pytest.mark.field_case("26")
def test_the_help_of_receipts_names_its_ids(shell: Shell) -> None:
    ended = shell.run("receipts", "--help")
    assert ended.code == 0
    assert "d:<a>:<b> or g:<id>." in ended.out
