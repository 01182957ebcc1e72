"""The local stack on the real servers: it survives what the fault tests do to it."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cassandra.cluster import Cluster

from deploy.local.ports import Ports, free_ports
from deploy.local.process import ROOT, Process, StartFailed
from deploy.local.stack import SERVERS, SERVERS_ONLY, Stack
from tests.servers import Stacks, remove_leftovers

LINGERER = [sys.executable, "-c", "import time; time.sleep(600)"]
POLITE = """
import signal, sys, time
def leave(number, frame):
    print("bye", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("listening", flush=True)
time.sleep(600)
"""
DEAF = POLITE.replace("sys.exit()", "time.sleep(600)")


@pytest.fixture(scope="module")
def fragile(stacks: Stacks) -> Iterator[Stack]:
    """Servers of this module alone, because its tests kill them."""
    with stacks.running("fragile", SERVERS_ONLY) as stack:
        yield stack


async def test_a_killed_kafka_comes_back_on_its_port_with_its_records(fragile: Stack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=fragile.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic("kept", 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=fragile.bootstrap, acks="all")
    await producer.start()
    await producer.send_and_wait("kept", b"before the kill", partition=0)
    await producer.stop()

    await asyncio.to_thread(_kill_and_bring_back, fragile, "kafka-0")

    consumer = AIOKafkaConsumer(bootstrap_servers=fragile.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition("kept", 0)])
    record = await asyncio.wait_for(consumer.getone(), 60)
    await consumer.stop()
    assert record.value == b"before the kill"


def test_a_stopped_cassandra_restarts_on_its_port_with_its_rows(fragile: Stack) -> None:
    simple = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    _cql(fragile, f"CREATE KEYSPACE kept WITH replication = {simple}")
    _cql(fragile, "CREATE TABLE kept.rows (id int PRIMARY KEY, what text)")
    _cql(fragile, "INSERT INTO kept.rows (id, what) VALUES (1, 'before the stop')")

    fragile.stop("cassandra-0")
    assert fragile.health("cassandra-0") == "not running"
    fragile.start("cassandra-0")
    fragile.wait_ready(["cassandra-0"])

    assert _cql(fragile, "SELECT what FROM kept.rows WHERE id = 1") == [("before the stop",)]


def test_a_killed_cassandra_comes_back(fragile: Stack) -> None:
    _kill_and_bring_back(fragile, "cassandra-0")
    assert _cql(fragile, "SELECT cluster_name FROM system.local") == [("tidings-local",)]


def test_cassandra_takes_the_batches_that_the_persister_writes(fragile: Stack) -> None:
    names = ("batch_size_fail_threshold", "batch_size_warn_threshold", "commitlog_segment_size")
    settings = [_cql(fragile, f"SELECT value FROM system_views.settings WHERE name = '{name}'") for name in names]
    assert settings == [[("1MiB",)], [("1MiB",)], [("16MiB",)]]


@pytest.mark.parametrize("name", SERVERS)
def test_a_paused_server_does_not_answer_and_a_resumed_one_does(fragile: Stack, name: str) -> None:
    fragile.pause(name)
    paused = fragile.health(name)
    fragile.resume(name)
    assert paused == "no answer"
    fragile.wait_ready([name])


def test_starting_again_leaves_alone_what_runs(fragile: Stack) -> None:
    before = [fragile.process(name).pid() for name in SERVERS]
    Stack(fragile.run_dir, fragile.ports, SERVERS_ONLY).up()
    assert [fragile.process(name).pid() for name in SERVERS] == before


@pytest.mark.parametrize("name", SERVERS)
def test_servers_listen_on_the_loopback_only(fragile: Stack, name: str) -> None:
    listeners = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in listeners if f"pid={fragile.process(name).pid()}," in line]
    assert len(ours) == 2
    assert all(address.startswith(("127.0.0.1:", "[::ffff:127.0.0.1]:")) for address in ours)


def test_reused_pid_of_another_process_is_not_ours(tmp_path: Path) -> None:
    process = Process(tmp_path, "persister-0")
    process.pid_file.write_text(f"{os.getpid()}\n")
    assert process.pid() is None
    process.kill()


def test_a_process_is_found_and_stopped_by_another(tmp_path: Path) -> None:
    starter = Process(tmp_path, "persister-0")
    _start(starter, POLITE)
    finder = Process(tmp_path, "persister-0")
    assert finder.pid() == starter.pid() is not None
    finder.pause()
    finder.stop()
    assert starter.pid() is None
    assert "bye" in starter.log_tail()
    assert not starter.pid_file.exists()


def test_a_process_ignoring_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    process = Process(tmp_path, "persister-0")
    _start(process, DEAF)
    process.stop(grace_s=0.2)
    assert process.pid() is None


def test_down_stops_what_runs_and_forgets_what_has_ended(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.process("persister-0").start(LINGERER, dict(os.environ))
    stack.process("fanout-0").start([sys.executable, "-c", ""], dict(os.environ))
    assert stack.process("fanout-0").await_end(60)
    stack.process("fanout-0").pid_file.write_text("1\n")

    stack.down()

    assert stack.running() == []
    assert list(tmp_path.glob("*.pid")) == []


def test_a_failed_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    stack = Stack(tmp_path, free_ports())
    stack.process("persister-0").start([sys.executable, "-c", "raise SystemExit('no such setting')"], dict(os.environ))
    with pytest.raises(StartFailed, match="no such setting"):
        stack.wait_ready(["persister-0"])


def test_leftovers_of_a_dead_run_are_stopped_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.DEFAULT_RUN_DIR", tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    directory = tmp_path / f"test-{dead.pid}" / "servers"
    directory.mkdir(parents=True)
    leftover = Process(directory, "kafka-0")
    leftover.start(LINGERER, dict(os.environ))

    remove_leftovers()

    assert leftover.pid() is None
    assert list(tmp_path.iterdir()) == []


def test_the_token_key_is_made_once_and_readable_by_us_alone(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack.make_token_key()
    key = stack.token_key_file.read_text()
    stack.make_token_key()
    assert stack.token_key_file.read_text() == key
    assert len(bytes.fromhex(key)) == 32
    assert stack.token_key_file.stat().st_mode & 0o777 == 0o600


def test_free_ports_differ_and_have_no_listener() -> None:
    ports = free_ports()
    numbers = [getattr(ports, name) for name in Ports.__dataclass_fields__]
    assert len(set(numbers)) == len(numbers)
    for number in numbers:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", number))


def test_status_says_that_nothing_was_started(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local", "status"],
        cwd=ROOT,
        env={**os.environ, "RUN_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing was started" in done.stdout


def _start(process: Process, script: str) -> None:
    process.start([sys.executable, "-c", script], dict(os.environ))
    while "listening" not in process.log_tail():
        assert process.pid() is not None


def _kill_and_bring_back(stack: Stack, name: str) -> None:
    before = stack.process(name).pid()
    stack.kill(name)
    assert stack.health(name) == "not running"
    stack.start(name)
    stack.wait_ready([name])
    assert stack.process(name).pid() != before


def _cql(stack: Stack, statement: str) -> list[tuple[object, ...]]:
    with Cluster(["127.0.0.1"], port=stack.ports.cassandra, protocol_version=4) as cluster:
        return [tuple(row) for row in cluster.connect().execute(statement, timeout=60)]
