"""Gateways and workers as processes on real servers: Kafka away, no files left, settings that can never do."""

import asyncio
import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.local.ports import free_ports
from deploy.local.process import ROOT
from deploy.local.stack import SERVERS_ONLY, Stack
from tests.integration.test_start_and_stop import begin
from tests.servers import Stacks
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.runtime.initialise import initialise
from tidings.runtime.settings import KafkaSettings
from tidings.runtime.start import started
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.migrate import migrate

FILES = 256
SOCKETS = 400
AWAY_S = 40.0
LINES_A_SECOND = 5


@pytest.fixture(scope="module")
def own(stacks: Stacks) -> Stack:
    """Servers that this module may stop, with topics and tables."""
    stack = stacks.make("away", SERVERS_ONLY)
    stack.up()
    asyncio.run(_prepare(stack))
    return stack


async def _prepare(stack: Stack) -> None:
    await migrate(CassandraConfig(port=stack.ports.cassandra))
    settings = KafkaSettings(bootstrap=stack.bootstrap)
    admin = KafkaBroker(KafkaConfig.of(settings)).admin()
    async with started(admin):
        await initialise(admin, settings.sizes(), 1)


def answer(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError as error:
        return 0, str(error)
    finally:
        connection.close()


def wait_for(port: int, path: str, status: int, text: str = "", within_s: float = 90.0) -> str:
    deadline = time.monotonic() + within_s
    while True:
        seen = answer(port, path)
        if seen[0] == status and text in seen[1]:
            return seen[1]
        assert time.monotonic() < deadline, seen
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIDINGS_CASSANDRA_LOCAL_DC", "dc9"),
        ("TIDINGS_CASSANDRA_KEYSPACE", "nowhere"),
        ("TIDINGS_KAFKA_SESSION_PARTITIONS", "9"),
    ],
)
@pytest.mark.field_case("43")
def test_a_start_that_can_never_succeed_names_the_variable(
    own: Stack, variable: str, value: str, tmp_path: Path
) -> None:
    process = begin("services.persister", tmp_path, own.ports.kafka, own.ports.cassandra, **{variable: value})
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 2, output
    assert (variable if "PARTITIONS" not in variable else "TIDINGS_KAFKA_*_PARTITIONS").encode() in output
    assert b"Traceback" not in output


@pytest.mark.field_case("43")
def test_init_names_a_replication_that_cassandra_refuses(own: Stack, tmp_path: Path) -> None:
    more = {
        "TIDINGS_CASSANDRA_KEYSPACE": "refused",
        "TIDINGS_CASSANDRA_REPLICATION": "{'class': 'NetworkTopologyStrategy', 'dc9': 3}",
    }
    process = begin("cli init", tmp_path, own.ports.kafka, own.ports.cassandra, **more)
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 2, output
    assert b"TIDINGS_CASSANDRA_REPLICATION" in output


@pytest.mark.field_case("29", "38", "42")
def test_a_full_gateway_keeps_its_admin_port_and_rejoins_kafka(own: Stack, tmp_path: Path) -> None:
    ports = free_ports()
    log_file = tmp_path / "gateway.log"
    environment = {
        "TIDINGS_DEVELOPMENT": "true",
        "TIDINGS_TOKEN_DEV_KEY_FILE": str(tmp_path / "dev.key"),
        "TIDINGS_HTTP_PORT": str(ports.gateway),
        "TIDINGS_ADMIN_PORT": str(ports.gateway_admin),
        "TIDINGS_KAFKA_BOOTSTRAP": own.bootstrap,
        "TIDINGS_CASSANDRA_PORT": str(own.ports.cassandra),
        "PATH": "/usr/bin:/bin",
    }
    command = ["bash", "-c", f"ulimit -n {FILES}; exec {sys.executable} -m services.gateway"]
    held: list[socket.socket] = []
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(ports.gateway_admin, "/readyz", 200)
        metrics = answer(ports.gateway_admin, "/metrics")[1]
        assert 'tidings_closes_total{code="4408"} 0.0' in metrics
        assert "tidings_inbox_rows_total" not in metrics
        held = [socket.create_connection(("127.0.0.1", ports.gateway)) for _ in range(SOCKETS)]
        time.sleep(2)
        assert answer(ports.gateway, "/v1/sessions")[0] == 503
        assert answer(ports.gateway_admin, "/healthz")[0] == 200
        assert answer(ports.gateway_admin, "/metrics")[0] == 200
        assert "TIDINGS_MAX_CONNECTIONS" in log_file.read_text()
        own.stop("kafka-0")
        before = len(log_file.read_text().splitlines())
        wait_for(ports.gateway_admin, "/readyz", 503, "kafka: no answer for ", AWAY_S)
        assert answer(ports.gateway_admin, "/readyz/self")[0] == 200
        time.sleep(10)
        assert len(log_file.read_text().splitlines()) - before < LINES_A_SECOND * AWAY_S
        own.start("kafka-0")
        own.wait_ready(["kafka-0"])
        wait_for(ports.gateway_admin, "/readyz", 200)
        assert answer(ports.gateway_admin, "/healthz")[0] == 200
        for each in held:
            each.close()
        wait_for(ports.gateway, "/openapi.json", 200)
    finally:
        for each in held:
            each.close()
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()
            sys.stdout.write(log_file.read_text()[-6000:])
