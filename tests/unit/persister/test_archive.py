"""The settings of the archiver, and its start."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path

import pytest

from services.persister import archive
from services.persister.archive import ArchiverSettings, rules_of
from tidings.cold.rules import ArchiveRules
from tidings.errors import ConfigurationError
from tidings.runtime.reading_settings import read_settings
from tidings.runtime.settings import ArchiveSettings
from tidings.runtime.start import ServerAway, patiently_for


def test_defaults_of_settings_are_those_of_the_rules() -> None:
    assert rules_of(ArchiveSettings()) == ArchiveRules()


def test_rules_have_every_setting_but_the_folder() -> None:
    settings = ArchiveSettings(
        hot_days=1, hot_copy_days=2, retention_days=120, messages_per_s=5, object_bytes=70_000, work_dir="/a"
    )
    wanted = ArchiveRules(1, 2, 120, 5, 70_000, is_dry_run=True)
    assert rules_of(settings, is_dry_run=True) == wanted


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TIDINGS_ARCHIVE_HOT_DAYS", "-1"),
        ("TIDINGS_ARCHIVE_RETENTION_DAYS", "89"),
        ("TIDINGS_ARCHIVE_OBJECT_BYTES", "1"),
        ("TIDINGS_MEDIA_STORE_URL", "ftp://a"),
    ],
)
def test_settings_that_do_not_fit_name_their_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        read_settings(ArchiverSettings)


@pytest.mark.timeout(30)
def test_service_ends_with_1_without_its_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that waits without end is not seen."""

    def run(_name: str, _process: object, main: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> None:
        asyncio.run(main(asyncio.Event()))

    monkeypatch.setattr(archive, "SERVERS_S", 0.3)
    monkeypatch.setattr("tidings.runtime.lifecycle.run_service", run)
    monkeypatch.setenv("TIDINGS_CASSANDRA_PORT", "1")
    monkeypatch.setenv("TIDINGS_ADMIN_PORT", "0")
    with pytest.raises(ServerAway, match=r"Cassandra at 127\.0\.0\.1, port 1"):
        archive.main()


async def test_work_folder_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TIDINGS_MEDIA_STORE_URL", f"file:{tmp_path}")
    monkeypatch.setenv("TIDINGS_ARCHIVE_WORK_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="TIDINGS_ARCHIVE_WORK_DIR"):
        async with archive.workplace(ArchiverSettings(), patiently_for(1)):
            pytest.fail("it has no folder")


async def test_workplace_removes_what_a_killed_archiver_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    left = tmp_path / "work" / "process-killed" / "copied.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"a message")
    monkeypatch.setenv("TIDINGS_MEDIA_STORE_URL", f"file:{tmp_path}")
    monkeypatch.setenv("TIDINGS_ARCHIVE_WORK_DIR", str(tmp_path / "work"))

    async def patience(*_: object) -> None:
        assert not left.exists()

    async with archive.workplace(ArchiverSettings(), patience) as place:
        assert place.work_dir.parent == tmp_path / "work"
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.timeout(30)
async def test_workplace_without_the_log_needs_no_broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIDINGS_MEDIA_STORE_URL", f"file:{tmp_path}")
    begun: list[str] = []

    async def patience(_: Callable[[], Awaitable[None]], server: str) -> None:
        begun.append(server.split()[0])

    async with archive.workplace(ArchiverSettings(), patience, uses_log=False):
        assert set(begun) == {"Cassandra"}
