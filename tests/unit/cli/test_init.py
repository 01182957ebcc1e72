"""`tidings init` without its servers: it says what it waits for, and ends."""

import pytest

from cli import patience
from tests.unit.cli.shell import Shell
from tidings.runtime.initialise import Initialised

NOBODY = "1"  # no server of a test has this port, and a connection is refused


@pytest.mark.timeout(30)
def test_init_names_cassandra_while_it_waits(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "SILENT_S", 0.1)
    monkeypatch.setenv("TIDINGS_CASSANDRA_PORT", NOBODY)

    async def log_is_there(*_: object) -> tuple[Initialised, int]:
        return Initialised((), {}), 0

    monkeypatch.setattr("cli.init._initialise_log", log_is_there)
    ended = shell.run("init", "--wait", "1")
    assert ended.code == 1
    assert f"waiting for Cassandra at 127.0.0.1, port {NOBODY}" in ended.out
