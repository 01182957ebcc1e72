"""`python -m scripts.planted [WORD]`."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from scripts.planted.bug import Bug
from scripts.planted.tables import BUGS

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("cli", "tidings", "services", "tests", "deploy", "sdk", "pyproject.toml")
# Enough for every bug of the tables. docs/SEMANTICS.md names the first seed that finds each.
SIMULATED_SEEDS = "0-59"
# A bug that makes a test hang counts as caught. Simulated time needs a second, the gateway's tests a few.
TEST_TIMEOUT_S = 40


def main() -> int:
    """Plant the bugs whose names contain the given word, or all without one."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in BUGS if word in one.name]
    worst = 0
    with tempfile.TemporaryDirectory(prefix="tidings-planted-") as directory:
        tree = Path(directory)
        _copy_to(tree)
        tests = sorted({test for one in chosen for test in one.tests})
        broken = _failing(tree, tests)
        for test, reason in broken.items():
            print(f"fails without any bug: {test}: {reason}")
            worst = 2
        for one in chosen:
            worst = max(worst, _try(tree, one))
    print(f"{len(chosen)} bugs planted")
    return worst


def _copy_to(tree: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", "*.egg-info")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)


def _try(tree: Path, one: Bug) -> int:
    path = tree / one.file
    before = path.read_text()
    planted = before
    for old, new in one.edits:
        if planted.count(old) != 1:
            print(f"{one.name}\n    CANNOT BE PLANTED: {one.file} has {planted.count(old)} of {old.strip()!r}")
            return 2
        planted = planted.replace(old, new)
    path.write_text(planted)
    failing = _failing(tree, one.tests)
    path.write_text(before)
    print(one.name)
    for test in one.tests:
        print(f"    {'failed as it should' if test in failing else 'NOT CAUGHT         '}  {test.split('::')[1]}")
        print(f"        {failing.get(test, '')}")
    sys.stdout.flush()
    return 0 if failing.keys() >= set(one.tests) else 1


def _failing(tree: Path, tests: tuple[str, ...] | list[str]) -> dict[str, str]:
    """The failing tests with their reasons. A parametrised test fails with one case; assertions are preferred."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [*command, f"--timeout={TEST_TIMEOUT_S}", *tests],
        cwd=tree,
        env={**os.environ, "SIMULATION_SEEDS": SIMULATED_SEEDS, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run the tests:\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
    reasons: dict[str, str] = {}
    for test, reason in re.findall(r"^FAILED (\S+)(.*)", finished.stdout, re.MULTILINE):
        name, reason = test.split("[")[0], reason.removeprefix(" - ")
        if name not in reasons or (_asserts(reason) and not _asserts(reasons[name])):
            reasons[name] = reason
    return reasons


def _asserts(reason: str) -> bool:
    return reason.startswith(("assert", "AssertionError"))


if __name__ == "__main__":
    sys.exit(main())
