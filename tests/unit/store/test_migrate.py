"""What the migration files have to look like."""

import re
from pathlib import Path

import pytest

from tidings.errors import ConfigurationError
from tidings.store.migrate import Migration, migrations, newest_version


def test_the_projects_own_files_are_numbered_and_repeatable() -> None:
    found = migrations()
    assert newest_version() == len(found) >= 1
    for migration in found:
        assert all(re.search(r"IF (NOT )?EXISTS", statement) for statement in migration.statements)


def test_comments_are_no_statements() -> None:
    migration = Migration(1, "0001_x", "-- a; comment\nCREATE TABLE a (b int PRIMARY KEY);\n-- end;\n")
    assert migration.statements == ["CREATE TABLE a (b int PRIMARY KEY)"]


@pytest.mark.parametrize(
    "names", [["0002_a.cql"], ["0001_a.cql", "0003_b.cql"], ["0001_a.cql", "0001_b.cql"], ["1_a.cql"]]
)
def test_badly_numbered_files_are_refused(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("")
    with pytest.raises(ConfigurationError):
        migrations(tmp_path)
