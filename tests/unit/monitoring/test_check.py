"""What `python -m deploy.monitoring.check` refuses, one planted fault at a time."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.check import anchors_of, problems
from deploy.monitoring.generated import HERE
from deploy.monitoring.panels import Board, Panel, Query, Row
from deploy.monitoring.rule_files import RULES


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the rules that a test may break."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of deploy/monitoring that a test may break."""
    return Path(shutil.copytree(HERE, tmp_path / "monitoring", ignore=shutil.ignore_patterns("__pycache__", "*.py")))


def with_panel(*queries: str, look_for: str = "It stays low.") -> Sequence[Board]:
    """The dashboards, and one more that has a single panel."""
    panel = Panel("A panel", "short", look_for, [Query(query, "all") for query in queries])
    return [*BOARDS, Board("extra", "Extra", [Row("One", [panel])])]


def without_series(part: str) -> Sequence[Board]:
    """The dashboards without the panels that name a series."""
    return [
        Board(
            board.name, board.title, [Row("All", [panel for panel in board.panels if part not in str(panel.queries)])]
        )
        for board in BOARDS
    ]


def test_rules_and_dashboards_as_they_are_have_no_problem() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        ("alerts.yaml", "tidings_backlog_seconds", "tidings_backlog_minutes", "no series tidings_backlog_minutes"),
        ("alerts.yaml", 'state="stopped"', 'state="halted"', "no state 'halted'"),
        ("alerts.yaml", "max by (server)", "max by (servers)", "label servers"),
        ("alerts.yaml", "> 0.85", "> 0.85)", "not PromQL"),
        ("alerts.yaml", "expr: vector(1)", "expression: vector(1)", "not a file of rules"),
        ("alerts.yaml", "#dead-letters", "#dead-letter", "names no heading"),
        ("alerts.yaml", "docs/OPERATIONS.md#watchdog", "docs/LIMITS.md#watchdog", "names no heading"),
        ("alerts.yaml", "severity: none", "severity: low", "severity is none of"),
        ("alerts.yaml", "for: 30s", "keep_firing_for: 30s", "`for` is not set"),
        ("alerts.yaml", "summary: Alerts are evaluated.", "summary: ''", "has no summary"),
        ("alerts.yaml", "alert: TidingsClockSkew", "alert: TidingsLoopLag", "TidingsLoopLag is given twice"),
        (
            "slo.yaml",
            "acks_slow:ratio_rate3d >",
            "acks_slow:ratio_rate30d >",
            "no series tidings:acks_slow:ratio_rate30d",
        ),
        ("slo.yaml", 'le="1.0"', 'le="2.0"', "no le '2.0'"),
    ],
)
def test_a_planted_fault_is_named(rules: Path, file: str, before: str, after: str, message: str) -> None:
    path = rules / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    found = problems(rules)
    assert any(message in problem for problem in found), found


def test_a_heading_that_was_renamed_is_named(tmp_path: Path) -> None:
    page = tmp_path / "OPERATIONS.md"
    page.write_text("# Operations\n\n### Dead letters\n")
    found = problems(page=page)
    assert any("lag-grows" in problem for problem in found)
    assert not any("dead-letters" in problem for problem in found)


def test_anchors_are_those_of_a_hosted_page() -> None:
    assert anchors_of("# A, b\n## `c_d` E-f\ntext # no\n") == {"a-b", "c_d-e-f"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sum(rate(tidings_pushed_total[$__rate_interval]))", "no series tidings_pushed_total"),
        ('tidings_partitions{state="halted"}', "no state 'halted'"),
        ("sum by (service) (tidings_connections)", "label service"),
        ("sum(tidings_connections", "not PromQL"),
        ("stage:tidings_backlog_records:max", "no series stage:tidings_backlog_records:max"),
    ],
)
def test_a_planted_fault_in_a_panel_is_named(query: str, message: str) -> None:
    found = problems(boards=with_panel(query))
    assert any("dashboards/extra: A panel" in problem and message in problem for problem in found), found


def test_a_panel_without_a_sentence_or_a_query_is_named() -> None:
    found = problems(boards=with_panel(look_for=""))
    assert any("no sentence" in problem for problem in found)
    assert any("shows nothing" in problem for problem in found)


def test_a_metric_that_nothing_shows_is_named() -> None:
    unused = "tidings/metrics.py: no rule and no panel has tidings_session_lists_total"
    fewer = without_series("tidings_session_lists_total")
    assert unused in problems(boards=fewer)
    assert unused not in problems(boards=fewer, not_shown={"tidings_session_lists_total": "for a reason"})


@pytest.mark.parametrize("name", ["tidings_connections", "tidings_no_such_metric"])
def test_an_outdated_exception_is_named(name: str) -> None:
    assert any(f"NOT_SHOWN has {name}" in problem for problem in problems(not_shown={name: "for a reason"}))


def test_a_stale_dashboard_is_named(folder: Path) -> None:
    path = folder / "dashboards" / "overview.json"
    path.write_text(path.read_text().replace("Connections", "Users"))
    assert problems(folder=folder) == ["dashboards/overview.json: stale, run `make monitoring`"]


def test_a_missing_and_a_left_over_dashboard_are_named(folder: Path) -> None:
    (folder / "dashboards" / "overview.json").rename(folder / "dashboards" / "old.json")
    found = problems(folder=folder)
    assert len(found) == 2
    assert all("stale" in problem for problem in found)


def test_a_changed_rule_makes_the_operators_copy_stale(rules: Path) -> None:
    path = rules / "alerts.yaml"
    path.write_text(path.read_text().replace("for: 2m", "for: 3m", 1))
    assert problems(rules) == ["prometheus-rule.yaml: stale, run `make monitoring`"]


def test_a_dashboard_that_grafana_does_not_get_is_named(folder: Path) -> None:
    path = folder / "kustomization.yaml"
    path.write_text(path.read_text().replace("dashboards/fanout.json", "dashboards/fan-out.json"))
    assert problems(folder=folder) == [
        "kustomization.yaml: dashboards/fanout.json is not named",
        "kustomization.yaml: dashboards/fan-out.json is no dashboard",
    ]
