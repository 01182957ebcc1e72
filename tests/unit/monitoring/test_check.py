"""What `python -m deploy.monitoring.check` refuses, one planted fault at a time."""

import shutil
from pathlib import Path

import pytest

from deploy.monitoring.check import anchors_of, problems
from deploy.monitoring.rule_files import RULES


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of the rules that a test may break."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def test_the_rules_as_they_are_have_no_problem() -> None:
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
