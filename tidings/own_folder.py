"""Files of one process that a later process removes if this one is killed.

Each process has a sub-folder of its own and holds a lock on it, which ends with the process. A process id would not do,
because all processes with a container of their own have the same one.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tidings.errors import ConfigurationError
from tidings.logging import logger

_FOLDER_PREFIX = "process-"

_log = logger("tidings.own_folder")


class OwnFolder:
    """The sub-folder of this process, and the lock on it."""

    def __init__(self, folder: Path) -> None:
        """Make it, and remove those of dead processes. `folder` is made, too. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):  # another process that starts would see the new folder before its lock
            for other in folder.glob(f"{_FOLDER_PREFIX}*"):
                _remove_if_dead(other)
            self.path = Path(tempfile.mkdtemp(prefix=_FOLDER_PREFIX, dir=folder))
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the folder and end the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@contextlib.asynccontextmanager
async def own_folder(folder: str, variable: str) -> AsyncIterator[Path]:
    """A folder of this process while the block runs, below `folder`, or below the system's folder if that is empty.

    Raises ConfigurationError, which names the variable.
    """
    try:
        own = await asyncio.to_thread(lambda: OwnFolder(Path(folder) if folder else _of_system()))
    except OSError as error:
        place = folder or tempfile.gettempdir()
        raise ConfigurationError(f"{variable}: {place} cannot be used as a folder: {error}") from error
    try:
        yield own.path
    finally:
        await asyncio.to_thread(own.remove)


def _of_system() -> Path:
    """A folder of this user in the system's folder for temporary files, which all users can write to. Raises OSError.

    Another user's lock on a folder of theirs, or a link to another place, must neither hold nor mislead this process.
    """
    folder = Path(tempfile.gettempdir()) / f"tidings-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(f"{folder} belongs to another user, or is no folder")
    folder.chmod(0o700)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_if_dead(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    except BlockingIOError:
        return  # its process lives
    except OSError as error:
        _log.warning("files of another process cannot be removed", folder=str(folder), reason=str(error))
    finally:
        os.close(descriptor)
