"""`python -m benchmarks.groups`: the cost of groups with write and read diffusion. README.md has the method."""

import asyncio
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.__main__ import machine, pid_of, say, usages
from benchmarks.bare import kafka_hop
from benchmarks.generator import percentile
from benchmarks.group_tables import Arrivals, store_of, verify
from benchmarks.processes import GeneratorProcess, usage
from benchmarks.running import fresh_stack, generating, write_results
from deploy.local.stack import Counts, Stack
from tidings.runtime.start import started

WARM_S = float(os.environ.get("BENCH_WARM_S", "60"))
STEP_S = float(os.environ.get("BENCH_STEP_S", "20"))
SESSIONS = 1_000
GATEWAY_STARTS = 9
SINGLE_MESSAGES = 40
# As in the direct part: it shows the current speed of the machine.
BARE_RATE = 200
# Name, members, connected members, rates of the climb in messages per second.
LARGE_WRITE = ("w", 500, 100, (2.0, 12.0, 16.0, 20.0, 24.0, 30.0, 36.0, 42.0))
BUSY_WRITE = ("h", 100, 100, (40.0, 84.0, 100.0, 120.0, 140.0, 160.0))
READ = ("r", 5_000, 1_000, (6.0, 12.0, 15.0, 18.0, 22.0, 26.0, 30.0))
# Read diffusion with few and with many members that are not connected: name, members.
OFFLINE = (("few", 600), ("many", 8_000))
OFFLINE_ONLINE, OFFLINE_RATE, OFFLINE_TURNS = 500, 10.0, 2


def main() -> None:
    """One whole run."""
    with (
        fresh_stack("bench-groups", Counts(gateways=2, echoes=0)) as stack,
        generating(stack, "benchmarks.group_generator") as generator,
    ):
        results = measure(stack, generator)
    write_results("groups", results)
    print(json.dumps(results, indent=1))
    verified = [results[part]["verified"] for part in ("busy_write", "large_write", "read")]
    if any(one["breach_count"] for one in [*verified, *results["offline"]["verified"].values()]):
        raise SystemExit("a promise is broken; `verified` in the results has the breaches")


def measure(stack: Stack, generator: GeneratorProcess) -> dict[str, Any]:
    """Run all measurements, in order."""
    results: dict[str, Any] = {"machine": machine(), "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    results["busy_write"] = climb(stack, generator, BUSY_WRITE, WARM_S)
    results["bare"] = asyncio.run(kafka_hop(stack.bootstrap, BARE_RATE, STEP_S / 2))
    say("bare", results["bare"])
    results["large_write"] = climb(stack, generator, LARGE_WRITE, 0)
    results["read"] = climb(stack, generator, READ, 0)
    results["offline"] = offline(stack, generator)
    results["session_list"] = session_list(stack, generator)
    return results


def climb(
    stack: Stack, generator: GeneratorProcess, what: tuple[str, int, int, tuple[float, ...]], warm_s: float
) -> dict[str, Any]:
    """Create a group, connect members, and raise the rate step by step until one is not held."""
    name, members, online, rates = what
    ports = [stack.ports.gateway, stack.ports.gateway + 1]
    made = generator.do("make", ports=ports, name=name, members=members)
    say(f"group of {members}", made)
    session_id = made["session_id"]
    joined = generator.do("join", ports=ports, name=name, online=online)
    if warm_s:
        # The second rate is warmed up too, because a JVM compiles more code for a new load.
        for rate in rates[:2]:
            say("warm", generator.do("run", name=name, session_id=session_id, rate=rate, seconds=warm_s))
    steps = []
    for rate in rates:
        before, began = usages(stack, generator), time.monotonic()
        step = generator.do("run", name=name, session_id=session_id, rate=rate, seconds=STEP_S)
        took_s, after = time.monotonic() - began, usages(stack, generator)
        busy = {one: round((after[one].cpu_s - before[one].cpu_s) / took_s, 2) for one in after}
        step |= {
            "inbox_rows_per_s": 0 if name == READ[0] else round(rate * members),
            "cores": busy,
            "is_held": is_held(step),
        }
        say(f"{name} {rate}/s", step)
        steps.append(step)
        if not step["is_held"]:
            break
    users = [f"{name}{number:05d}" for number in range(members)]
    single = one_by_one(stack, generator, name, session_id, users) if what is LARGE_WRITE else {}
    report = generator.do("report", name=name, session_id=session_id)
    verified = asyncio.run(verified_group(stack, session_id, users, report, name != READ[0]))
    say(f"{name} verified", verified)
    memory = {one: round(usage(pid_of(stack, one)).resident_bytes / 2**20) for one in stack.running()}
    return made | joined | {"steps": steps, "one_by_one": single, "verified": verified, "resident_mib": memory}


def is_held(step: dict[str, Any]) -> bool:
    """Whether a rate is held: all messages acked and delivered, 99 % of the deliveries within 1 s."""
    return bool(
        step["acked"] == step["sent"]
        and step["deliveries"] == step["deliveries_wanted"]
        and step["delivery_p99_ms"] <= 1000
    )


def one_by_one(
    stack: Stack, generator: GeneratorProcess, name: str, session_id: str, users: list[str]
) -> dict[str, Any]:
    """Send one message at a time, and wait until all members have it: all pushes, and all rows readable.

    The rows are polled without pause, in one read of all inboxes that still miss theirs. The polling takes some CPU
    itself. The end of the read that finds the last row counts.
    """
    pushes, rows, looks = [], [], []
    arrivals = Arrivals(stack, users)
    with ThreadPoolExecutor(1) as watching:
        for _ in range(SINGLE_MESSAGES):
            before = arrivals.at_rest()
            began = time.perf_counter()
            arrivals.look(users)
            looks.append(time.perf_counter() - began)
            complete_at_s = watching.submit(arrivals.complete_at_s, before)
            step = generator.do("run", name=name, session_id=session_id, rate=1.0, seconds=1.0)
            if step["deliveries"] != step["deliveries_wanted"]:
                raise RuntimeError(f"a message reached {step['deliveries']} of {step['deliveries_wanted']}")
            pushes.append(step["everybody_p50_ms"] / 1000)
            rows.append(complete_at_s.result() - step["began_s"])
    arrivals.close()
    both = [max(pair) for pair in zip(pushes, rows, strict=True)]
    return {
        "messages": len(rows),
        "all_pushes_p50_ms": percentile(pushes, 0.5),
        "all_rows_p50_ms": percentile(rows, 0.5),
        "both_p50_ms": percentile(both, 0.5),
        "both_p99_ms": percentile(both, 0.99),
        "look_p50_ms": percentile(looks, 0.5),
    }


def offline(stack: Stack, generator: GeneratorProcess) -> dict[str, Any]:
    """The CPU per message in two groups that differ only in the number of members that are not connected."""
    ports = [stack.ports.gateway, stack.ports.gateway + 1]
    session_ids = {}
    for name, members in OFFLINE:
        session_ids[name] = generator.do("make", ports=ports, name=name, members=members)["session_id"]
        generator.do("join", ports=ports, name=name, online=OFFLINE_ONLINE)
    result: dict[str, Any] = {"connected": OFFLINE_ONLINE, "members": dict(OFFLINE), "cpu_ms_per_message": {}}
    for name, _ in OFFLINE * OFFLINE_TURNS:
        before = usages(stack, generator)
        step = generator.do("run", name=name, session_id=session_ids[name], rate=OFFLINE_RATE, seconds=STEP_S)
        after = usages(stack, generator)
        taken = {one: (after[one].cpu_s - before[one].cpu_s) * 1000 / step["sent"] for one in stack.running()}
        turn = {"all": round(sum(taken.values()), 1)} | {one: round(cpu_ms, 1) for one, cpu_ms in taken.items()}
        result["cpu_ms_per_message"].setdefault(name, []).append(turn)
    result["verified"] = {}
    for name, members in OFFLINE:
        report = generator.do("report", name=name, session_id=session_ids[name])
        users = [f"{name}{number:05d}" for number in range(members)]
        verified = verified_group(stack, session_ids[name], users, report, is_written=False)
        result["verified"][name] = asyncio.run(verified)
    say("offline", result)
    return result


async def verified_group(
    stack: Stack, session_id: str, users: list[str], report: dict[str, Any], is_written: bool
) -> dict[str, Any]:
    """Verify all members of the group, connected or not."""
    store = store_of(stack)
    async with started(store):
        return await verify(store, session_id, users, report, is_written=is_written)


def session_list(stack: Stack, generator: GeneratorProcess) -> dict[str, Any]:
    """Measure the list of a user with 1,000 sessions, cold after a start of the gateway and warm; check all unread."""
    port = stack.ports.gateway
    generator.do("befriend", port=port, user_id="popular", sessions=SESSIONS)
    time.sleep(2)
    cold, warm = [], []
    for _ in range(GATEWAY_STARTS):
        stack.stop("gateway-0")
        stack.start("gateway-0")
        stack.wait_ready(["gateway-0"])
        first, *others = generator.do("sessions", port=port, user_id="popular", limit=50, times=10)["took_s"]
        cold.append(first)
        warm += others
    result: dict[str, Any] = {"cold_p50_ms": percentile(cold, 0.5), "warm_p50_ms": percentile(warm, 0.5)}
    result |= {"cold_ms": [round(one * 1000) for one in cold], "warm_p99_ms": percentile(warm, 0.99)}
    time.sleep(2)
    unread = generator.do("unread", port=port, user_id="popular")
    result["unread_right"] = unread == {"listed": SESSIONS, "wrong": []}
    say("session list", result)
    return result


if __name__ == "__main__":
    main()
