"""Refuse rules and dashboards that cannot work, without a Prometheus: `python -m deploy.monitoring.check`.

Every expression is parsed. Its series, labels and label values are those that `tidings/metrics.py` and
`tidings/metric_series.py` declare, and each of these metrics is in an expression. Each alert leads to a heading of the
runbook, and no generated file is stale. Prints one line per problem, and exits with 1 if there are any.
"""

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.expressions import problems_of, series_of
from deploy.monitoring.generated import COMMAND, DASHBOARDS, HERE, stale_files
from deploy.monitoring.panels import Board, Panel
from deploy.monitoring.rule_files import RULES, Rule, rules
from deploy.monitoring.vocabulary import Known, known_series

RUNBOOK = "docs/OPERATIONS.md"
PAGE = Path(__file__).resolve().parents[2] / RUNBOOK
# critical: act now; warning: act within a working day; none: only the watchdog.
SEVERITIES = {"critical", "warning", "none"}
# Metrics that no rule and no dashboard shows, with the reason.
NOT_SHOWN: Mapping[str, str] = {}
KUSTOMIZATION = "kustomization.yaml"
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


def problems(
    rules_folder: Path = RULES,
    page: Path = PAGE,
    boards: Sequence[Board] = BOARDS,
    folder: Path = HERE,
    not_shown: Mapping[str, str] = NOT_SHOWN,
) -> list[str]:
    """One line per problem."""
    try:
        found = rules(rules_folder)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        return [f"{rules_folder.name}: not a file of rules: {error!r}"]
    known = known_series() | _recorded(found)
    anchors = anchors_of(page.read_text())
    panels = [(f"{DASHBOARDS}/{board.name}: {panel.title}", panel) for board in boards for panel in board.panels]
    queries = [(rule.place, rule.expr) for rule in found]
    queries += [(place, query.expr) for place, panel in panels for query in panel.queries]
    return [
        *(f"{place}: {problem}" for place, expr in queries for problem in problems_of(expr, known)),
        *(f"{rule.place}: {problem}" for rule in found if rule.is_alert for problem in _alert_problems(rule, anchors)),
        *_names_given_twice(found),
        *(f"{place}: {problem}" for place, panel in panels for problem in _panel_problems(panel)),
        *_unused_metrics([expr for _, expr in queries], known, not_shown),
        *(f"{name}: stale, run `{COMMAND}`" for name in stale_files(folder, rules_folder)),
        *_kustomization_problems(folder, boards),
    ]


def _unused_metrics(exprs: Collection[str], known: Mapping[str, Known], not_shown: Mapping[str, str]) -> Iterator[str]:
    """A metric that nothing shows is missed when it is needed, or is not worth its cost."""
    valid = [expr for expr in exprs if not list(problems_of(expr, known))]
    used = {known[name].metric for expr in valid for name in series_of(expr)}
    every = {each.metric for each in known_series().values()}
    yield from (f"tidings/metrics.py: no rule and no panel has {name}" for name in sorted(every - used - {*not_shown}))
    outdated = [name for name in not_shown if name in used or name not in every]
    yield from (f"check.py: NOT_SHOWN has {name}, which is shown or gone" for name in outdated)


def _panel_problems(panel: Panel) -> Iterator[str]:
    if not panel.look_for.endswith("."):
        yield "it has no sentence on what to look for"
    if not panel.queries:
        yield "it shows nothing"


def _kustomization_problems(folder: Path, boards: Sequence[Board]) -> Iterator[str]:
    """A dashboard that is not named there does not reach Grafana."""
    content = yaml.safe_load((folder / KUSTOMIZATION).read_text())
    named = [name for generator in content["configMapGenerator"] for name in generator["files"]]
    wanted = [f"{DASHBOARDS}/{board.name}.json" for board in boards]
    yield from (f"{KUSTOMIZATION}: {name} is not named" for name in wanted if name not in named)
    yield from (f"{KUSTOMIZATION}: {name} is no dashboard" for name in named if name not in wanted)


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
