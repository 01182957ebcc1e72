"""Runs the archiver as a process, and measures its rate and its memory."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import usage
from deploy.local.stack import Stack
from tidings.cold.listing import pages
from tidings.runtime.start import started
from tidings.store.archive_tables import Shard
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_archive import CassandraArchiveTables
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.cassandra_session import DriverSession

EPOCH = "1"
# In the stack's block, above its other ports (deploy/local/ports.py).
_ADMIN_ABOVE_RECEIPTS = 5
_SAMPLE_S = 0.02
_LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Moved:
    """Cold segments and their messages, and the bytes of all objects."""

    segments: int
    messages: int
    object_bytes: int


class ArchiverRun:
    """One run. `rules`: settings of TIDINGS_ARCHIVE_* in lower case."""

    def __init__(self, stack: Stack, **rules: object) -> None:
        """Start it."""
        self._work_dir = stack.run_dir
        settings = {
            "TIDINGS_KAFKA_BOOTSTRAP": stack.bootstrap,
            "TIDINGS_KAFKA_EPOCH": EPOCH,
            "TIDINGS_CASSANDRA_PORT": str(stack.ports.cassandra),
            "TIDINGS_MEDIA_STORE_URL": f"file:{stack.media_dir}",
            "TIDINGS_ADMIN_PORT": str(stack.ports.receipts_admin + _ADMIN_ABOVE_RECEIPTS),
            "TIDINGS_ARCHIVE_WORK_DIR": str(self._work_dir),
            **{f"TIDINGS_ARCHIVE_{name.upper()}": str(value) for name, value in rules.items()},
        }
        self._log = (stack.run_dir / "archiver.log").open("ab")
        self._begun = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.persister.archive"],
            env={**os.environ, **settings},
            stdout=self._log,
            stderr=self._log,
        )

    def wait_begun(self) -> None:
        """Wait until it has something to move. Raises RuntimeError if it ends before."""
        while not any(self._work_dir.glob("process-*/*.parquet")):
            if self._process.poll() is not None:
                raise RuntimeError(f"the archiver ended with {self._process.returncode}; see {self._log.name}")
            time.sleep(_SAMPLE_S)

    def wait(self) -> dict[str, Any]:
        """Wait for its end. Raises RuntimeError if it fails."""
        peak_kib, cpu_s = 0, 0.0
        while self._process.poll() is None:
            peak_kib = max(peak_kib, self._peak_kib())
            cpu_s = max(cpu_s, self._cpu_s())
            if time.monotonic() - self._begun > _LONGEST_S:
                self.stop()
            time.sleep(_SAMPLE_S)
        took_s = time.monotonic() - self._begun
        self._log.close()
        if self._process.returncode:
            raise RuntimeError(f"the archiver ended with {self._process.returncode}; see {self._log.name}")
        return {"took_s": round(took_s, 2), "cpu_s": round(cpu_s, 2), "peak_resident_mib": round(peak_kib / 1024, 1)}

    def stop(self) -> None:
        """End it early, as an operator does."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def _cpu_s(self) -> float:
        try:
            return usage(self._process.pid).cpu_s
        except OSError:
            return 0.0

    def _peak_kib(self) -> int:
        """Linux keeps the highest value, so only the last sample matters."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        return int(found[0]) if found else 0


def moved(stack: Stack, month: int) -> Moved:
    """What of a month is cold."""
    return asyncio.run(_moved(stack, month, brings_back=False))


def bring_back(stack: Stack, month: int) -> Moved:
    """Make all cold segments of a month hot again, whose hot rows are kept. Returns what was cold."""
    return asyncio.run(_moved(stack, month, brings_back=True))


async def _moved(stack: Stack, month: int, *, brings_back: bool) -> Moved:
    config = CassandraConfig(hosts=("127.0.0.1",), port=stack.ports.cassandra)
    session = DriverSession(config)
    tables = CassandraArchiveTables(session)
    segments = messages = 0
    keys: set[str] = set()
    async with started(CassandraStore(config, session)):
        for shard in _of_month(await tables.indexed_shards(), month):
            async for page in pages(tables, shard):
                for one in page:
                    if one.segment.cold is None:
                        continue
                    segments, messages = segments + 1, messages + one.segment.cold.rows
                    keys.add(one.segment.cold.object_key)
                    if brings_back:
                        await tables.set_cold(one.name, None)
                        await tables.unmark(one.row)
    size = sum((stack.media_dir / key).stat().st_size for key in keys)
    return Moved(segments, messages, size)


def _of_month(shards: Sequence[Shard], month: int) -> list[Shard]:
    return [shard for shard in shards if shard.month == month]
