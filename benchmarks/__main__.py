"""`make bench`: start everything, warm up, measure, verify, write results/. README.md has the method."""

import asyncio
import json
import os
import platform
import time
from typing import Any

from benchmarks.bare import kafka_hop
from benchmarks.picture import draw
from benchmarks.processes import GeneratorProcess, Usage, usage
from benchmarks.running import RESULTS, fresh_stack, generating, write_results
from benchmarks.verify import verify
from deploy.local.stack import Counts, Stack
from tidings.runtime.start import started
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig

SESSIONS = 200
IDLE_CONNECTIONS = 2_000
WARM_RATE, WARM_S = 500, float(os.environ.get("BENCH_WARM_S", "75"))
STEP_S = float(os.environ.get("BENCH_STEP_S", "30"))
STEADY_RATE = 200
FIRST_RATE, RATE_STEP, LAST_RATE = 600, 200, 4_000


def main() -> None:
    """One whole run."""
    # Gateway 1 takes the idle connections, so that their memory can be measured alone.
    with fresh_stack("bench", Counts(gateways=2, echoes=0)) as stack:
        stack.stop("gateway-1")
        with generating(stack) as generator:
            results = measure(stack, generator)
    write_results("direct", results)
    draw(results, RESULTS / "direct.png")
    print(json.dumps(results, indent=1))
    if results["verified"]["breaches"]:
        raise SystemExit("the tables differ from the acks and messages that the clients received")


def measure(stack: Stack, generator: GeneratorProcess) -> dict[str, Any]:
    """Run all measurements, in order."""
    results: dict[str, Any] = {"machine": machine(), "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    results["connected"] = generator.do("connect", port=stack.ports.gateway, sessions=SESSIONS)
    results["warm_up"] = generator.do("run", rate=WARM_RATE, seconds=WARM_S)
    say("warmed up", results["warm_up"])
    results["bare"] = asyncio.run(kafka_hop(stack.bootstrap, STEADY_RATE, STEP_S / 2))
    say("bare", results["bare"])
    results["steady"] = step(stack, generator, STEADY_RATE)
    results["ratios"] = {
        "ack_p50_to_bare_hop_p50": round(results["steady"]["ack_p50_ms"] / results["bare"]["hop_p50_ms"], 2),
        "delivery_p50_to_bare_hop_p50": round(results["steady"]["delivery_p50_ms"] / results["bare"]["hop_p50_ms"], 2),
    }
    results["steps"] = climb(stack, generator)
    held = [one["rate"] for one in results["steps"] if is_held(one)]
    results["highest_sustained_per_s"] = max(held, default=0)
    results["idle"] = idle(stack, generator)
    report = stack.run_dir / "report.json"
    results["clients"] = generator.do("report", path=str(report))
    results["verified"] = asyncio.run(check(stack, json.loads(report.read_text())))
    say("verified", results["verified"])
    return results


def climb(stack: Stack, generator: GeneratorProcess) -> list[dict[str, Any]]:
    """Raise the rate step by step until one is not held."""
    steps = []
    for rate in range(FIRST_RATE, LAST_RATE + 1, RATE_STEP):
        steps.append(step(stack, generator, rate))
        if not is_held(steps[-1]):
            break
    return steps


def is_held(one: dict[str, Any]) -> bool:
    """Whether a rate is held: at least 99.9 % acked within 1 s, and every message delivered."""
    return bool(one["acked_within_1s"] >= 0.999 and one["delivered"] >= one["acked"] == one["sent"])


def step(stack: Stack, generator: GeneratorProcess, rate: float) -> dict[str, Any]:
    """Measure one rate, with CPU per message and memory of each process."""
    before, began = usages(stack, generator), time.monotonic()
    result = generator.do("run", rate=rate, seconds=STEP_S)
    took_s, after = time.monotonic() - began, usages(stack, generator)
    result["cpu_us_per_message"] = {
        name: round((after[name].cpu_s - before[name].cpu_s) / result["sent"] * 1e6) for name in after
    }
    result["cores_busy"] = round(sum(after[name].cpu_s - before[name].cpu_s for name in after) / took_s, 2)
    result["resident_mib"] = {name: round(after[name].resident_bytes / 2**20) for name in after}
    say(f"{rate}/s", result)
    return result


def idle(stack: Stack, generator: GeneratorProcess) -> dict[str, Any]:
    """The resident memory of a separate gateway before and after it has idle connections."""
    stack.start("gateway-1")
    stack.wait_ready(["gateway-1"])
    time.sleep(2)
    pid = pid_of(stack, "gateway-1")
    before = usage(pid).resident_bytes
    connected = generator.do("idle", port=stack.ports.gateway + 1, connections=IDLE_CONNECTIONS)["connected"]
    time.sleep(5)
    after = usage(pid).resident_bytes
    result = {"connections": connected, "kib_per_connection": round((after - before) / 1024 / max(1, connected), 1)}
    say("idle", result)
    return result


def usages(stack: Stack, generator: GeneratorProcess) -> dict[str, Usage]:
    """CPU and memory of every process of the run."""
    measured = {name: usage(pid_of(stack, name)) for name in stack.running()}
    return measured | {"generator": usage(generator.pid)}


def pid_of(stack: Stack, name: str) -> int:
    """The pid of the process with this name."""
    pid = stack.process(name).pid()
    assert pid is not None, f"{name} does not run"
    return pid


async def check(stack: Stack, report: dict[str, Any]) -> dict[str, Any]:
    """Compare the tables with the report of the generator."""
    store = CassandraStore(CassandraConfig(hosts=("127.0.0.1",), port=stack.ports.cassandra))
    async with started(store):
        return await verify(store, report)


def machine() -> dict[str, Any]:
    """The machine of the run."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}


def say(what: str, result: dict[str, Any]) -> None:
    """Print one line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {what}: {json.dumps(result)}", flush=True)


if __name__ == "__main__":
    main()
