"""Reads the rules of Prometheus below `rules/`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).resolve().parent / "rules"


@dataclass(frozen=True, slots=True)
class Rule:
    """A recording rule, or an alert. Only an alert has annotations, and `wait`, its `for`."""

    place: str
    name: str
    expr: str
    is_alert: bool
    wait: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def rules(folder: Path = RULES) -> list[Rule]:
    """All rules of the files in a folder, in their order. Raises KeyError or YAMLError for what is no rule."""
    return [
        _rule(path.name, fields) for path in rule_paths(folder) for group in groups(path) for fields in group["rules"]
    ]


def rule_paths(folder: Path = RULES) -> list[Path]:
    """The files that Prometheus loads."""
    return sorted(folder.glob("*.yaml"))


def groups(path: Path) -> list[dict[str, Any]]:
    """The groups of one file, as they stand there."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["groups"]
    return found


def _rule(file: str, fields: Mapping[str, Any]) -> Rule:
    is_alert = "alert" in fields
    name = fields["alert" if is_alert else "record"]
    return Rule(
        place=f"rules/{file}: {name}",
        name=name,
        expr=fields["expr"],
        is_alert=is_alert,
        wait=fields.get("for", ""),
        labels=fields.get("labels", {}),
        annotations=fields.get("annotations", {}),
    )
