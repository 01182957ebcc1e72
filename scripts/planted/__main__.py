"""See the package."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from scripts.planted import noticed_by
from scripts.planted.bug import Bug
from scripts.planted.tables import BUGS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("cli", "tidings", "services", "tests", "deploy", "sdk", "pyproject.toml")
# Enough for every bug that names the simulation; docs/SEMANTICS.md has the first seed that notices each.
SIMULATED_SEEDS = "0-299"
SIMULATED_FAILURES = 5
# A bug that makes a test hang has been noticed too. Simulated time needs a second, the gateway's tests a few.
TEST_TIMEOUT_S = 40
# Each in a copy of its own.
AT_ONCE = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Failure:
    """One case of a test that failed: its parameters, empty where it has none, and the reason that pytest printed."""

    case: str
    reason: str


def main() -> int:
    """Plant each bug whose name has the given word in it; all of them without one."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in BUGS if word in one.name]
    trees: SimpleQueue[Path] = SimpleQueue()

    def in_a_tree(work: Callable[[Path], int]) -> int:
        tree = trees.get()
        try:
            return work(tree)
        finally:
            trees.put(tree)

    with tempfile.TemporaryDirectory(prefix="tidings-planted-") as directory:
        for number in range(AT_ONCE):
            _copy_to(Path(directory) / str(number))
            trees.put(Path(directory) / str(number))
        tests = sorted({test for one in chosen for test in one.tests})
        works = [partial(_try_none, tests=tests), *(partial(_try, one=one) for one in chosen)]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            worst = max(threads.map(in_a_tree, works))
    print(f"{len(chosen)} bugs planted")
    return worst


def _copy_to(tree: Path) -> None:
    tree.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", "*.egg-info")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)


def _try_none(tree: Path, tests: Sequence[str]) -> int:
    broken = _failing(tree, tests)
    for test, failure in broken.items():
        print(f"fails without any bug: {test}: {failure.reason}", flush=True)
    return 2 if broken else 0


def _try(tree: Path, one: Bug) -> int:
    path = tree / one.file
    before = path.read_text()
    planted = before
    for old, new in one.edits:
        if planted.count(old) != 1:
            print(
                f"{one.name}\n    CANNOT BE PLANTED: {one.file} has {planted.count(old)} of {old.strip()!r}", flush=True
            )
            return 2
        planted = planted.replace(old, new)
    path.write_text(planted)
    failing = _failing(tree, one.tests)
    path.write_text(before)
    lines = [one.name]
    for test in one.tests:
        lines.append(
            f"    {'failed as it should' if test in failing else 'NOT CAUGHT         '}  {test.split('::')[1]}"
        )
        if test in failing:
            lines.append(f"        {failing[test].case} {failing[test].reason}")
    # At once, because other bugs print at the same time.
    print("\n".join([*lines, *_other_seed(one, failing.get(noticed_by.SIMULATED))]), flush=True)
    return 0 if failing.keys() >= set(one.tests) else 1


def _other_seed(one: Bug, seen: Failure | None) -> list[str]:
    """A line if the bug's record, which docs/SEMANTICS.md shows, does not name the seed that noticed it now."""
    recorded = "none" if one.noticed is None else str(one.noticed.seed)
    if seen is None or seen.case == recorded:
        return []
    return [f"    first noticed by seed {seen.case}; the record of the bug has {recorded}"]


def _failing(tree: Path, tests: Sequence[str]) -> dict[str, Failure]:
    """The tests that fail. Of a parametrised one, the first case that fails by an assertion, or else the first."""
    others = [test for test in tests if test != noticed_by.SIMULATED]
    failing = _run(tree, others) if others else {}
    if len(others) < len(tests):
        failing |= _simulated(tree)
    return failing


def _simulated(tree: Path) -> dict[str, Failure]:
    """The first failing seed. If it fails by a crash, which says little, the first one of a few that does not."""
    first = _run(tree, [noticed_by.SIMULATED], "--maxfail=1")
    if all(map(_asserts, first.values())):
        return first
    return _run(tree, [noticed_by.SIMULATED], f"--maxfail={SIMULATED_FAILURES}")


def _run(tree: Path, tests: Sequence[str], *options: str) -> dict[str, Failure]:
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *options]
    # The environment has the packages of the checkout installed. Those of the copy must come before them.
    copied = os.pathsep.join((str(tree), str(tree / "sdk" / "python" / "src")))
    finished = subprocess.run(
        [*command, f"--timeout={TEST_TIMEOUT_S}", *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": copied, "SIMULATION_SEEDS": SIMULATED_SEEDS, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run the tests:\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
    failures: dict[str, Failure] = {}
    for test, reason in re.findall(r"^FAILED (\S+)(.*)", finished.stdout, re.MULTILINE):
        name, _, case = test.partition("[")
        failure = Failure(case.removesuffix("]"), reason.removeprefix(" - "))
        if name not in failures or (_asserts(failure) and not _asserts(failures[name])):
            failures[name] = failure
    return failures


def _asserts(failure: Failure) -> bool:
    return failure.reason.startswith(("assert", "AssertionError"))


if __name__ == "__main__":
    sys.exit(main())
