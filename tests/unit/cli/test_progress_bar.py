"""The bar of long verbs: on a terminal, and only there."""

import sys

import pytest
from rich.progress import BarColumn, MofNCompleteColumn

from cli.progress_bar import progress_bar


@pytest.mark.parametrize(("is_terminal", "is_shown"), [("1", True), ("0", False)])
def test_bar_is_on_standard_error_of_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: str, is_shown: bool
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", is_terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal == "1", raising=False)
    with progress_bar(BarColumn(), MofNCompleteColumn()) as bar:
        bar.update(bar.add_task("", total=7), completed=3)
        bar.refresh()
    assert bar.disable is not is_shown
    shown = capsys.readouterr()
    assert ("3/7" in shown.err) is is_shown
    assert shown.out == ""
