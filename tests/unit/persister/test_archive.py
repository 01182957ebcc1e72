"""The settings of the archiver."""

import pytest

from services.persister.archive import ArchiverSettings, rules_of
from tidings.cold.rules import ArchiveRules
from tidings.errors import ConfigurationError
from tidings.runtime.reading_settings import read_settings
from tidings.runtime.settings import ArchiveSettings


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
