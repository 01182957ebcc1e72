"""The whole stack by process name: start, kill, pause, resume, stop, wait until ready.

stack = Stack(run_dir, free_ports(), Counts(gateways=2))
try:
    stack.up()
    stack.kill("persister-0")
    stack.start("persister-0")
    stack.wait_ready()
finally:
    stack.down()
"""

import json
import os
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from deploy.local.cassandra import start_cassandra
from deploy.local.kafka import start_kafka
from deploy.local.ports import Ports, is_free
from deploy.local.probes import HOST, cassandra_answers, kafka_answers, prometheus_health, service_health
from deploy.local.process import ROOT, STOP_GRACE_S, Process, StartFailed
from deploy.local.prometheus import start_prometheus
from tidings.media.backends import prepare_folder

DEFAULT_RUN_DIR = ROOT / ".run"
DEFAULT_JARS_CACHE = Path(os.environ.get("TIDINGS_JARS_DIR", DEFAULT_RUN_DIR / "jars"))
SERVERS = ("kafka-0", "cassandra-0")
# Two cold JVMs take 10 s on two idle cores, and took 85 s at a load of 17. A shorter limit would fail test runs.
READY_TIMEOUT_S = 240.0
INIT_TIMEOUT_S = 120.0
POLL_S = 0.1
STORED = "stack.json"


@dataclass(frozen=True, slots=True)
class Counts:
    """The number of processes of each service, and of Prometheus (none or one)."""

    gateways: int = 1
    persisters: int = 1
    fanouts: int = 1
    receipts: int = 1
    echoes: int = 1
    monitoring: int = 0

    def names(self) -> list[str]:
        """Process names in the order of the data."""
        names = ("gateway", "persister", "fanout", "receipts", "echo", "prometheus")
        kinds = zip(names, asdict(self).values(), strict=True)
        return [f"{kind}-{ordinal}" for kind, count in kinds for ordinal in range(count)]


SERVERS_ONLY = Counts(0, 0, 0, 0, 0)


@dataclass
class Stack:
    """Kafka, Cassandra and our services below one run directory.

    `env` adds settings to single processes: {"persister-0": {"TIDINGS_X": "1"}}. `say` gets a line for each thing that
    `up` waits for. No process is restarted automatically.

    Kafka and Cassandra keep their data after `kill` and `stop`. But Cassandra syncs its commit log periodically
    (markers every 100 ms), so a *killed* single node may lose its last acknowledged writes. In production the other
    two replicas have them. Tests of our promises therefore pause or stop Cassandra.
    """

    run_dir: Path = DEFAULT_RUN_DIR
    ports: Ports = field(default_factory=Ports)
    counts: Counts = field(default_factory=Counts)
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    jars_cache: Path = DEFAULT_JARS_CACHE
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self.run_dir = self.run_dir.resolve()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._processes: dict[str, Process] = {}

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.ports.kafka}"

    @property
    def token_key_file(self) -> Path:
        return self.run_dir / "dev-token.key"

    @property
    def settings_file(self) -> Path:
        """Sourced by a shell, it makes every verb of `tidings` use this stack."""
        return self.run_dir / "env"

    @property
    def media_dir(self) -> Path:
        """The objects of uploads."""
        return self.run_dir / "media"

    def names(self) -> list[str]:
        """The names of all processes of this stack, servers first."""
        return [*SERVERS, *self.counts.names()]

    def process(self, name: str) -> Process:
        return self._processes.setdefault(name, Process(self.run_dir, name))

    # --- the whole --------------------------------------------------------------------------------

    def up(self) -> None:
        """Start the processes that are not running, and wait until all are ready. Raises StartFailed, JarsMissing."""
        self.check_ports()
        self._store()
        self.start_servers()
        if services := self.counts.names():
            self.say("creating topics and tables")
            self.initialise()
            # The echo user is a client, which gets its token from a gateway as soon as it starts.
            echoes = [name for name in services if split(name)[0] == "echo"]
            for group in ([name for name in services if name not in echoes], echoes):
                for name in group:
                    self.start(name)
                self._await(group)

    def check_ports(self) -> None:
        """Raises StartFailed if another program uses a port of a process that is to be started."""
        wanted = {port: name for name in self.names() if not self.process(name).pid() for port in self.ports_of(name)}
        taken = [f"{port} ({name})" for port, name in wanted.items() if not is_free(port)]
        if taken:
            raise StartFailed(
                f"in use by another program: port {', '.join(taken)}. Stop that program, or take other ports:"
                " `make run PORT_BASE=21000` (`python -m deploy.local --help` lists the settings)"
            )

    def ports_of(self, name: str) -> Sequence[int]:
        """The ports of a process. The port for clients comes first."""
        kind, ordinal = split(name)
        match kind:
            case "kafka":
                return (self.ports.kafka, self.ports.kafka_controller)
            case "cassandra":
                return (self.ports.cassandra, self.ports.cassandra_storage)
            case "echo":
                return ()
            case "prometheus":
                return (self.ports.prometheus,)
            case "gateway":
                return (self.ports.gateway + ordinal, self.ports.admin(kind, ordinal))
        return (self.ports.admin(kind, ordinal),)

    def start_servers(self) -> None:
        for name in SERVERS:
            self.start(name)
        self._await(SERVERS)

    def _await(self, names: Sequence[str]) -> None:
        for name in names:
            if ports := self.ports_of(name):
                self.say(f"waiting for {name} (port {ports[0]})")
            self.wait_ready([name])

    def initialise(self) -> None:
        """Create topics, schema and first offsets. Safe to repeat. Raises StartFailed."""
        self.make_token_key()
        log_file = self.run_dir / "init.log"
        if not log_file.exists():
            # Only once: a folder that has gone must not be replaced by an empty one.
            prepare_folder(self.media_dir)
        with log_file.open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "cli", "init"],
                cwd=ROOT,
                env={**os.environ, **self._shared_settings(), **self.env.get("init", {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=INIT_TIMEOUT_S,
                check=False,
            )
        if done.returncode != 0:
            raise StartFailed(f"`tidings init` failed ({log_file}):\n{log_file.read_text()[-3000:]}")

    def down(self, *, gently: bool = True) -> None:
        """Stop all processes below the run directory, services before servers. `gently=False` kills them."""
        names = self._started()
        self._end([name for name in names if name not in SERVERS], gently)
        self._end([name for name in names if name in SERVERS], gently)

    def _end(self, names: Iterable[str], gently: bool) -> None:
        processes = [self.process(name) for name in names]
        for process in processes:
            if gently:
                process.begin_stop()
        for process in processes:
            # Without `stop`, because a second SIGTERM would end a gateway's drain and a stage's round early.
            if not gently or not process.await_end(STOP_GRACE_S):
                process.kill()

    # --- one process ------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start one process on its ports and data, unless it runs. Does not wait."""
        process = self.process(name)
        if name == "kafka-0":
            start_kafka(process, self.jars_cache, self.ports.kafka, self.ports.kafka_controller)
        elif name == "cassandra-0":
            start_cassandra(process, self.jars_cache, self.ports.cassandra, self.ports.cassandra_storage)
        elif name == "prometheus-0":
            start_prometheus(process, self.ports.prometheus, self.scraped())
        else:
            self.make_token_key()
            process.start([sys.executable, "-m", *self._command(name)], self._environment(name))

    def scraped(self) -> dict[str, int]:
        """The admin ports of all services, by process name."""
        services = [name for name in self.counts.names() if split(name)[0] not in ("echo", "prometheus")]
        return {name: self.ports.admin(*split(name)) for name in services}

    def kill(self, name: str) -> None:
        """Send SIGKILL. Returns when the process has ended."""
        self.process(name).kill()

    def stop(self, name: str) -> None:
        """Send SIGTERM, and SIGKILL after 30 s. Returns when the process has ended."""
        self.process(name).stop()

    def pause(self, name: str) -> None:
        """Send SIGSTOP. The process hangs, and its sockets stay open."""
        self.process(name).pause()

    def resume(self, name: str) -> None:
        """Send SIGCONT."""
        self.process(name).resume()

    def health(self, name: str) -> str:
        """`ready`, `unready`, `no answer` or `not running`, from a request in the process's own protocol."""
        if self.process(name).pid() is None:
            return "not running"
        kind, ordinal = split(name)
        if kind == "kafka":
            return "ready" if kafka_answers(self.ports.kafka) else "no answer"
        if kind == "cassandra":
            return "ready" if cassandra_answers(self.ports.cassandra) else "no answer"
        if kind == "prometheus":
            return prometheus_health(self.ports.prometheus)
        return "ready" if kind == "echo" else service_health(self.ports.admin(kind, ordinal))

    def wait_ready(self, names: Iterable[str] | None = None, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Block until these processes are ready, or all without names.

        Raises StartFailed with the end of the log if one has ended or is not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        for name in self.names() if names is None else names:
            while (health := self.health(name)) != "ready":
                if health == "not running" or time.monotonic() > deadline:
                    process = self.process(name)
                    raise StartFailed(f"{name}: {health} ({process.log_file}):\n{process.log_tail()}")
                time.sleep(POLL_S)

    def running(self) -> list[str]:
        """The names of all processes that run below the run directory, also of other starts."""
        return [name for name in self._started() if self.process(name).pid() is not None]

    def _started(self) -> list[str]:
        """The names of all processes with a pid file, also of processes that have ended."""
        return sorted(path.stem for path in self.run_dir.glob("*-*.pid"))

    @staticmethod
    def stored(run_dir: Path) -> "Stack | None":
        """The stack of the last `up` below this run directory, or None without one."""
        file = run_dir / STORED
        if not file.exists():
            return None
        stored = json.loads(file.read_text())
        return Stack(run_dir, Ports(**stored["ports"]), Counts(**stored["counts"]))

    def _store(self) -> None:
        stored = {"ports": asdict(self.ports), "counts": asdict(self.counts)}
        (self.run_dir / STORED).write_text(json.dumps(stored, indent=2) + "\n")
        settings = self._shared_settings() | {"TIDINGS_URL": self.url()}
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in settings.items()]
        self.settings_file.write_text("".join(lines))

    # --- settings ---------------------------------------------------------------------------------

    def _shared_settings(self) -> dict[str, str]:
        return {
            "TIDINGS_KAFKA_BOOTSTRAP": self.bootstrap,
            "TIDINGS_CASSANDRA_HOSTS": HOST,
            "TIDINGS_CASSANDRA_PORT": str(self.ports.cassandra),
            "TIDINGS_DEVELOPMENT": "true",
            "TIDINGS_TOKEN_DEV_KEY_FILE": str(self.token_key_file),
            "TIDINGS_MEDIA_STORE_URL": f"file:{self.media_dir}",
            "TIDINGS_COLD_CACHE_DIR": str(self.run_dir / "cold-cache"),
        }

    def _command(self, name: str) -> list[str]:
        kind, _ = split(name)
        if kind != "echo":
            return [f"services.{kind}"]
        cursor = self.run_dir / f"{name}.cursor"
        return ["tidings_client.echo", "--url", self.url().replace("http", "ws"), "--cursor", str(cursor)]

    def _environment(self, name: str) -> dict[str, str]:
        kind, ordinal = split(name)
        settings = self._shared_settings() | {"TIDINGS_ORDINAL": str(ordinal)}
        if kind != "echo":
            settings |= {"TIDINGS_ADMIN_HOST": HOST, "TIDINGS_ADMIN_PORT": str(self.ports.admin(kind, ordinal))}
        if kind == "gateway":
            settings |= {"TIDINGS_HTTP_HOST": HOST, "TIDINGS_HTTP_PORT": str(self.ports.gateway + ordinal)}
            # Short, because clients on this machine reconnect at once and `make down` should be fast.
            settings |= {"TIDINGS_DRAIN_S": os.environ.get("TIDINGS_DRAIN_S", "1")}
        return {**os.environ, "PYTHONUNBUFFERED": "1", **settings, **self.env.get(name, {})}

    def url(self, ordinal: int = 0) -> str:
        """The URL of a gateway for clients."""
        return f"http://{HOST}:{self.ports.gateway + ordinal}"

    def make_token_key(self) -> None:
        """Create a random key for development tokens, readable by this user only. An existing key is kept."""
        try:
            descriptor = os.open(self.token_key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return
        with os.fdopen(descriptor, "w") as key:
            key.write(secrets.token_hex(32) + "\n")


def split(name: str) -> tuple[str, int]:
    """("persister", 0) of "persister-0"."""
    kind, _, ordinal = name.rpartition("-")
    return kind, int(ordinal)
