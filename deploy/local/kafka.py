"""A real Kafka broker (KRaft, broker and controller in one process) for one machine."""

import base64
import os
import subprocess
import uuid
from pathlib import Path

from deploy.local.downloads import jars
from deploy.local.probes import HOST
from deploy.local.process import Process, StartFailed

LOG_CONFIG = Path(__file__).parent / "conf" / "kafka-log4j2.xml"
FORMAT_TIMEOUT_S = 60
# A killed broker can register again when its old session has ended: after 3 s instead of 9.
SESSION_TIMEOUT_MS, HEARTBEAT_MS = 3000, 500
OFFSETS_RETENTION_MINUTES = 30 * 24 * 60  # as in production: a group that rests for days keeps its marks


def start_kafka(process: Process, jars_cache: Path, port: int, controller_port: int, heap_mb: int = 512) -> None:
    """Start the broker with its data in `<run dir>/<name>/`. Existing data is kept.

    Returns when the process runs, which is before it is ready (`probes.kafka_answers`).
    """
    directory = process.log_file.parent / process.name
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "server.properties"
    config.write_text(_server_properties(directory / "data", port, controller_port))
    env = {**os.environ, "CLASSPATH": f"{jars('kafka', jars_cache)}/*"}
    if not (directory / "data" / "meta.properties").exists():
        _format(config, env)
    java = ["java", f"-Xmx{heap_mb}m", f"-Xms{heap_mb // 2}m", "-XX:+UseSerialGC"]
    java.append("-XX:+ExitOnOutOfMemoryError")
    java.append(f"-Djava.io.tmpdir={directory}")  # unpacked libraries remain there after a kill
    process.start([*java, f"-Dlog4j2.configurationFile={LOG_CONFIG}", "kafka.Kafka", str(config)], env)


def _format(config: Path, env: dict[str, str]) -> None:
    storage_tool = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format"]
    arguments = ["--standalone", "--ignore-formatted", "-t", _cluster_id(), "-c", str(config)]
    done = subprocess.run(
        [*storage_tool, *arguments], env=env, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise StartFailed(f"Kafka's data directory could not be formatted:\n{done.stdout}{done.stderr}")


def _cluster_id() -> str:
    """An id as `StorageTool random-uuid` prints it (16 bytes in URL-safe base64), without starting a JVM."""
    return "T" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def _server_properties(data: Path, port: int, controller_port: int) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "log.dirs": data,
        "broker.session.timeout.ms": SESSION_TIMEOUT_MS,
        "broker.heartbeat.interval.ms": HEARTBEAT_MS,
        "auto.create.topics.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "group.initial.rebalance.delay.ms": 0,
        "offsets.retention.minutes": OFFSETS_RETENTION_MINUTES,
        "offsets.topic.num.partitions": 5,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "log.cleaner.dedupe.buffer.size": 2097152,
        # On one machine with few cores the defaults (3 and 8) only add context switches.
        "num.network.threads": 1,
        "num.io.threads": 2,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())
