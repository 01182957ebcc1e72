"""A process from its start to its exit, in a process of its own: signals, exit codes, the collector."""

import json
import subprocess
import sys

_PROGRAM = """
import asyncio, gc, json, sys
from tidings.errors import ConfigurationError
from tidings.runtime.lifecycle import run_service
from tidings.runtime.settings import ProcessSettings

async def main(stopping):
    {body}

run_service("tried", ProcessSettings(), main)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    program = _PROGRAM.format(body=body)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_the_collector_leaves_modules_alone_and_looks_rarely() -> None:
    ended = run("print(json.dumps([gc.get_freeze_count(), gc.get_threshold()[0]]), file=sys.__stdout__)")
    assert ended.returncode == 0
    frozen, threshold = json.loads(ended.stdout.splitlines()[0])
    assert frozen > 10_000
    assert threshold > 10_000


def test_old_objects_are_collected_before_they_take_much_memory() -> None:
    ended = run(
        "kept, seen = [], []; gc.callbacks.append(lambda _, info: seen.append(info['generation']))\n"
        "    while 2 not in seen: kept.append([])\n"
        "    print(len(kept), file=sys.__stdout__)"
    )
    assert ended.returncode == 0
    assert int(ended.stdout.splitlines()[0]) < 300_000


def test_a_signal_ends_it_in_order() -> None:
    ended = run("import os, signal; os.kill(os.getpid(), signal.SIGTERM); await stopping.wait()")
    assert ended.returncode == 0
    assert "stopped" in ended.stdout + ended.stderr


def test_refused_configuration_exits_with_2_and_any_other_with_1() -> None:
    assert run('raise ConfigurationError("no secret")').returncode == 2
    assert run('raise ValueError("a bug")').returncode == 1
