"""`tidings history`."""

import re

import pytest

from tests.unit.cli.gateway import AS_ALICE, Gateway
from tests.unit.cli.histories import SESSION, Served, message
from tests.unit.cli.shell import Shell

TEN = [message(seq) for seq in range(1, 11)]
PLACE = ("--session", SESSION)


def printed(out: str) -> list[int]:
    return [int(seq) for seq in re.findall(r" #(\d+) bob: n\1\n", out)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), list(range(1, 11))),
        (("--limit", "4"), [7, 8, 9, 10]),
        (("--limit", "1"), [10]),
        (("--limit", "1000"), list(range(1, 11))),
        (("--limit", "2", "--all"), list(range(1, 11))),
        (("--at", "2026-03-01T17:00:00Z", "--limit", "4"), [5, 6, 7, 8]),
        (("--at", "2026-03-01T19:30:00+00:00", "--all"), [8, 9, 10]),
        (("--at", "1999-01-01", "--limit", "1"), [1]),
    ],
)
def test_the_wanted_messages_are_printed_oldest_first(
    shell: Shell, gateway: Gateway, options: tuple[str, ...], expected: list[int]
) -> None:
    gateway.answer = Served(TEN)
    ended = shell.run("history", *AS_ALICE, *PLACE, *options)
    assert (ended.code, printed(ended.out)) == (0, expected)


def test_a_line_has_the_day_and_the_time(shell: Shell, gateway: Gateway) -> None:
    gateway.answer = Served([message(1, kind="custom", body={"type": "x"})])
    ended = shell.run("history", *AS_ALICE, *PLACE)
    expected = rf'2026-03-0\d \d\d:\d\d:\d\d[+-]\d\d:\d\d {SESSION} #1 bob: \[custom\] {{"type": "x"}}\n'
    assert re.fullmatch(expected, ended.out)


def test_a_page_no_longer_than_the_limit_is_read(shell: Shell, gateway: Gateway) -> None:
    gateway.answer = served = Served(TEN, most=200)
    shell.run("history", *AS_ALICE, *PLACE, "--limit", "3")
    assert served.calls == [{"limit": "1"}, {"limit": "200", "after_seq": "7"}]


def test_an_empty_history_says_so(shell: Shell, gateway: Gateway) -> None:
    gateway.answer = Served([])
    assert shell.run("history", *AS_ALICE, *PLACE) == (0, "no messages\n", "")
    gateway.answer = Served(TEN)
    assert shell.run("history", *AS_ALICE, *PLACE, "--at", "2027-01-01") == (0, "no messages\n", "")


def test_a_session_of_others_is_one_line(shell: Shell, gateway: Gateway) -> None:
    gateway.answer = Served(TEN, fails_at=1)
    ended = shell.run("history", *AS_ALICE, *PLACE)
    assert (ended.code, ended.out) == (1, "")
    assert re.fullmatch(r"error: 404 session_not_found: [^\n]+\n", ended.err)


@pytest.mark.parametrize("time", ["yesterday", "1969-01-01", "2026-13-01", ""])
def test_a_wrong_time_is_refused(shell: Shell, time: str) -> None:
    ended = shell.run("history", *AS_ALICE, *PLACE, "--at", time)
    assert ended.code == 2
    assert "--at" in ended.err
