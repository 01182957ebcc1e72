"""Examines uploaded images in processes of their own, so that no image can harm the gateway.

The gateway reads no byte of an image, only the child's answer, so its memory does not grow with the image.

Each image gets a new process, not a fork of a prepared one. CPU time measured on two busy cores:

| image | new process | fork |
|---|---|---|
| icon | 200 ms | 50 ms |
| JPEG of 12 megapixels | 320 ms | 160 ms |
| PNG of 20 MiB | 440 ms | 280 ms |

So a fork saves 150 ms. For that the gateway would supervise one more process and send it files through a socket, and
could not collect its children. At a few images a second and gateway, that is not worth it.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import msgspec

from services.gateway.media.content_types import IMAGE_TYPES
from tidings import metrics
from tidings.errors import Refused
from tidings.logging import logger

_log = logger("tidings.gateway.media")

_MIB = 1024 * 1024
# A thumbnail has at most 320 x 320 pixels, so 400 KiB without any compression.
MAX_ANSWER_BYTES = _MIB
# What a rewritten file may have more than the original: an EXIF of one tag.
MORE_BYTES = 4096
READY = b"ready\n"
# A tenth of the gateway's share of a busy core, so that connections come first.
NICENESS = 10
# Killing takes milliseconds, also on a machine that swaps.
_END_SECONDS = 5
_CHILD = "services.gateway.media.image_child"


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits for each child, and for how many there are."""

    # Measured for 25 megapixels: a WebP of 67 MB with alpha takes between 448 and 512 MiB, every other format less than
    # 320. The interpreter with Pillow is part of it. `at_most` times this has to fit into the container.
    memory_bytes: int = 512 * _MIB
    # Measured for 25 megapixels: the slowest image takes 2.2 s.
    cpu_seconds: int = 10
    # More than the processor time, because the gateway comes first on a busy machine.
    wall_seconds: float = 30
    # As many as the gateway's container has cores.
    at_most: int = 2
    # How long an image waits for its turn, before the client has to retry.
    wait_seconds: float = 20


@dataclass(frozen=True, slots=True)
class ExaminedImage:
    """Sides are in pixels, with the orientation applied. `size` is that of the rewritten file in bytes."""

    width: int
    height: int
    content_type: str
    thumb: bytes
    size: int


class _Facts(msgspec.Struct, frozen=True):
    """The child's line of JSON: a refusal, if it has a code."""

    code: str = ""
    text: str = ""
    content_type: str = ""
    width: int = 0
    height: int = 0
    size: int = 0


class ImageExaminer:
    """Runs at most `limits.at_most` children at once."""

    def __init__(self, limits: ImageLimits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.at_most)

    async def examine(self, path: Path) -> ExaminedImage:
        """Check the image in `path`, and replace the file by one without metadata. Takes 0.2 to 2 s.

        Raises Refused(`invalid_body`) for an image that is broken, too large, or beyond what the limits can decode.
        Raises Refused(`unavailable`) if all places stay taken, or the machine has no memory, process or disk space.
        The file is then unchanged. A child never outlives this call, also not if the caller is cancelled.
        """
        stripped = path.with_name(f"{path.name}.stripped")
        async with self._place():
            try:
                image = await self._examined(path, stripped)
                os.replace(stripped, path)
            except OSError as error:
                _log.warning("an image's files cannot be opened", reason=str(error))
                raise _unavailable("the machine has no room to store the image") from error
            finally:
                stripped.unlink(missing_ok=True)
        return image

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                await self._places.acquire()
        except TimeoutError:
            raise _unavailable("other images are being decoded") from None
        try:
            yield
        finally:
            self._places.release()

    async def _examined(self, path: Path, stripped: Path) -> ExaminedImage:
        # Local files, opened and closed within microseconds.
        with path.open("rb") as source, stripped.open("w+b") as target:
            output = await self._output(source, target)
        return _image(output)

    async def _output(self, source: BinaryIO, target: BinaryIO) -> bytes:
        """What a child writes. Raises Refused."""
        process = await self._started(source, target)
        output = bytearray()
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                await _read(process, output)
                status = await process.wait()
        except TimeoutError:
            status = None
        finally:
            await _end(process)
        metrics.IMAGE_PROCESSES.labels(_outcome(status, is_ready=output.startswith(READY))).inc()
        if status == 0:
            return bytes(output)
        _log.warning("an image's process failed", status=status, is_ready=output.startswith(READY))
        if not output.startswith(READY) and status is not None:
            raise _unavailable("the process that decodes images does not start")
        raise _undecodable()

    async def _started(self, source: BinaryIO, target: BinaryIO) -> Process:
        limits = self._limits
        numbers = (
            limits.memory_bytes,
            limits.cpu_seconds,
            os.fstat(source.fileno()).st_size + MORE_BYTES,
            int(limits.wall_seconds) + 2,  # only for a child without a parent
            target.fileno(),
        )
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *(sys.executable, "-s", "-S", "-P", "-m", _CHILD),
                *map(str, numbers),
                stdin=source,
                stdout=PIPE,
                stderr=DEVNULL,
                env=_environment(),
                pass_fds=(target.fileno(),),
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # uvloop does not end a process whose start is cancelled. So the start ends first, and then the process.
            starting.add_done_callback(_kill_started)
            with suppress(OSError):
                await _end(await asyncio.shield(starting))
            raise
        except OSError as error:
            metrics.IMAGE_PROCESSES.labels("not_started").inc()
            _log.warning("an image's process does not start", reason=str(error))
            raise _unavailable("the machine has no room for the process that decodes images") from error
        _lower_priority(process.pid)
        return process


def _outcome(status: int | None, *, is_ready: bool) -> str:
    """Of a process, for the metric. A status of None: it ran out of time."""
    if status is None:
        return "timed_out"
    if status == 0:
        return "answered"
    return "failed" if is_ready else "not_started"


def _lower_priority(pid: int) -> None:
    """Let other processes go first from the child's begin on: its imports take longer than most images.

    With autogroups, each session is a group, and niceness counts only inside it (sched(7)), so the group gets it, too.
    Not every kernel has autogroups. One change every 0.1 s is allowed, so the child tries it again.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19))
    with suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(NICENESS))


def _kill_started(starting: asyncio.Future[Process]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        _kill(starting.result())


def _environment() -> dict[str, str]:
    """No secret of the gateway. With these paths the child starts without `site`, which takes 30 ms."""
    pillow = find_spec("PIL")
    assert pillow is not None
    assert pillow.origin is not None
    paths = (Path(__file__).parents[3], Path(pillow.origin).parents[1])
    return {"PYTHONPATH": os.pathsep.join(map(str, paths))}


async def _read(process: Process, output: bytearray) -> None:
    """Read up to the end. A child that writes more than an answer ends here, and with `_end`."""
    assert process.stdout is not None
    while piece := await process.stdout.read(64 * 1024):
        output += piece
        if len(output) > MAX_ANSWER_BYTES:
            metrics.IMAGE_PROCESSES.labels("failed").inc()
            raise _undecodable()


def _kill(process: Process) -> None:
    """Kill the child's group if the child is not collected yet. Until then its number is given to no other group."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _end(process: Process) -> None:
    """Kill the child's group if it runs, and collect it."""
    _kill(process)
    assert process.stdout is not None
    # Both end at once, unless a process outside the group has kept the pipe.
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            while await process.stdout.read(64 * 1024):
                pass
            await process.wait()


def _image(output: bytes) -> ExaminedImage:
    line, _, thumb = output.removeprefix(READY).partition(b"\n")
    try:
        facts = msgspec.json.decode(line, type=_Facts)
    except msgspec.DecodeError:
        raise _undecodable() from None
    if facts.code == "unavailable":
        raise _unavailable(facts.text)
    if facts.code:
        raise Refused("invalid_body", facts.text)
    if facts.content_type not in IMAGE_TYPES or min(facts.width, facts.height, facts.size, len(thumb)) < 1:
        raise _undecodable()
    return ExaminedImage(facts.width, facts.height, facts.content_type, thumb, facts.size)


def _undecodable() -> Refused:
    return Refused("invalid_body", "this image cannot be decoded; save it again in an image editor")


def _unavailable(what: str) -> Refused:
    return Refused("unavailable", f"{what}; retry", retry_after_ms=1000)
