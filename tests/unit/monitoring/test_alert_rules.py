"""promtool reads the rules, and runs each alert on the series of `tests/alert_cases.py`."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.tools import ToolMissing, tool
from deploy.monitoring.rule_files import Rule, rule_paths, rules
from tests.alert_cases import CASES, Case

ALERTS = {rule.name: rule for rule in rules() if rule.is_alert}
# Longer than any case, so that an alert that has fired at any time is found at the end.
FIRED = 'count_over_time(ALERTS{{alertname="{alert}",alertstate="firing"}}[1d])'


@pytest.fixture(scope="session")
def promtool() -> Path:
    """From the path, or from Debian's package."""
    try:
        return tool("promtool")
    except ToolMissing as error:
        pytest.skip(str(error))


def run(*command: str | Path) -> str:
    """The output of promtool. Fails if it finds a fault."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def as_test(case: Case) -> dict[str, Any]:
    """A case as promtool reads it."""
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    test: dict[str, Any] = {"interval": case.scrape, "input_series": series}
    if case.labels is None:
        fired = {"expr": FIRED.format(alert=case.alert), "eval_time": case.at, "exp_samples": []}
        return test | {"promql_expr_test": [fired]}
    alert = ALERTS[case.alert]
    expected = {
        "exp_labels": {**case.labels, **alert.labels},
        "exp_annotations": {name: rendered(text, case.labels) for name, text in alert.annotations.items()},
    }
    return test | {"alert_rule_test": [{"alertname": case.alert, "eval_time": case.at, "exp_alerts": [expected]}]}


def rendered(template: str, labels: Mapping[str, str]) -> str:
    """An annotation with its labels. KeyError for a label that the alert does not have."""
    return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], template)


def run_cases(promtool: Path, alert: str, paths: list[Path], folder: Path) -> None:
    """All cases of an alert, in a file for each time between scrapes, on the one file of rules that has the alert."""
    (own,) = [path for path in paths if f"- alert: {alert}\n" in path.read_text()]
    cases = [case for case in CASES if case.alert == alert]
    for scrape in sorted({case.scrape for case in cases}):
        tests = [as_test(case) for case in cases if case.scrape == scrape]
        file = folder / f"{scrape}.test.yaml"
        content = {"rule_files": [str(own)], "evaluation_interval": scrape, "tests": tests}
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        run(promtool, "test", "rules", file)


def test_promtool_reads_the_rules(promtool: Path) -> None:
    assert run(promtool, "check", "rules", "--lint=all", "--lint-fatal", *rule_paths()).count("SUCCESS") == 2


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_fires_on_its_series_alone(alert: str, promtool: Path, tmp_path: Path) -> None:
    run_cases(promtool, alert, rule_paths(), tmp_path)


def changed_rules(alert: Rule, before: str, after: str, folder: Path) -> list[Path]:
    """The rules with one change in the rule of an alert."""
    changed = []
    for path in rule_paths():
        head, name, rest = path.read_text().partition(f"- alert: {alert.name}\n")
        assert not name or before in rest
        changed.append(folder / path.name)
        changed[-1].write_text(head + name + rest.replace(before, after, 1))
    return changed


@pytest.mark.parametrize(
    ("alert", "before", "after"),
    [
        ("TidingsStageStalled", "> 30", "> 3000"),
        ("TidingsPartitionsNotOwned", "for: 2m", "for: 0m"),
        ("TidingsDeadLetters", "increase(tidings_dead_letters_total[10m])", "tidings_dead_letters_total"),
        ("TidingsHintsLost", "> 0.01", "> 0"),
        ("TidingsSendsUnanswered", "> 10", "> 0"),
        ("TidingsServerSilent", "{{ $labels.server }}", "{{ $labels.servers }}"),
    ],
)
def test_promtool_finds_a_broken_rule(alert: str, before: str, after: str, promtool: Path, tmp_path: Path) -> None:
    paths = changed_rules(ALERTS[alert], before, after, tmp_path)
    with pytest.raises(AssertionError, match="FAILED"):
        run_cases(promtool, alert, paths, tmp_path)
