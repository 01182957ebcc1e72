"""`tidings seed`: what it refuses before it reaches a server."""

import pytest

from tests.unit.cli.shell import Shell


def test_seed_is_refused_outside_development(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIDINGS_DEVELOPMENT", raising=False)
    for arguments in ((), ("--restore",)):
        ended = shell.run("seed", *arguments)
        assert ended.code == 2
        assert "set TIDINGS_DEVELOPMENT=true" in ended.err


@pytest.mark.parametrize(
    "arguments", [("--prefix", "a b"), ("--prefix", "x" * 33), ("--months", "0"), ("--users", "1")]
)
def test_arguments_that_do_not_fit_are_refused(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.run("seed", *arguments).code == 2
