"""The lines of `make run`, `make up` and `make status`, and the file with the settings of the operators' verbs."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.local.__main__ import counts_asked, run, status, up
from deploy.local.ports import block
from deploy.local.stack import READY_TIMEOUT_S, Counts, Stack
from deploy.local.welcome import print_settings
from tidings.runtime.settings import CassandraSettings, KafkaSettings, MediaStoreSettings


class Sketch(Stack):
    """A stack whose processes are ready at once and exist nowhere."""

    def check_ports(self) -> None:
        return

    def start(self, name: str) -> None:
        return

    def initialise(self) -> None:
        return

    def wait_ready(self, names: Iterable[str] | None = None, timeout_s: float = READY_TIMEOUT_S) -> None:
        return


def test_start_says_what_it_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Sketch(tmp_path, block(23_100), say=print).up()
    assert capsys.readouterr().out.splitlines() == [
        "waiting for kafka-0 (port 23100)",
        "waiting for cassandra-0 (port 23102)",
        "creating topics and tables",
        "waiting for gateway-0 (port 23110)",
        "waiting for persister-0 (port 23130)",
        "waiting for fanout-0 (port 23140)",
        "waiting for receipts-0 (port 23150)",
    ]


def test_start_of_a_test_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Sketch(tmp_path, block(23_100)).up()
    assert capsys.readouterr().out == ""


def test_sourced_settings_are_those_of_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Sketch(tmp_path / "a run", block(23_100))
    stack.up()
    script = f". '{stack.settings_file}' && env -0"
    sourced = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env={}).stdout
    for name, value in (line.split("=", 1) for line in sourced.split("\0") if line.startswith("TIDINGS_")):
        monkeypatch.setenv(name, value)
    assert KafkaSettings().bootstrap == "127.0.0.1:23100"
    assert CassandraSettings().port == 23_102
    assert MediaStoreSettings().store_url == f"file:{tmp_path}/a run/media"
    assert "TIDINGS_URL=http://127.0.0.1:23110" in sourced.split("\0")


def test_settings_are_printed_as_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_settings(tmp_path / "a run" / "env")
    assert f"source '{tmp_path}/a run/env'" in capsys.readouterr().out


def test_status_prints_where_the_settings_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Sketch(tmp_path, block(23_100)).up()
    assert status(tmp_path) == 1
    assert f"source {tmp_path}/env" in capsys.readouterr().out


def test_a_stop_ends_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(stack: Stack) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploy.local.__main__.Stack", Sketch)
    monkeypatch.setattr("deploy.local.__main__._watch", interrupted)
    assert run(tmp_path) == 0
    assert capsys.readouterr().out.endswith(f"\nstopping\nstopped; the data stays in {tmp_path}\n")


def test_prometheus_runs_only_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert counts_asked({}) == Counts(1, 1, 1, 1, 1, 0)
    counts = counts_asked({"MONITORING": "1", "GATEWAYS": "2", "PERSISTERS": ""})
    assert counts == Counts(2, 1, 1, 1, 1, 1)
    Sketch(tmp_path, block(23_100), counts, say=print).up()
    assert "waiting for prometheus-0 (port 23160)" in capsys.readouterr().out


def test_prometheus_scrapes_the_services_by_their_names(tmp_path: Path) -> None:
    counts = Counts(gateways=2, echoes=1, monitoring=1)
    assert Sketch(tmp_path, block(23_100), counts).scraped() == {
        "gateway-0": 23_120,
        "gateway-1": 23_121,
        "persister-0": 23_130,
        "fanout-0": 23_140,
        "receipts-0": 23_150,
    }


def test_start_prints_the_url_of_prometheus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("deploy.local.__main__.Stack", Sketch)
    monkeypatch.setenv("PORT_BASE", "23100")
    assert up(tmp_path / "without") == 0
    assert "prometheus" not in capsys.readouterr().out
    monkeypatch.setenv("MONITORING", "1")
    assert up(tmp_path / "with") == 0
    assert "http://127.0.0.1:23160" in capsys.readouterr().out
