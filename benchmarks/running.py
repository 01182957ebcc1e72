"""What all runs share: a fresh local stack, a load generator, and the file of the results."""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.processes import GeneratorProcess
from deploy.local.ports import free_ports
from deploy.local.stack import DEFAULT_RUN_DIR, Counts, Stack

RESULTS = Path(__file__).parent / "results"


@contextlib.contextmanager
def fresh_stack(name: str, counts: Counts, env: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Stack]:
    """A stack without data of an earlier run, up while the block runs. `env`: variables by process."""
    run_dir = DEFAULT_RUN_DIR / name
    shutil.rmtree(run_dir, ignore_errors=True)
    stack = Stack(run_dir, free_ports(), counts, {} if env is None else env)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


@contextlib.contextmanager
def generating(stack: Stack, module: str = "benchmarks.generator") -> Iterator[GeneratorProcess]:
    """A load generator that runs until the block ends."""
    generator = GeneratorProcess(stack.token_key_file, "127.0.0.1", module)
    try:
        yield generator
    finally:
        generator.quit()


def write_results(name: str, results: Mapping[str, Any]) -> None:
    """Write them to `results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
