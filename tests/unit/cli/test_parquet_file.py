"""Messages in a Parquet file."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet
import pytest

from cli import parquet_file
from tests.unit.cli.gateway import AS_ALICE, Gateway
from tests.unit.cli.histories import BEGIN_MS, HOUR_MS, SESSION, SEVEN, Served, exported
from tests.unit.cli.shell import Shell


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


def test_parquet_without_its_package_is_one_clear_line(
    shell: Shell, gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    gateway.answer = Served(SEVEN)
    ended = shell.run("export", *AS_ALICE, "--session", SESSION, "--format", "parquet", "--out", str(tmp_path / "x"))
    assert (ended.code, list(tmp_path.iterdir())) == (2, [])
    assert ended.err == "error: the format parquet needs the package pyarrow: pip install pyarrow\n"
