"""The program as a shell calls it, in the process of the test."""

import sys
from typing import NamedTuple

import pytest

from cli import main


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Shell:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, *arguments: str) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["tidings", *arguments])
        self._monkeypatch.delenv("TIDINGS_DEBUG", raising=False)
        self._monkeypatch.setattr("cli.app.configure_logging", lambda _: None)  # logging belongs to the whole test run
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(int(end.value.code or 0), *self._capsys.readouterr())
