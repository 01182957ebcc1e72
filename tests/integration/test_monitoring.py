"""A real Prometheus scrapes a real stack: every expression of rules and dashboards has an answer."""

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.process import ROOT
from deploy.local.stack import Counts, Stack
from deploy.local.tools import ToolMissing, tool
from deploy.monitoring.boards import BOARDS
from deploy.monitoring.expressions import selectors_of, series_of
from deploy.monitoring.rule_files import rules
from tests.servers import Stacks

# Series that this stack does not show, with the reason.
NOT_HERE = {
    "tidings_archived_segments_total": "the archiver is a job of its own",
    "tidings_archived_messages_total": "the archiver is a job of its own",
    "tidings_archived_bytes_total": "the archiver is a job of its own",
    "tidings_archive_stuck_segments": "the archiver is a job of its own",
    "tidings_audit_findings": "`make up` starts no auditor",
    "tidings_audit_unseen_places": "`make up` starts no auditor",
    "tidings_audit_rows_total": "`make up` starts no auditor",
    "tidings_audit_last_pass_timestamp_seconds": "`make up` starts no auditor",
}
# Ranges of panels hold two scrapes at least, which come every 5 s.
RATE_INTERVAL = "1m"
# Two scrapes, two evaluations of the recording rules, and the wait of a busy machine.
ANSWERS_WITHIN_S = 120.0
PANELS = {query.expr for board in BOARDS for panel in board.panels for query in panel.queries}
RULES = rules()


@pytest.fixture(scope="module")
def watched(stacks: Stacks) -> Iterator[Stack]:
    """A stack with Prometheus, after a message and its answer."""
    try:
        tool("prometheus")
    except ToolMissing as error:
        pytest.skip(str(error))
    stack = stacks.make("watched", Counts(monitoring=1))
    stack.up()
    send = [sys.executable, "-m", "cli", "send", "--url", stack.url(), "--from", "alice", "--to", "echo"]
    subprocess.run([*send, "--until", "answer", "hello"], cwd=ROOT, timeout=120, check=True, capture_output=True)
    yield stack
    stack.down(gently=False)


def ask(stack: Stack, path: str, **parameters: str) -> Any:
    """The data of an answer. Raises HTTPError for an expression that cannot be evaluated."""
    url = f"http://127.0.0.1:{stack.ports.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)["data"]


def unanswered(stack: Stack, exprs: set[str]) -> set[str]:
    """The expressions whose result stays empty."""
    deadline, empty = time.monotonic() + ANSWERS_WITHIN_S, exprs
    while empty and time.monotonic() < deadline:
        found = {expr: ask(stack, "query", query=expr.replace("$__rate_interval", RATE_INTERVAL)) for expr in empty}
        empty = {expr for expr, data in found.items() if not data["result"]}
        time.sleep(1)
    return empty


def is_here(expr: str) -> bool:
    """Whether an expression needs nothing of NOT_HERE."""
    return not series_of(expr) & NOT_HERE.keys()


@pytest.mark.timeout(600)
def test_every_panel_has_an_answer(watched: Stack) -> None:
    assert unanswered(watched, {expr for expr in PANELS if is_here(expr)}) == set()


def test_every_series_of_every_rule_has_an_answer(watched: Stack) -> None:
    """The rules themselves are empty while all is well, because they compare."""
    selectors = {selector for rule in RULES if is_here(rule.expr) for selector in selectors_of(rule.expr)}
    assert len(selectors) > 30
    assert unanswered(watched, selectors) == set()


def test_series_that_are_not_here_are_truly_not_here(watched: Stack) -> None:
    for series in NOT_HERE:
        assert ask(watched, "query", query=series)["result"] == []


def test_prometheus_evaluates_every_rule(watched: Stack) -> None:
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    health: dict[str, str] = {}
    while set(health.values()) != {"ok"} and time.monotonic() < deadline:
        groups = ask(watched, "rules")["groups"]
        health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        time.sleep(1)
    assert health == {rule.name: "ok" for rule in RULES}


def test_an_alert_follows_a_process_that_ends(watched: Stack) -> None:
    assert "TidingsReceiptsAbsent" not in states(watched)
    assert states(watched)["TidingsWatchdog"] == "firing"
    watched.kill("receipts-0")
    deadline = time.monotonic() + ANSWERS_WITHIN_S
    while "TidingsReceiptsAbsent" not in states(watched) and time.monotonic() < deadline:
        time.sleep(1)
    assert states(watched)["TidingsReceiptsAbsent"] == "pending"
    watched.start("receipts-0")
    watched.wait_ready(["receipts-0"])
    while "TidingsReceiptsAbsent" in states(watched) and time.monotonic() < deadline:
        time.sleep(1)
    assert "TidingsReceiptsAbsent" not in states(watched)


def states(stack: Stack) -> dict[str, str]:
    """The alerts that are pending or fire."""
    return {alert["labels"]["alertname"]: alert["state"] for alert in ask(stack, "alerts")["alerts"]}
