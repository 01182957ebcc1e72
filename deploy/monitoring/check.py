"""Refuse rules that cannot work, without a Prometheus: `python -m deploy.monitoring.check`.

Every expression is parsed. Its series, labels and label values are those that `tidings/metrics.py` and
`tidings/metric_series.py` declare. Each alert leads to a heading of the runbook. Prints one line per problem, and
exits with 1 if there are any.
"""

import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import yaml

from deploy.monitoring.expressions import problems_of, series_of
from deploy.monitoring.rule_files import RULES, Rule, rules
from deploy.monitoring.vocabulary import Known, known_series

RUNBOOK = "docs/OPERATIONS.md"
PAGE = Path(__file__).resolve().parents[2] / RUNBOOK
# critical: act now; warning: act within a working day; none: only the watchdog.
SEVERITIES = {"critical", "warning", "none"}
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def problems(rules_folder: Path = RULES, page: Path = PAGE) -> list[str]:
    """One line per problem."""
    try:
        found = rules(rules_folder)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        return [f"{rules_folder.name}: not a file of rules: {error!r}"]
    known = known_series() | _recorded(found)
    anchors = anchors_of(page.read_text())
    return [
        *(f"{rule.place}: {problem}" for rule in found for problem in problems_of(rule.expr, known)),
        *(f"{rule.place}: {problem}" for rule in found if rule.is_alert for problem in _alert_problems(rule, anchors)),
        *_names_given_twice(found),
    ]


def _recorded(found: Collection[Rule]) -> dict[str, Known]:
    """The series that recording rules write, with the labels of the series that they read."""
    known = known_series()
    recorded = {}
    for rule in found:
        if not rule.is_alert and not list(problems_of(rule.expr, known)):
            read = [known[name] for name in series_of(rule.expr)]
            labels = {label: values for each in read for label, values in each.values.items() if label != "le"}
            recorded[rule.name] = Known(rule.name, labels, is_counter=False)
    return recorded


def anchors_of(markdown: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", markdown, flags=re.MULTILINE)
    return {_NOT_IN_ANCHORS.sub("", heading.lower()).replace(" ", "-") for heading in headings}


def _alert_problems(alert: Rule, anchors: Collection[str]) -> Iterator[str]:
    if alert.labels.get("severity") not in SEVERITIES:
        yield f"severity is none of {', '.join(sorted(SEVERITIES))}"
    if not alert.wait:
        yield "`for` is not set; write 0m where one event is enough"
    for name in ("summary", "description"):
        if not alert.annotations.get(name):
            yield f"it has no {name}"
    page, _, anchor = alert.annotations.get("runbook_url", "").partition("#")
    if page != RUNBOOK or anchor not in anchors:
        yield f"runbook_url names no heading of {RUNBOOK}: {anchor or 'none given'}"


def _names_given_twice(found: Collection[Rule]) -> Iterator[str]:
    """A test and a runbook could not say which of the two they mean."""
    names = [rule.name for rule in found]
    yield from (f"rules/: {name} is given twice" for name in sorted({name for name in names if names.count(name) > 1}))


def main() -> int:
    found = problems()
    for problem in found:
        sys.stderr.write(f"deploy/monitoring/{problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
