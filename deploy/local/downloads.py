"""Kafka and Cassandra as plain jars, fetched once with the ordinary Maven client.

Two poms, because the two want different logging backends.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

POMS = Path(__file__).parent / "jars"
FETCH_TIMEOUT_S = 600


class JarsMissing(Exception):
    """The jars could not be fetched; the text says why and what to do."""


def missing_tools() -> list[str]:
    """The programs this machine lacks to run the real servers."""
    return [name for name in ("java", "mvn") if shutil.which(name) is None]


def jars(server: str, cache: Path) -> Path:
    """The directory that holds the jars of "kafka" or "cassandra"; blocks for the download the first time.

    Safe to call from several processes at once. Raises JarsMissing.
    """
    pom = POMS / server / "pom.xml"
    directory = cache / f"{server}-{sha256(pom.read_bytes()).hexdigest()[:12]}"
    with _locked(cache):
        if not directory.is_dir():
            _fetch(pom, directory)
    return directory


def _fetch(pom: Path, directory: Path) -> None:
    if missing := missing_tools():
        raise JarsMissing(f"{' and '.join(missing)} not found: install JDK 17 and Maven, or use `make run EMBEDDED=1`")
    print(f"fetching the jars of {pom.parent.name} (once)", flush=True)
    partial = directory.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={partial}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=FETCH_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise JarsMissing(f"Maven could not fetch what {pom} lists:\n{done.stdout[-2000:]}")
    os.replace(partial, directory)


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
