"""CPU and memory of processes, from /proc, and the generator as a subprocess."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the process began, and resident bytes."""

    cpu_s: float
    resident_bytes: int


def usage(pid: int) -> Usage:
    """The usage of one process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS_PER_S, int(fields[21]) * _PAGE_BYTES)


def children_cpu_s(pid: int) -> float:
    """CPU seconds of all children that have ended and that the process has collected."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS_PER_S


class GeneratorProcess:
    """Starts the generator and sends it commands, one at a time."""

    def __init__(self, key_file: Path, host: str, module: str = "benchmarks.generator") -> None:
        """The generator runs until `quit`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(key_file), host],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The pid of the generator."""
        return self._process.pid

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Run one command to its end. Raises RuntimeError if the generator has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the generator ended with {self._process.wait(10)} during {what}")
        result: dict[str, Any] = json.loads(answer)
        return result

    def quit(self) -> None:
        """End the generator."""
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.write('{"do": "quit"}\n')
            self._process.stdin.flush()
            self._process.wait(20)
