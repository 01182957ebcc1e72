"""Folders of one process each: a later process removes what a killed one left, and nothing else."""

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tidings.errors import ConfigurationError
from tidings.own_folder import own_folder

KILLED = """
import asyncio, os
from tidings.own_folder import own_folder
async def work():
    async with own_folder("", "TIDINGS_DIR") as folder:
        (folder / "copied.parquet").write_bytes(b"a message")
        os.kill(os.getpid(), 9)
asyncio.run(work())
"""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def killed(system: Path) -> None:
    ended = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, env={**os.environ, "TMPDIR": str(system)}
    )
    assert await ended.wait() == -9


def left(system: Path) -> list[Path]:
    return sorted(system.rglob("*.parquet"))


async def test_next_process_removes_what_a_killed_one_left(system: Path) -> None:
    async with own_folder("", "TIDINGS_DIR") as living:
        (living / "living.parquet").touch()
        await killed(system)
        assert len(left(system)) == 2
        async with own_folder("", "TIDINGS_DIR") as folder:
            assert left(system) == [living / "living.parquet"]
            assert list(folder.iterdir()) == []
    assert left(system) == []


async def test_folder_of_the_system_is_closed_to_other_users(system: Path) -> None:
    async with own_folder("", "TIDINGS_DIR") as folder:
        assert folder.parent.parent == system
        assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


async def test_links_of_others_are_not_followed(system: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "precious").touch()
    (system / "shared").mkdir()
    (system / "shared" / "process-link").symlink_to(elsewhere)
    async with own_folder(str(system / "shared"), "TIDINGS_DIR"):
        assert (elsewhere / "precious").exists()
    (system / f"tidings-{os.geteuid()}").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="TIDINGS_DIR"):
        async with own_folder("", "TIDINGS_DIR"):
            pytest.fail("it is another's")


@pytest.mark.parametrize("folder", ["file", "file/below", "/proc/none"])
async def test_folder_that_cannot_be_used_names_its_variable(system: Path, folder: str) -> None:
    (system / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^TIDINGS_DIR: .* cannot be used as a folder"):
        async with own_folder(str(system / folder), "TIDINGS_DIR"):
            pytest.fail("there is none")
