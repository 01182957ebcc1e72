"""Log lines while a server is away: a few of each kind, and how many were left out."""

import json
import logging
import subprocess
import sys
import traceback
from collections.abc import Callable
from types import TracebackType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.log_limits import BURST_LINES, LINES_PER_S, LOGGER_BURST_LINES, LOGGER_LINES_PER_S, LineLimiter

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def record(text: object, *args: object, name: str = "aiokafka", level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, text, args or None, None)


@pytest.mark.field_case("38")
@settings(max_examples=30)
@given(per_s=st.integers(1, 9_000), seconds=st.integers(1, 20))
def test_lines_of_one_kind_are_bounded(per_s: int, seconds: int) -> None:
    clock = Clock()
    limiter = LineLimiter(clock)
    passed = 0
    for number in range(min(per_s * seconds, 20_000)):
        clock.now_s = number / per_s
        passed += limiter.filter(record("Unable connect to node with id %s: %s", number, "refused"))
    assert passed <= BURST_LINES + clock.now_s * LINES_PER_S + 1


def test_ever_new_texts_of_a_logger_are_bounded() -> None:
    clock = Clock()
    limiter = LineLimiter(clock)
    said = 0
    for number in range(20_000):
        clock.now_s = number / 2_000
        said += limiter.filter(record(f"no answer from {'abcdefghijklmnop'[number % 16]}{chr(97 + number // 16 % 26)}"))
    assert said <= LOGGER_BURST_LINES + 10 * LOGGER_LINES_PER_S + 1


def test_the_next_line_says_how_many_were_left_out() -> None:
    clock = Clock()
    limiter = LineLimiter(clock)
    for number in range(100):
        limiter.filter(record("node %d is away", number))
    clock.now_s = 10.0
    line = record("node %d is away", 7)
    assert limiter.filter(line)
    assert line.getMessage() == f"node 7 is away (and {100 - BURST_LINES} lines like it since the last)"
    ours = record({"event": "round repeated", "partition": "a-1"}, name="tidings.worker")
    assert limiter.filter(ours)
    assert ours.msg == {"event": "round repeated", "partition": "a-1"}


def test_kinds_do_not_silence_each_other() -> None:
    limiter = LineLimiter(Clock())
    while limiter.filter(record("one")):
        pass
    assert limiter.filter(record("another"))
    assert limiter.filter(record("one", name="cassandra.cluster"))
    assert limiter.filter(record("one", level=logging.ERROR))


def test_every_partition_that_stops_is_named() -> None:
    limiter = LineLimiter(Clock())
    lines = [
        record({"event": "partition stopped", "partition": f"t-{number}"}, name="tidings.worker", level=logging.ERROR)
        for number in range(96)
    ]
    assert all(limiter.filter(line) for line in lines)


def raising(error: Exception) -> ExcInfo:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def raising_elsewhere(error: Exception) -> ExcInfo:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def of_library(raised: ExcInfo) -> logging.LogRecord:
    return logging.LogRecord("uvicorn", logging.ERROR, "", 0, "a call failed", None, raised)


def of_ours(raised: ExcInfo) -> logging.LogRecord:
    assert raised[0] is not None
    lines = "".join(traceback.format_exception(*raised)).rstrip("\n")
    return record({"event": "a call failed", "exception": lines}, level=logging.ERROR)


@pytest.mark.parametrize("line", [of_library, of_ours])
def test_a_flood_of_one_bug_hides_no_other(line: Callable[[ExcInfo], logging.LogRecord]) -> None:
    limiter = LineLimiter(Clock())
    passed = [limiter.filter(line(raising(ValueError(f"{number}: what a user wrote\nE: x")))) for number in range(50)]
    assert sum(passed) == BURST_LINES
    assert limiter.filter(line(raising(KeyError("a"))))
    assert limiter.filter(line(raising_elsewhere(ValueError("another"))))


def test_a_process_limits_the_lines_of_libraries_and_its_own() -> None:
    program = """
from tidings import logging as ours
import logging
ours.configure("tried", "INFO", readable=False)
for number in range(5000):
    logging.getLogger("aiokafka").warning("Unable to update metadata from %s", [number])
    ours.logger("tidings.gateway").warning("the log cannot be read", number=number)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert 2 <= len(lines) <= 4 * BURST_LINES
