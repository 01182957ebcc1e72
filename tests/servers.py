"""Stacks for tests: below `.run/test-<pid>/`, on free ports, gone afterwards whatever happens.

A run that was killed outright leaves its directory behind; the next run stops what still runs there and removes it.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.ports import free_ports
from deploy.local.stack import DEFAULT_RUN_DIR, Counts, Stack

FAILED_LOGS = DEFAULT_RUN_DIR / "failed"


@dataclass
class Stacks:
    """Makes stacks of one test run and removes them all; the logs of a failed run stay in `.run/failed/`."""

    directory: Path = field(default_factory=lambda: DEFAULT_RUN_DIR / f"test-{os.getpid()}")
    made: list[Stack] = field(default_factory=list)

    def make(self, name: str, counts: Counts, env: Mapping[str, Mapping[str, str]] | None = None) -> Stack:
        """A stack that is not started yet, with directory and ports of its own."""
        stack = Stack(self.directory / name, free_ports(), counts, env or {})
        self.made.append(stack)
        return stack

    @contextmanager
    def running(self, name: str, counts: Counts) -> Iterator[Stack]:
        """A stack that is up while the block runs."""
        stack = self.make(name, counts)
        stack.up()
        yield stack
        stack.down(gently=False)

    def remove(self, *, keep_logs: bool) -> None:
        """Kill everything that was started and remove the directory; may be called again."""
        for stack in self.made:
            stack.down(gently=False)
        if keep_logs and self.made:
            _keep_logs(self.directory)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.made.clear()


def remove_leftovers() -> None:
    """Stop and remove what dead earlier runs left below `.run/`."""
    for directory in DEFAULT_RUN_DIR.glob("test-*"):
        if not _lives(int(directory.name.removeprefix("test-"))):
            for pid_file in directory.glob("*/*.pid"):
                Stack(pid_file.parent).down(gently=False)
            shutil.rmtree(directory, ignore_errors=True)


def _keep_logs(directory: Path) -> None:
    shutil.rmtree(FAILED_LOGS, ignore_errors=True)
    for log in directory.glob("*/*.log"):
        kept = FAILED_LOGS / log.relative_to(directory)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(log, kept)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
