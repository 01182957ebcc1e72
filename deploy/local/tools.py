"""Finds `prometheus` and `promtool`: on the path, or in Debian's package, which is unpacked without being installed."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.downloads import locked
from deploy.local.process import ROOT

PACKAGE = "prometheus"
# Next to the jars. Tests of several worktrees may share it.
DEFAULT_TOOLS_CACHE = Path(os.environ.get("TIDINGS_TOOLS_DIR", ROOT / ".run" / "tools"))
# The package has 20 MB.
DOWNLOAD_TIMEOUT_S = 120
UNPACK_TIMEOUT_S = 60


class ToolMissing(Exception):
    """A program is not on the path, and could not be fetched. The text gives the reason and what to do."""


def tool(name: str, cache: Path = DEFAULT_TOOLS_CACHE) -> Path:
    """The program `name` of Debian's package `prometheus`. The first call may block for the download.

    Several processes may call it at the same time. Raises ToolMissing.
    """
    on_path = shutil.which(name)
    if on_path is not None:
        return Path(on_path)
    unpacked = cache / PACKAGE
    with locked(cache):
        if not unpacked.is_dir():
            _fetch(unpacked)
    program = unpacked / "usr" / "bin" / name
    if not program.is_file():
        raise ToolMissing(f"{name} is neither on the path nor in Debian's package {PACKAGE}: install it")
    return program


def _fetch(unpacked: Path) -> None:
    with TemporaryDirectory(dir=unpacked.parent) as scratch:
        # apt-get downloads into the current folder, and needs no root for it.
        _run(["apt-get", "download", PACKAGE], scratch, DOWNLOAD_TIMEOUT_S)
        (package,) = Path(scratch).glob("*.deb")
        _run(["dpkg-deb", "-x", package.name, "unpacked"], scratch, UNPACK_TIMEOUT_S)
        os.replace(Path(scratch, "unpacked"), unpacked)


def _run(command: list[str], folder: str, timeout_s: float) -> None:
    advice = f"install {PACKAGE}, or put its programs on the path"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(f"`{' '.join(command)}` failed ({error}); {advice}") from error
    if done.returncode != 0:
        raise ToolMissing(f"`{' '.join(command)}` failed; {advice}:\n{done.stderr[-1000:]}")
