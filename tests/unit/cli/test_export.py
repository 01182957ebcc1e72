"""`tidings export`."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.unit.cli.gateway import AS_ALICE, Gateway
from tests.unit.cli.histories import SESSION, SEVEN, Served, exported
from tests.unit.cli.shell import Shell


def test_jsonl_has_a_message_per_line_as_the_server_shows_it(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answer = Served(SEVEN)
    exported(shell, tmp_path / "x.jsonl", "jsonl")
    lines = (tmp_path / "x.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert list(map(json.loads, lines)) == SEVEN


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_failed_export_leaves_the_old_file(shell: Shell, gateway: Gateway, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    gateway.answer = Served(SEVEN, fails_at=3)
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--format", kind, "--out", str(path))
    assert (ended.code, ended.out) == (1, "")
    assert "session_not_found" in ended.err
    assert (list(tmp_path.iterdir()), path.read_text()) == ([path], "old")


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_empty_session_makes_an_empty_file(shell: Shell, gateway: Gateway, tmp_path: Path, kind: str) -> None:
    gateway.answer = Served([])
    path = tmp_path / "x"
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--format", kind, "--out", str(path))
    assert (ended.code, ended.out) == (0, f"0 messages in {path}\n")
    if kind == "parquet":
        assert pyarrow.parquet.ParquetFile(path).metadata.num_rows == 0
    else:
        assert path.read_bytes() == b""


def test_bar_on_a_terminal_counts_messages_up_to_the_head(
    shell: Shell, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    gateway.answer = Served(SEVEN[2:])
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--out", str(tmp_path / "x"))
    assert ended.out == f"5 messages in {tmp_path / 'x'}\n"
    assert "5/5" in ended.err


def test_a_missing_folder_is_one_line(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answer = Served(SEVEN)
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--out", str(tmp_path / "no" / "x"))
    assert ended.code == 1
    assert ended.err.startswith("error: ")
