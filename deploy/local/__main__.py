"""`python -m deploy.local up|down|run|status|jars`: the commands behind `make up`, `make down`, `make run` …"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from deploy.local.downloads import JarsMissing, jars, missing_tools
from deploy.local.ports import BLOCK, port_settings, ports_asked
from deploy.local.process import StartFailed
from deploy.local.stack import DEFAULT_JARS_CACHE, DEFAULT_RUN_DIR, Counts, Stack, split
from deploy.local.tools import ToolMissing
from deploy.local.welcome import print_first_steps, print_settings, print_table

WATCH_S = 1.0
USAGE = f"""settings, from the environment (make passes its variables on: `make up GATEWAYS=2 GATEWAY_PORT=8090`):
  GATEWAYS PERSISTERS FANOUTS RECEIPTS ECHOES   how many of each service (1)
  MONITORING                                    1: a Prometheus with our rules, from the path or from Debian's package
  RUN_DIR                                       where pids, logs and data live (.run)
  PORT_BASE                                     all ports in one block of {BLOCK} from this number on, or singly:
  """


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local",
        description="Kafka, Cassandra and our services on this machine.",
        epilog=USAGE + " ".join(port_settings()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=("up", "down", "run", "status", "jars"))
    parser.add_argument("--embedded", action="store_true", help="run: one process on the memory adapters")
    arguments = parser.parse_args()
    if arguments.verb == "run" and (arguments.embedded or _tools_are_missing()):
        print("starting all services in one process", flush=True)
        os.execv(sys.executable, [sys.executable, "-m", "deploy.local.embedded"])
    verbs = {"up": up, "down": down, "run": run, "status": status, "jars": fetch}
    try:
        return verbs[arguments.verb](Path(os.environ.get("RUN_DIR") or DEFAULT_RUN_DIR))
    except (StartFailed, JarsMissing, ToolMissing) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def up(run_dir: Path) -> int:
    stack = _wanted(run_dir)
    stack.up()
    _print_welcome(stack)
    return 0


def down(run_dir: Path) -> int:
    (Stack.stored(run_dir) or Stack(run_dir)).down()
    return 0


def run(run_dir: Path) -> int:
    """Start in the foreground. Ctrl-C, SIGTERM or a failed start stops everything; a second Ctrl-C kills it."""
    signal.signal(signal.SIGTERM, _interrupt)
    stack = _wanted(run_dir)
    try:
        stack.up()
        _print_welcome(stack)
        print("Ctrl-C stops all of it.", flush=True)
        _watch(stack)
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
    finally:
        try:
            stack.down()
        except KeyboardInterrupt:
            stack.down(gently=False)
        print(f"stopped; the data stays in {stack.run_dir}", flush=True)
    return 0


def status(run_dir: Path) -> int:
    """Print the running processes. Returns 0 only if all are ready."""
    stack = Stack.stored(run_dir)
    if stack is None:
        print(f"nothing was started below {run_dir}; `make up` starts the stack")
        return 1
    names = stack.names() + [name for name in stack.running() if name not in stack.names()]
    health = {name: stack.health(name) for name in names}
    rows = [
        (name, str(stack.process(name).pid() or "-"), " ".join(map(str, stack.ports_of(name))) or "-", health[name])
        for name in names
    ]
    print_table(("name", "pid", "ports", "health"), rows)
    print()
    print_settings(stack.settings_file)
    return 0 if set(health.values()) == {"ready"} else 1


def fetch(run_dir: Path) -> int:
    """Fetch the jars of both servers unless they exist. The tests call it before their time-outs start."""
    for server in ("kafka", "cassandra"):
        jars(server, DEFAULT_JARS_CACHE)
    return 0


def counts_asked(environment: Mapping[str, str]) -> Counts:
    """One process of each service and no Prometheus, or what the variables of these names say."""
    defaults = asdict(Counts())
    return Counts(**{name: int(environment.get(name.upper()) or default) for name, default in defaults.items()})


def _wanted(run_dir: Path) -> Stack:
    """The stack that the environment describes. Raises StartFailed if one runs here on other ports."""
    counts = counts_asked(os.environ)
    stack = Stack(run_dir, ports_asked(os.environ), counts, say=_say)
    stored = Stack.stored(run_dir)
    if stored is not None and stored.ports != stack.ports and stored.running():
        raise StartFailed(f"a stack runs below {run_dir} on other ports: `make down` first, or set RUN_DIR")
    return stack


def _tools_are_missing() -> bool:
    missing = missing_tools()
    if missing:
        print(f"{' and '.join(missing)} not found, so this is the embedded stack: one process that keeps nothing")
    return bool(missing)


def _say(text: str) -> None:
    print(text, flush=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _watch(stack: Stack) -> None:
    """Report each process that ends, until interrupted. No process is restarted automatically."""
    running = set(stack.running())
    while True:
        time.sleep(WATCH_S)
        now = set(stack.running())
        for name in sorted(running - now):
            print(f"{name} ended ({stack.process(name).log_file}); `make up` starts it again", flush=True)
        running = now


def _print_welcome(stack: Stack) -> None:
    gateways = [name for name in stack.counts.names() if name.startswith("gateway-")]
    clients = [(name, stack.url(split(name)[1]), "clients: /v1/ws, /v1/…, /docs") for name in gateways]
    services = [name for name in stack.counts.names() if not name.startswith(("echo-", "prometheus-"))]
    admin = [(name, f"http://127.0.0.1:{stack.ports.admin(*split(name))}", "/readyz /metrics") for name in services]
    servers = [
        ("kafka-0", stack.bootstrap, "the log"),
        ("cassandra-0", f"127.0.0.1:{stack.ports.cassandra}", "the tables"),
    ]
    monitoring = [
        ("prometheus-0", f"http://127.0.0.1:{stack.ports.prometheus}", "/graph /api/v1/alerts")
        for _ in range(stack.counts.monitoring)
    ]
    print_table(("name", "url", ""), [*clients, *admin, *servers, *monitoring])
    print(f"\nlogs: {stack.run_dir}/<name>.log")
    print_first_steps(stack.url())
    print_settings(stack.settings_file)


if __name__ == "__main__":
    sys.exit(main())
