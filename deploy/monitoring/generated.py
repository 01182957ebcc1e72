"""The files below deploy/monitoring that are written from others: dashboards, and the rules as a PrometheusRule."""

from pathlib import Path

import yaml

from deploy.monitoring.boards import BOARDS
from deploy.monitoring.grafana import as_json
from deploy.monitoring.rule_files import RULES, groups, rule_paths

HERE = Path(__file__).resolve().parent
DASHBOARDS = "dashboards"
PROMETHEUS_RULE = "prometheus-rule.yaml"
COMMAND = "make monitoring"


def generated_files(rules_folder: Path = RULES) -> dict[str, str]:
    """The content of every generated file, by its path below deploy/monitoring."""
    boards = {f"{DASHBOARDS}/{board.name}.json": as_json(board) for board in BOARDS}
    return boards | {PROMETHEUS_RULE: _prometheus_rule(rules_folder)}


def stale_files(folder: Path = HERE, rules_folder: Path = RULES) -> list[str]:
    """The files that are missing, differ from what would be written, or have no board any more."""
    fresh = generated_files(rules_folder)
    stale = [name for name, text in fresh.items() if not _is(folder / name, text)]
    present = {f"{DASHBOARDS}/{path.name}" for path in (folder / DASHBOARDS).glob("*")}
    return sorted([*stale, *(present - fresh.keys())])


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


def _prometheus_rule(rules_folder: Path) -> str:
    """For the Prometheus Operator, which reads no plain files of rules."""
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "tidings", "labels": {"app.kubernetes.io/part-of": "tidings"}},
        "spec": {"groups": [group for path in rule_paths(rules_folder) for group in groups(path)]},
    }
    note = f"# Written from rules/ by `{COMMAND}`. Change the files there.\n"
    return note + yaml.safe_dump(manifest, sort_keys=False, width=10_000)
