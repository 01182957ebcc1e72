"""docs/COMMANDS.md is held against the program."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from pyarrow import parquet

from cli.app import OPERATORS, VERBS, app
from cli.parquet_file import parquet_file

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "COMMANDS.md").read_text()
LINES = re.findall(r"^tidings .+$", TEXT, re.MULTILINE)


def command_of(line: str) -> tuple[Any, list[str]]:
    """The command of an example, and its other words."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command, words


@pytest.mark.parametrize("line", LINES)
def test_an_example_uses_what_the_command_has(line: str) -> None:
    command, words = command_of(line)
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} - options == set()


def test_every_command_of_users_has_an_example() -> None:
    shown = {command_of(line)[0].name for line in LINES}
    users = set(VERBS) - OPERATORS - {"group", "where"}
    group = typer.main.get_command(app).commands["group"].commands  # type: ignore[attr-defined]
    assert (users | group.keys() | {"upload", "download"}) - shown == set()


def test_columns_of_parquet_are_those_of_the_file(tmp_path: Path) -> None:
    with parquet_file(tmp_path / "a.parquet"):
        pass
    schema = parquet.read_schema(tmp_path / "a.parquet")
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", TEXT.partition("## Parquet")[2], re.MULTILINE)
    assert rows == [(field.name, str(field.type).replace("element: ", "")) for field in schema]
