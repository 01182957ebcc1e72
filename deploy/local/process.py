"""One process of the stack. It runs in its own session, and its pid file identifies it.

The pid file holds only the pid, so that `kill -9 $(cat .run/persister-0.pid)` works. A marker in the environment of the
process distinguishes it from a later process with the same pid.
"""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARKER = "TIDINGS_PROCESS"
ROOT = Path(__file__).resolve().parents[2]
STOP_GRACE_S = 30.0
POLL_S = 0.05
# A thread stops when it next returns from the kernel, which is at once unless it waits for a disk.
PAUSE_GRACE_S = 10.0
PAUSE_POLL_S = 0.001
KERNEL_THREAD = 0x00200000  # PF_KTHREAD of linux/sched.h; kernel threads have no environment either
LOG_TAIL_LINES = 25


class StartFailed(Exception):
    """A process ended, or was not ready in time. The text has the end of its log."""


class Process:
    """A process named `name` with its pid file and log in `run_dir`. Not thread-safe."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self.name = name
        self.pid_file = run_dir / f"{name}.pid"
        self.log_file = run_dir / f"{name}.log"
        self._marker = f"{run_dir.resolve()}/{name}"
        self._child: subprocess.Popen[bytes] | None = None

    def pid(self) -> int | None:
        """The pid if the process runs (also when paused, also when another process started it), else None."""
        # A child of this process is not checked for the marker, because right after exec it has none yet. The poll
        # also reaps the child, so that it does not stay a zombie.
        if self._child is not None and self._child.poll() is None:
            return self._child.pid
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if _is_ours(pid, self._marker) else None

    def start(self, argv: list[str], env: dict[str, str]) -> None:
        """Start the process and append to its log. Does nothing if it runs already."""
        if self.pid() is not None:
            return
        with self.log_file.open("ab") as log:
            self._child = subprocess.Popen(
                argv,
                cwd=ROOT,
                env={**env, MARKER: self._marker},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{self._child.pid}\n")

    def send(self, number: signal.Signals) -> None:
        """Signal the process and its children. Ignores a process that has ended."""
        pid = self.pid()
        if pid is not None:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                return

    def pause(self) -> None:
        """Send SIGSTOP. Returns when no thread of the process runs any more."""
        self.send(signal.SIGSTOP)
        deadline = time.monotonic() + PAUSE_GRACE_S
        while (pid := self.pid()) is not None and not _is_stopped(pid):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} did not stop within {PAUSE_GRACE_S} s of SIGSTOP")
            time.sleep(PAUSE_POLL_S)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.send(signal.SIGCONT)

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process has ended. Removes the pid file; data and log remain."""
        self.send(signal.SIGKILL)
        self.await_end(STOP_GRACE_S)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Send SIGTERM, and SIGKILL if the process still runs after `grace_s`."""
        self.begin_stop()
        if not self.await_end(grace_s):
            self.kill()

    def begin_stop(self) -> None:
        """Send SIGTERM without waiting. A paused process is resumed, so that it can handle the signal."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            self.resume()

    def await_end(self, timeout_s: float) -> bool:
        """Whether the process ended within `timeout_s`. Then its pid file is removed."""
        deadline = time.monotonic() + timeout_s
        while self.pid() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        self.pid_file.unlink(missing_ok=True)
        return True

    def log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])


def _is_ours(pid: int, marker: str) -> bool:
    """Whether the process has our marker.

    A process that is ending loses its environment before its sockets. It still counts until it is a zombie.
    """
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except ProcessLookupError:  # newer kernels raise it if the memory is freed already; older ones return nothing
        environment = b""
    except OSError:
        return False
    if environment:
        return f"{MARKER}={marker}".encode() in environment.split(b"\0")
    threads = _threads(pid)
    return any(thread.state not in "ZX" and not thread.flags & KERNEL_THREAD for thread in threads)


def _is_stopped(pid: int) -> bool:
    return all(thread.state in "Tt" for thread in _threads(pid))


@dataclass(frozen=True, slots=True)
class _Thread:
    state: str
    flags: int


def _threads(pid: int) -> list[_Thread]:
    """The stat fields in /proc of each existing thread, after its name in parentheses (proc(5))."""
    threads = []
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread ended after it was listed
            fields = task.read_text().rpartition(")")[2].split()
            threads.append(_Thread(fields[0], int(fields[6])))
    return threads
