"""Fetches the jars of Kafka and Cassandra once, with the ordinary Maven client.

There are two poms, because the servers need different logging backends. One small agent is compiled here.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

POMS = Path(__file__).parent / "jars"
AGENT_SOURCE = Path(__file__).parent / "agent" / "QuietWorkers.java"
FETCH_TIMEOUT_S = 600
COMPILE_TIMEOUT_S = 120


class JarsMissing(Exception):
    """The jars could not be fetched. The text gives the cause and what to do."""


def missing_tools() -> list[str]:
    """The programs that the real servers need and this machine does not have."""
    return [name for name in ("java", "mvn") if shutil.which(name) is None]


def jars(server: str, cache: Path) -> Path:
    """The directory with the jars of "kafka" or "cassandra". The first call blocks for the download.

    Several processes may call it at the same time. Raises JarsMissing.
    """
    pom = POMS / server / "pom.xml"
    directory = cache / f"{server}-{sha256(pom.read_bytes()).hexdigest()[:12]}"
    with locked(cache):
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


def quiet_workers(cassandra_jars: Path, cache: Path) -> Path | None:
    """The agent that stops Cassandra's workers from spinning, compiled once. None without a compiler."""
    jar = cache / f"quiet-workers-{sha256(AGENT_SOURCE.read_bytes()).hexdigest()[:12]}.jar"
    if shutil.which("javac") is None or shutil.which("jar") is None:
        return None
    with locked(cache):
        if not jar.exists():
            _compile(cassandra_jars, jar)
    return jar


def _compile(cassandra_jars: Path, jar: Path) -> None:
    with TemporaryDirectory(dir=jar.parent) as scratch:
        manifest, classes, partial = Path(scratch, "manifest"), Path(scratch, "classes"), Path(scratch, "agent.jar")
        manifest.write_text(f"Premain-Class: {AGENT_SOURCE.stem}\n")
        compiled = ["javac", "--release", "17", "-cp", f"{cassandra_jars}/*", "-d", str(classes), str(AGENT_SOURCE)]
        packed = ["jar", "cfm", str(partial), str(manifest), "-C", str(classes), "."]
        for command in (compiled, packed):
            done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
            if done.returncode != 0:
                raise JarsMissing(f"{command[0]} could not build {AGENT_SOURCE}:\n{done.stdout}{done.stderr}")
        os.replace(partial, jar)


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it while the block runs."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
