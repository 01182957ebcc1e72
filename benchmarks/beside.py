"""`python -m benchmarks.beside CHECKOUT`: compares this checkout with another one, on one machine at the same time.

Both run at the same time with their own servers, and each step is measured on one and then on the other. So changes of
the machine's speed affect both. Each side uses the benchmark of its own checkout and its own `.venv` (`make env`). The
figure is the ratio of this checkout to the other one, each as the median of its rounds. README.md has the method.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.processes import GeneratorProcess

ROUNDS, STEP_S, WARM_S = 6, 10.0, 25.0
STEADY_RATE = 200
CLIMB = range(2_000, 4_001, 500)
SESSIONS, LISTS, GATEWAY_STARTS = 1_000, 25, 5
IDLE_CONNECTIONS = 2_000
# Name, members, connected, rates.
GROUPS = (
    ("h", 100, 100, (84.0, 140.0)),
    ("w", 500, 100, (12.0, 30.0)),
    ("r", 5_000, 1_000, (15.0, 26.0)),
    ("few", 600, 500, (10.0,)),
    ("many", 8_000, 500, (10.0,)),
)
SERVICES = ("gateway", "persister", "fanout", "receipts")
LATENCIES = ("ack_p50_ms", "ack_p99_ms", "delivery_p50_ms", "delivery_p99_ms", "everybody_p50_ms")


class Side:
    """The deployment of one checkout. Runs with that checkout's own modules."""

    def __init__(self, run_name: str) -> None:
        """Starts nothing."""
        from deploy.local.ports import free_ports
        from deploy.local.stack import DEFAULT_RUN_DIR, Counts, Stack

        shutil.rmtree(DEFAULT_RUN_DIR / run_name, ignore_errors=True)
        self._stack = Stack(DEFAULT_RUN_DIR / run_name, free_ports(), Counts(gateways=2, echoes=0))
        self._generators: list[GeneratorProcess] = []
        self._session_ids: dict[str, str] = {}

    def begin(self) -> None:
        """Start everything."""
        self._stack.up()
        for module in ("benchmarks.generator", "benchmarks.group_generator"):
            self._generators.append(GeneratorProcess(self._stack.token_key_file, "127.0.0.1", module))
        self._direct, self._groups = self._generators

    def connect(self, sessions: int) -> dict[str, Any]:
        """Connect the pairs of the direct part."""
        return self._direct.do("connect", port=self._stack.ports.gateway, sessions=sessions)

    def direct(self, rate: float, seconds: float) -> dict[str, Any]:
        """Measure one step of direct messages."""
        return self._measured(lambda: self._direct.do("run", rate=rate, seconds=seconds))

    def make(self, name: str, members: int, online: int) -> dict[str, Any]:
        """Create a group and connect some of its members."""
        self._session_ids[name] = self._groups.do("make", ports=self._ports(), name=name, members=members)["session_id"]
        return self._groups.do("join", ports=self._ports(), name=name, online=online)

    def group(self, name: str, rate: float, seconds: float) -> dict[str, Any]:
        """Measure one step of messages to the group."""
        session_id = self._session_ids[name]
        return self._measured(
            lambda: self._groups.do("run", name=name, session_id=session_id, rate=rate, seconds=seconds)
        )

    def befriend(self, sessions: int) -> dict[str, Any]:
        """Create a user with so many direct sessions."""
        return self._groups.do("befriend", port=self._stack.ports.gateway, user_id="popular", sessions=sessions)

    def sessions(self, times: int) -> dict[str, Any]:
        """Measure lists of that user's sessions, one after the other."""
        port = self._stack.ports.gateway
        took_s = self._groups.do("sessions", port=port, user_id="popular", limit=50, times=times)["took_s"]
        return {"first_ms": took_s[0] * 1000, "median_ms": median(took_s[1:] or took_s) * 1000}

    def restart(self, name: str) -> dict[str, Any]:
        """Stop and start a process of the deployment."""
        self._stack.stop(name)
        self._stack.start(name)
        self._stack.wait_ready([name])
        return {}

    def idle(self, connections: int) -> dict[str, Any]:
        """The resident memory per idle connection of a gateway that has just started."""
        self.restart("gateway-1")
        time.sleep(2)
        before = self._usages()["gateway-1"].resident_bytes
        self._direct.do("idle", port=self._stack.ports.gateway + 1, connections=connections)
        time.sleep(5)
        after = self._usages()["gateway-1"].resident_bytes
        return {"kib_per_connection": (after - before) / 1024 / connections}

    def end(self) -> None:
        """Stop everything, also after a failure."""
        try:
            for generator in self._generators:
                generator.quit()
        finally:
            self._stack.down()

    def _ports(self) -> list[int]:
        return [self._stack.ports.gateway, self._stack.ports.gateway + 1]

    def _usages(self) -> dict[str, Any]:
        from benchmarks.__main__ import usages

        return usages(self._stack, self._direct)

    def _measured(self, run: Any) -> dict[str, Any]:
        """The result of the step, and the CPU of the services per message, without servers and generator."""
        before = self._usages()
        result: dict[str, Any] = run()
        after = self._usages()
        ours = [name for name in after if name.split("-")[0] in SERVICES]
        cpu_ms: Counter[str] = Counter()
        for name in ours:
            taken_s = after[name].cpu_s - before[name].cpu_s
            cpu_ms[f"{name.split('-')[0]}_cpu_ms"] += taken_s / result["sent"] * 1000
        return result | cpu_ms | {"services_cpu_ms": cpu_ms.total()}


def serve_side(run_name: str) -> None:
    """Read one command per line and write one answer per line, until standard input ends."""
    answers, sys.stdout = sys.stdout, sys.stderr
    side = Side(run_name)
    try:
        side.begin()
        print("{}", file=answers, flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            print(json.dumps(getattr(side, command.pop("do"))(**command)), file=answers, flush=True)
    finally:
        side.end()


class Beside:
    """The two sides and the figures of each. This checkout is the second side."""

    def __init__(self) -> None:
        """Starts nothing."""
        self._processes: list[subprocess.Popen[str]] = []
        self.figures: dict[str, tuple[list[float], list[float]]] = {}

    def begin(self, checkouts: tuple[Path, Path]) -> None:
        """Start both."""
        for number, path in enumerate(checkouts):
            self._processes.append(_started(path, number))
            _answer_of(self._processes[-1])  # one after the other, because each searches for free ports

    def both(self, what: str, **arguments: Any) -> list[dict[str, Any]]:
        """Run a step on both sides. The order changes every time, so that warm caches do not favour one side."""
        self._processes.reverse()
        answers = [(process, _asked(process, what, arguments)) for process in self._processes]
        return [answer for _, answer in sorted(answers, key=lambda one: self._number(one[0]))]

    def take(self, name: str, answers: list[dict[str, Any]], keys: tuple[str, ...]) -> None:
        """Add the figures of one round."""
        for key in (key for key in keys if key in answers[0]):
            lists = self.figures.setdefault(f"{name} {key}", ([], []))
            for values, answer in zip(lists, answers, strict=True):
                values.append(answer[key])
        shown = [{key: round(answer[key], 2) for key in keys if key in answer} for answer in answers]
        print(f"{time.strftime('%H:%M:%S')} {name}: {json.dumps(shown)}", flush=True)

    def end(self) -> None:
        """Stop both, also after a failure."""
        for process in self._processes:
            if process.poll() is None:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(120)

    def table(self) -> list[dict[str, Any]]:
        """The medians, and the ratio of this checkout to the other."""
        rows = []
        for name, (other, this) in self.figures.items():
            before, after = median(other), median(this)
            rows.append({"figure": name, "other": round(before, 2), "this": round(after, 2)})
            rows[-1]["ratio"] = round(after / before, 3)
        return rows

    def _number(self, process: subprocess.Popen[str]) -> int:
        return int(process.args[-1])  # type: ignore[index,arg-type]


def measure(sides: Beside, rounds: int) -> None:
    """Run all measurements, in order."""
    keys = (*LATENCIES, *(f"{name}_cpu_ms" for name in (*SERVICES, "services")))
    sides.both("connect", sessions=200)
    sides.both("direct", rate=500, seconds=WARM_S)
    for _ in range(rounds):
        sides.take("direct 200/s", sides.both("direct", rate=STEADY_RATE, seconds=STEP_S), keys)
    highest = [0.0, 0.0]
    for climb in CLIMB:
        answers = sides.both("direct", rate=climb, seconds=STEP_S)
        for number, one in enumerate(answers):
            if one["acked_within_1s"] >= 0.999 and one["delivered"] >= one["acked"] == one["sent"]:
                highest[number] = climb
        sides.take(f"direct {climb}/s", answers, ("ack_p50_ms", "services_cpu_ms"))
    sides.take("direct", [{"highest_held": rate} for rate in highest], ("highest_held",))
    for name, members, online, rates in GROUPS:
        sides.both("make", name=name, members=members, online=online)
        sides.both("group", name=name, rate=rates[0], seconds=WARM_S)
        for rate in rates:
            for _ in range(rounds):
                sides.take(
                    f"{name} {members}/{online} {rate}/s",
                    sides.both("group", name=name, rate=rate, seconds=STEP_S),
                    keys,
                )
    sides.both("befriend", sessions=SESSIONS)
    for _ in range(rounds + 1):
        sides.take("session list, warm,", sides.both("sessions", times=LISTS), ("median_ms",))
    for _ in range(GATEWAY_STARTS):
        sides.both("restart", name="gateway-0")
        sides.take("session list, cold,", sides.both("sessions", times=1), ("first_ms",))
    sides.take("idle", sides.both("idle", connections=IDLE_CONNECTIONS), ("kib_per_connection",))


def main() -> None:
    """Compare with the checkout of the first argument. The second argument is the number of rounds."""
    here = Path(__file__).parents[1]
    sides = Beside()
    try:
        sides.begin((Path(sys.argv[1]).resolve(), here))
        measure(sides, int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS)
    finally:
        sides.end()
    rows = sides.table()
    results = here / "benchmarks" / "results"
    results.mkdir(exist_ok=True)
    (results / "beside.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(f"{row['ratio']:6.3f}  {row['other']:10.2f} -> {row['this']:10.2f}  {row['figure']}")


def _started(checkout: Path, number: int) -> subprocess.Popen[str]:
    """Start this file as a side, with the checkout's interpreter and modules (-P excludes the modules of this one)."""
    command = [str(checkout / ".venv/bin/python"), "-P", str(Path(__file__)), "side", str(number)]
    environment = {"PYTHONPATH": str(checkout), "PATH": os.environ["PATH"]}
    return subprocess.Popen(
        command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _asked(process: subprocess.Popen[str], what: str, arguments: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
    process.stdin.flush()
    return _answer_of(process)


def _answer_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r}: ended with {process.wait(60)}")
    answer: dict[str, Any] = json.loads(line)
    return answer


if __name__ == "__main__":
    if sys.argv[1:2] == ["side"]:
        serve_side(f"bench-side-{sys.argv[2]}")
    else:
        main()
