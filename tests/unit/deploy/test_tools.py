"""Where programs of Debian's package come from, with scripts in place of apt-get and dpkg-deb."""

from pathlib import Path

import pytest

from deploy.local.tools import ToolMissing, tool

APT = '#!/bin/sh\necho "$@" >> "$CALLS"\ntouch prometheus_1_all.deb\n'
DPKG = '#!/bin/sh\nmkdir -p "$3/usr/bin"\necho "program" > "$3/usr/bin/promtool"\n'
# For the scripts themselves.
SYSTEM = "/usr/bin:/bin"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on the path. Calls of apt-get are in the file `calls`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{SYSTEM}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return folder


def script(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_a_program_on_the_path_is_not_fetched(path: Path, tmp_path: Path) -> None:
    script(path, "promtool", "#!/bin/sh\n")
    script(path, "apt-get", APT)
    assert tool("promtool", tmp_path / "tools") == path / "promtool"
    assert not (tmp_path / "calls").exists()


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of the package is on the path, whatever this machine has."""
    monkeypatch.setattr("deploy.local.tools.shutil.which", lambda name: None)


@pytest.mark.usefixtures("absent")
def test_a_package_is_fetched_once(path: Path, tmp_path: Path) -> None:
    script(path, "apt-get", APT)
    script(path, "dpkg-deb", DPKG)
    first = tool("promtool", tmp_path / "tools")
    assert first.read_text() == "program\n"
    assert tool("promtool", tmp_path / "tools") == first
    assert (tmp_path / "calls").read_text() == "download prometheus\n"


@pytest.mark.usefixtures("absent")
def test_a_failed_download_names_its_reason(path: Path, tmp_path: Path) -> None:
    script(path, "apt-get", "#!/bin/sh\necho 'E: no package found' >&2\nexit 100\n")
    with pytest.raises(ToolMissing, match="no package found"):
        tool("promtool", tmp_path / "tools")
    script(path, "apt-get", APT)
    script(path, "dpkg-deb", DPKG)
    assert tool("promtool", tmp_path / "tools").is_file()


@pytest.mark.usefixtures("absent")
def test_a_system_without_apt_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match="install prometheus"):
        tool("promtool", tmp_path / "tools")


@pytest.mark.usefixtures("absent")
def test_a_program_that_the_package_lacks_is_named(path: Path, tmp_path: Path) -> None:
    script(path, "apt-get", APT)
    script(path, "dpkg-deb", DPKG)
    with pytest.raises(ToolMissing, match="amtool is neither"):
        tool("amtool", tmp_path / "tools")
