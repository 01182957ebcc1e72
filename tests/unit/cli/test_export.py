"""`tidings export`."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest

from cli import parquet_file
from tests.unit.cli.gateway import AS_ALICE, Gateway
from tests.unit.cli.histories import BEGIN_MS, HOUR_MS, SESSION, Served, message
from tests.unit.cli.shell import Shell

SEVEN = [
    *(message(seq) for seq in range(1, 6)),
    message(6, reply_to=2, mentions=["carol", "dora"]),
    message(7, kind="custom", body={"type": "poll", "data": [1.5, 2**63, "你好 \u2028"]}),
]


def exported(shell: Shell, path: Path, kind: str) -> None:
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--format", kind, "--out", str(path))
    assert ended == (0, f"7 messages in {path}\n", "")
    assert list(path.parent.iterdir()) == [path]


def test_jsonl_has_a_message_per_line_as_the_server_shows_it(shell: Shell, gateway: Gateway, tmp_path: Path) -> None:
    gateway.answer = Served(SEVEN)
    exported(shell, tmp_path / "x.jsonl", "jsonl")
    lines = (tmp_path / "x.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert list(map(json.loads, lines)) == SEVEN


@pytest.mark.parametrize("group_rows", [1, 2, 5_000])
def test_parquet_has_a_row_per_message(
    shell: Shell, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group_rows: int
) -> None:
    monkeypatch.setattr(parquet_file, "GROUP_ROWS", group_rows)
    gateway.answer = Served(SEVEN)
    exported(shell, tmp_path / "x.parquet", "parquet")
    file = pyarrow.parquet.ParquetFile(tmp_path / "x.parquet")
    rows = file.read().to_pylist()
    assert file.num_row_groups == -(-7 // group_rows)
    assert [row["seq"] for row in rows] == list(range(1, 8))
    assert rows[5] == {
        "seq": 6,
        "message_id": 2**62 + 6,
        "sender_id": "bob",
        "client_msg_id": "m-6",
        "kind": "text",
        "body": '{"text":"n6"}',
        "at": datetime.fromtimestamp((BEGIN_MS + 6 * HOUR_MS) / 1000, UTC),
        "reply_to": 2,
        "mentions": ["carol", "dora"],
    }
    assert (rows[6]["reply_to"], rows[6]["mentions"]) == (None, None)
    assert json.loads(rows[6]["body"]) == SEVEN[6]["body"]


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


def test_parquet_without_its_package_is_one_clear_line(
    shell: Shell, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    gateway.answer = Served(SEVEN)
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--format", "parquet", "--out", str(tmp_path / "x"))
    assert (ended.code, list(tmp_path.iterdir())) == (2, [])
    assert ended.err == "error: the format parquet needs the package pyarrow: pip install pyarrow\n"


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
