"""The table of log lines is read from the code, so each line's text and fields stand where it is logged."""

from pathlib import Path

import pytest

from scripts.log_events import LogEvent, events

_MODULE = """
from tidings.logging import logger
_log = logger("tidings.here")
"""


def tree(tmp_path: Path, code: str) -> Path:
    for package in ("services", "tidings"):
        (tmp_path / package).mkdir()
    (tmp_path / "tidings" / "here.py").write_text(code)
    return tmp_path


def test_a_line_has_its_text_level_logger_and_fields(tmp_path: Path) -> None:
    code = _MODULE + "_log.exception(f'{_LIMIT} reached', partition=1, reason='x')\n"
    assert events(tree(tmp_path, code)) == [
        LogEvent("tidings.here", "{limit} reached", "error", ("partition", "reason"))
    ]


@pytest.mark.parametrize(
    "code",
    [
        _MODULE + "_log.info(text)",
        _MODULE + "_log.info('said', **fields)",
        "import logging\n_log = logging.getLogger('x')\n_log.info('said')",
    ],
)
def test_a_line_that_the_table_cannot_show_is_an_error(code: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line|logger"):
        events(tree(tmp_path, code))


def test_fields_of_one_meaning_have_one_name() -> None:
    names = {name for event in events() for name in event.fields}
    assert not names & {"error", "why", "cause", "session", "user", "key"}
    assert {"reason", "session_id", "partition"} <= names
