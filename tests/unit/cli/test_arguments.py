"""Arguments that no verb takes: exit code 2, before anything is sent."""

import re

import pytest

from tests.unit.cli.gateway import AS_ALICE, GROUP
from tests.unit.cli.shell import Shell


@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "not a user"),
        ("token", "alice", "--ttl", "86400000"),
        ("send", "--from", "alice", "--to", "b:ob", "hi"),
        ("tail", "--as", "alice", "--url", "localhost:8080"),
        *(("init", "--wait", bad) for bad in ("nan", "inf", "-1", "0", "1e9")),
        ("send", "--from", "alice", "--to", "bob", "hi", "--timeout", "nan"),
        ("where", "-1"),
        ("dlq", "show", "three"),
        ("nonsense",),
        ("group", "add", "team", "bob", *AS_ALICE),
        ("group", "remove", GROUP, "b ob", *AS_ALICE),
        ("receipts", "nonsense", "1", *AS_ALICE),
        ("send", "--from", "alice", "hi"),
        ("send", "--from", "alice", "--to", "bob", "--session", GROUP, "hi"),
        ("tail", "--as", "alice", "--session", "bob"),
    ],
)
def test_a_misuse_ends_with_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    assert shell.run(*arguments).code == 2


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "..."])
@pytest.mark.parametrize(
    "arguments",
    [
        ("token", "{}"),
        ("send", "--from", "{}", "--to", "bob", "x"),
        ("send", "--from", "alice", "--to", "{}", "x"),
        ("send", "--from", "alice", "--session", "g:{}", "x"),
        ("send", "--from", "alice", "--session", "d:{}:alice", "x"),
        ("tail", "--as", "{}"),
        ("chat", "--as", "{}"),
        ("chat", "--as", "alice", "--with", "{}"),
        ("sessions", "--as", "{}"),
        ("receipts", "--as", "alice", "d:{}:alice", "1"),
        ("group", "create", "--as", "alice", "team", "{}"),
        ("group", "add", "--as", "alice", "g:1", "{}"),
        ("group", "remove", "--as", "alice", "g:1", "{}"),
        ("group", "remove", "--as", "alice", "g:{}", "bob"),
        ("group", "members", "--as", "alice", "{}"),
    ],
)
def test_an_id_of_dots_alone_is_a_misuse(shell: Shell, arguments: tuple[str, ...], dots: str) -> None:
    ended = shell.run(*(argument.format(dots) for argument in arguments))
    assert ended.code == 2
    assert re.search(r"is not a valid (user id|session id|group id)", " ".join(ended.err.split()))
