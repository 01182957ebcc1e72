"""Verbs of operators whose servers do not answer. Each says what it waits for, and ends."""

import pytest

from cli import archive, patience
from tests.unit.cli.shell import Shell
from tidings.runtime.initialise import Initialised

pytestmark = pytest.mark.timeout(30)
NOBODY = "1"  # no test's server has this port, and a connection is refused


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "WITHIN_S", 0.5)
    monkeypatch.setattr(patience, "SILENT_S", 0.1)
    monkeypatch.setenv("TIDINGS_CASSANDRA_PORT", NOBODY)
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP", f"127.0.0.1:{NOBODY}")


@pytest.mark.parametrize("arguments", [("run",), ("status",), ("verify",), ("restore", "--month", "202605")])
def test_archive_names_the_server_and_ends_with_1(shell: Shell, arguments: tuple[str, ...]) -> None:
    ended = shell.run("archive", *arguments)
    assert (ended.code, ended.out) == (1, "")
    waiting, error = ended.err.splitlines()
    assert waiting.startswith(f"waiting for Cassandra at 127.0.0.1, port {NOBODY} (TIDINGS_CASSANDRA_HOSTS, _PORT)")
    assert error.startswith("error: Cassandra at 127.0.0.1")
    assert "did not serve us within 0.5 s" in error


def test_init_names_cassandra_while_it_waits(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    async def log_is_there(*_: object) -> tuple[Initialised, int]:
        return Initialised((), {}), 0

    monkeypatch.setattr("cli.init._initialise_log", log_is_there)
    ended = shell.run("init", "--wait", "1")
    assert ended.code == 1
    assert f"waiting for Cassandra at 127.0.0.1, port {NOBODY}" in ended.out
