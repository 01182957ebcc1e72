"""Processes whose servers are away, and settings that can never do: signals and exit codes as an operator sees them.

No server is started here: an address either refuses every connection or takes it and never answers.
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.process import ROOT
from tidings.runtime.listeners import bound, listen

SERVICES = ("services.gateway", "services.persister", "services.fanout", "services.receipts", "services.auditor")
ENDS_WITHIN_S = 8.0
IMPORTS_S = 60.0  # one second on a machine that is idle
WAITS = b"waiting for a server"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    listener = bound("127.0.0.1", 0, "")
    listen(listener, "")
    yield listener.getsockname()[1]
    listener.close()


@pytest.fixture
def refusing() -> Iterator[int]:
    """A port without a listener, held so that no other process gets it."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    yield held.getsockname()[1]
    held.close()


def begin(module: str, tmp_path: Path, kafka: int, cassandra: int, **more: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "TIDINGS_DEVELOPMENT": "true",
        "TIDINGS_TOKEN_DEV_KEY_FILE": str(tmp_path / "dev.key"),
        "TIDINGS_HTTP_PORT": "0",
        "TIDINGS_KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka}",
        "TIDINGS_CASSANDRA_PORT": str(cassandra),
        **more,
    }
    command = [sys.executable, "-m", *module.split()]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def output_until(process: subprocess.Popen[bytes], text: bytes, within_s: float = IMPORTS_S) -> bytes:
    assert process.stdout is not None
    seen, deadline = b"", time.monotonic() + within_s
    while text not in seen:
        left_s = deadline - time.monotonic()
        assert select.select([process.stdout], [], [], max(0.0, left_s))[0], seen
        chunk = os.read(process.stdout.fileno(), 65_536)
        assert chunk, seen
        seen += chunk
    return seen


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> tuple[int, float]:
    """Its exit code and the seconds it took."""
    began = time.monotonic()
    process.send_signal(number)
    try:
        process.communicate(timeout=ENDS_WITHIN_S)
    finally:
        process.kill()
    return process.returncode, time.monotonic() - began


@pytest.mark.field_case("43b")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("address", ["refusing", "silent"])
@pytest.mark.parametrize("module", SERVICES)
def test_a_signal_ends_a_service_that_waits_for_its_servers(
    module: str, address: str, number: signal.Signals, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(address)
    process = begin(module, tmp_path, port, port)
    if address == "refusing":
        output_until(process, WAITS)
    else:
        time.sleep(4.0)  # it says nothing while the first try is under way
    code, _ = end(process, number)
    assert code == 0


@pytest.mark.field_case("43b")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("address", ["refusing", "silent"])
def test_a_signal_ends_init_that_waits_for_its_servers(
    address: str, number: signal.Signals, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    port = request.getfixturevalue(address)
    process = begin("cli init", tmp_path, port, port)
    if address == "refusing":
        output_until(process, b"waiting for Kafka")
    else:
        time.sleep(4.0)
    assert end(process, number)[0] == 128 + number


@pytest.mark.parametrize("after_s", [0.3, 1.5])
@pytest.mark.parametrize("module", ["services.gateway"])
def test_a_signal_while_modules_are_loaded_ends_a_service(
    module: str, after_s: float, refusing: int, tmp_path: Path
) -> None:
    process = begin(module, tmp_path, refusing, refusing)
    time.sleep(after_s)
    code, took_s = end(process, signal.SIGTERM)
    assert code in (0, -signal.SIGTERM)  # before Python has run a line of ours
    assert took_s < ENDS_WITHIN_S


@pytest.mark.field_case("43")
@pytest.mark.parametrize("module", [*SERVICES, "cli init"])
def test_settings_that_do_not_fit_end_a_start_with_2(module: str, refusing: int, tmp_path: Path) -> None:
    process = begin(module, tmp_path, refusing, refusing, TIDINGS_CASSANDRA_PORT="tcp://10.0.0.1:9042")
    output, _ = process.communicate(timeout=IMPORTS_S)
    assert process.returncode == 2
    assert b"TIDINGS_CASSANDRA_PORT=" in output
    assert b"enableServiceLinks" in output
    assert b"Traceback" not in output


@pytest.mark.parametrize("module", ["services.receipts"])
def test_an_admin_port_in_use_ends_a_start_with_2(module: str, refusing: int, silent: int, tmp_path: Path) -> None:
    process = begin(module, tmp_path, refusing, refusing, TIDINGS_ADMIN_PORT=str(silent))
    output, _ = process.communicate(timeout=IMPORTS_S)
    assert process.returncode == 2
    assert b"TIDINGS_ADMIN_PORT" in output
    assert b"Traceback" not in output


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIDINGS_HTTP_PORT", "in use"),
        ("TIDINGS_ORDINAL", "16"),
        ("TIDINGS_TOKEN_KEYS_FILE", "no-such-file.pem"),
        ("TIDINGS_TOKEN_SECRET", "short"),
        ("TIDINGS_TOKEN_DEV_KEY_FILE", "/proc/no-such-directory/key"),
    ],
)
def test_a_gateway_that_can_never_serve_ends_with_2(
    variable: str, value: str, refusing: int, silent: int, tmp_path: Path
) -> None:
    chosen = {variable: str(silent) if value == "in use" else value}
    process = begin("services.gateway", tmp_path, silent, refusing, **chosen)
    output, _ = process.communicate(timeout=IMPORTS_S)
    assert process.returncode == 2
    assert variable.encode() in output
    assert b"Traceback" not in output
