"""`python -m benchmarks.archive`: pages of hot and cold history, the archiver, and bytes per message. README.md has the
method."""

import asyncio
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.__main__ import machine, say
from benchmarks.archive_rows import SEGMENT_ROWS, FilledSession, Part, fill, session
from benchmarks.archive_table import lines, met
from benchmarks.archiver_runs import EPOCH, ArchiverRun, bring_back, moved
from benchmarks.group_tables import store_of
from benchmarks.history_pages import PageClient, bare_calls, cold_pages, first_read, growth, hot_pages
from benchmarks.processes import GeneratorProcess
from benchmarks.running import fresh_stack, generating, write_results
from benchmarks.table_sizes import TableSizes
from deploy.local.stack import Counts, Stack
from tidings import ids
from tidings.runtime.start import started

# All sizes are divided by this in a trial run.
SMALLER = int(os.environ.get("BENCH_SMALLER", "1"))
SIZES = (1_000, 10_000, 100_000, 1_000_000 // SMALLER)
# Messages of all sessions of a small size, so that enough different pages of it exist.
MESSAGES_OF_A_SIZE = 20_000
MANY = 120
ARCHIVED_SESSIONS, ARCHIVED_SEGMENTS = 3, 10 // min(SMALLER, 5)
# In one part of the index, so that their objects have the full size.
ARCHIVED_SHARD = 3
QUIET_SESSIONS, QUIET_MESSAGES = 3_000 // SMALLER, 12
FOREGROUND_SESSIONS, FOREGROUND_RATE = 100, 100.0
WARM_RATE, WARM_S = 300.0, float(os.environ.get("BENCH_WARM_S", "30"))
STEP_S = float(os.environ.get("BENCH_STEP_S", "10"))
ROUNDS = int(os.environ.get("BENCH_PAIRS", "3"))
# Messages per second that the archiver may move while others send. 0: as fast as it can.
LIMITS = (0, 10_000, 5_000)
STARTS = 3
DAYS = {"recent": 20, "archived": 150}
# Longer than a run, so that the hot rows are still there for the next step.
_HOT_COPY_DAYS = 30
# So that each step has several objects, which are written, read back and compared at full speed.
_STEP_OBJECT_BYTES = 512 * 1024
_NOTHING_IS_OLD_DAYS = 36_500


class Fixture(NamedTuple):
    """The sessions of a run, and the months of what will be archived."""

    by_size: Mapping[int, Sequence[FilledSession]]
    many: Sequence[FilledSession]
    archived: Sequence[FilledSession]
    quiet: Sequence[FilledSession]
    archived_month: int
    quiet_month: int

    def sessions(self) -> list[FilledSession]:
        """All of them."""
        return [*(one for some in self.by_size.values() for one in some), *self.many, *self.archived, *self.quiet]


def main() -> None:
    """One whole run."""
    # Gateway 1 keeps no object, so that each cold page is the first one. It runs only for those.
    counts = Counts(gateways=2, echoes=0)
    env: dict[str, dict[str, str]] = {name: {"TIDINGS_KAFKA_EPOCH": EPOCH} for name in ("init", *counts.names())}
    env["gateway-1"]["TIDINGS_COLD_CACHE_BYTES"] = "0"
    with fresh_stack("bench-archive", counts, env) as stack:
        stack.stop("gateway-1")
        results = measure(stack, made(int(time.time() * 1000)))
    write_results("archive", results)
    print("\n".join(lines(results)))


def made(now_ms: int) -> Fixture:
    """The sessions, by the time of the run."""
    recent = ids.month_of(now_ms - DAYS["recent"] * ids.DAY_MS)
    archived = ids.month_of(now_ms - DAYS["archived"] * ids.DAY_MS)
    before = ids.month_of(ids.month_begin_ms(archived) - 1)
    old = Part(archived, ARCHIVED_SEGMENTS * SEGMENT_ROWS)
    return Fixture(
        by_size={
            size: [
                session(f"size{size}-{number}", Part(recent, size))
                for number in range(max(1, MESSAGES_OF_A_SIZE // size))
            ]
            for size in SIZES
        },
        many=[session(f"many{number}", Part(recent, 200)) for number in range(MANY)],
        archived=[
            session(f"old{number}", old, Part(recent, 100), shard=ARCHIVED_SHARD) for number in range(ARCHIVED_SESSIONS)
        ],
        quiet=[session(f"quiet{number}", Part(before, QUIET_MESSAGES)) for number in range(QUIET_SESSIONS)],
        archived_month=archived,
        quiet_month=before,
    )


def measure(stack: Stack, fixture: Fixture) -> dict[str, Any]:
    """Run all measurements, in order."""
    results: dict[str, Any] = {"machine": machine(), "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}
    results["load_before"] = os.getloadavg()
    results["filling"] = filled(stack, fixture.sessions())
    hot_bytes = TableSizes(stack).compacted_bytes() / results["filling"]["messages"]
    say("hot bytes per message", {"bytes": round(hot_bytes, 1)})
    results["pages"] = hot_history(stack, fixture)
    idle = idle_archiver(stack)
    quiet = archiver(stack, "quiet", fixture.quiet_month, idle)
    with generating(stack) as generator:
        generator.do("connect", port=stack.ports.gateway, sessions=FOREGROUND_SESSIONS)
        say("warmed up", generator.do("run", rate=WARM_RATE, seconds=WARM_S))
        results["foreground"] = foreground(stack, generator, fixture.archived_month)
    busy = archiver(stack, "busy", fixture.archived_month, idle)
    results["archiver"] = {"nothing_to_do": idle, "quiet": quiet, "busy": busy}
    results["bytes_per_message"] = bytes_per_message(stack, fixture, hot_bytes)
    results["cold_pages"] = cold_history(stack, fixture)
    results["load_after"] = os.getloadavg()
    results["is_met"] = met(results)
    return results


def filled(stack: Stack, sessions: Sequence[FilledSession]) -> dict[str, Any]:
    """Write the rows of the fixture."""

    async def write() -> int:
        store = store_of(stack)
        async with started(store):
            return await fill(store, sessions)

    begun = time.monotonic()
    messages = asyncio.run(write())
    took_s = time.monotonic() - begun
    result = {"messages": messages, "took_s": round(took_s, 1), "rows_per_s": round(messages / took_s)}
    say("filled", result)
    return result


def hot_history(stack: Stack, fixture: Fixture) -> dict[str, Any]:
    """Pages of hot messages, with bare calls of the same minute."""
    client = PageClient(stack.ports.gateway)
    bare_calls(client)  # warms the code
    result = bare_calls(client)
    result |= hot_pages(client, fixture.many, fixture.by_size[SIZES[-1]][0])
    say("hot pages", result)
    result["growth"] = growth(client, fixture.by_size)
    say("growth", result["growth"])
    client.close()
    return result


def foreground(stack: Stack, generator: GeneratorProcess, month: int) -> dict[str, Any]:
    """Direct messages without and with the archiver, in turn. It keeps the hot rows and begins again in each step."""
    steps: dict[str, list[dict[str, Any]]] = {}
    for _ in range(ROUNDS):
        steps.setdefault("alone", []).append(_step(generator))
        for limit in LIMITS:
            rules = {
                "hot_days": _days_since(month),
                "hot_copy_days": _HOT_COPY_DAYS,
                "object_bytes": _STEP_OBJECT_BYTES,
            }
            run = ArchiverRun(stack, messages_per_s=limit, **rules)
            run.wait_begun()
            begun = time.monotonic()
            step = _step(generator)
            run.stop()
            took_s = time.monotonic() - begun
            cold = bring_back(stack, month)
            step["archived_per_s"] = round(cold.messages / took_s)
            steps.setdefault(f"limit_{limit}", []).append(step)
            say(f"with the archiver, limit {limit}", {**step, "alone_p99_ms": steps["alone"][-1]["ack_p99_ms"]})
    return {"steps": steps, "ratios": {name: _ratios(steps, name) for name in steps if name != "alone"}}


def _step(generator: GeneratorProcess) -> dict[str, Any]:
    return generator.do("run", rate=FOREGROUND_RATE, seconds=STEP_S)


def _ratios(steps: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> dict[str, Any]:
    """Each step against the first one of its round, and the median."""
    found = {}
    for key in ("ack_p50_ms", "ack_p99_ms"):
        ratios = [
            round(with_[key] / without[key], 2) for without, with_ in zip(steps["alone"], steps[name], strict=True)
        ]
        found[key] = {"median": statistics.median(ratios), "each": ratios}
    return found


def idle_archiver(stack: Stack) -> dict[str, Any]:
    """A run with nothing to do, which is what the start of the process costs."""
    result = ArchiverRun(stack, hot_days=_NOTHING_IS_OLD_DAYS).wait()
    say("the archiver without work", result)
    return result


def archiver(stack: Stack, name: str, month: int, idle: Mapping[str, Any]) -> dict[str, Any]:
    """The archiver alone, over all that is not cold yet up to this month."""
    run = ArchiverRun(stack, hot_days=_days_since(month)).wait()
    cold = moved(stack, month)
    result = {
        **run,
        "segments": cold.segments,
        "messages": cold.messages,
        "messages_per_s": round(cold.messages / (run["took_s"] - idle["took_s"])),
        "cpu_us_per_message": round((run["cpu_s"] - idle["cpu_s"]) / cold.messages * 1e6, 1),
        "messages_per_s_with_start": round(cold.messages / run["took_s"]),
    }
    say(f"the archiver, {name} sessions", result)
    return result


def _days_since(month: int) -> float:
    """`hot_days` with which everything up to the end of a month is cold."""
    return time.time() / 86_400 - ids.month_end_ms(month) / ids.DAY_MS


def bytes_per_message(stack: Stack, fixture: Fixture, hot_bytes: float) -> dict[str, Any]:
    """The table of messages after a compaction, and the objects."""
    months = {"cold_busy": fixture.archived_month, "cold_quiet": fixture.quiet_month}
    result = {"hot": round(hot_bytes, 1)}
    for name, month in months.items():
        cold = moved(stack, month)
        result[name] = round(cold.object_bytes / cold.messages, 1)
        result[f"{name}_to_hot"] = round(cold.object_bytes / cold.messages / hot_bytes, 3)
    say("bytes per message", result)
    return result


def cold_history(stack: Stack, fixture: Fixture) -> dict[str, Any]:
    """Pages of cold messages: the first ones of a process, the first ones of an object, further ones."""
    firsts = []
    for number in range(STARTS):
        stack.stop("gateway-0")
        stack.start("gateway-0")
        stack.wait_ready(["gateway-0"])
        client = PageClient(stack.ports.gateway)
        firsts.append(first_read(client, (fixture.archived[0], 1_000 * (number + 1))))
        client.close()
    stack.start("gateway-1")
    stack.wait_ready(["gateway-1"])
    client, uncached = PageClient(stack.ports.gateway), PageClient(stack.ports.gateway + 1)
    result = {
        "first_of_a_process_ms": firsts,
        **bare_calls(client),
        **cold_pages(client, uncached, fixture.archived),
    }
    client.close()
    uncached.close()
    say("cold pages", result)
    return result


if __name__ == "__main__":
    main()
