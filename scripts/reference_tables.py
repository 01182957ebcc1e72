"""Write the generated tables of docs/OPERATIONS.md: settings, metrics, alerts, log lines. --check looks only.

Each table stands between two marker lines; what is between them is never edited by hand.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from deploy.monitoring.rule_files import Rule, rules
from scripts.log_events import events_table
from scripts.pages import ROOT, filled, table, write_or_check
from services.auditor.settings import AuditorSettings
from services.fanout.settings import FanoutSettings
from services.gateway.settings import GatewaySettings
from services.persister.archive import ArchiverSettings
from services.persister.settings import PersisterSettings
from services.receipts.settings import ReceiptsSettings
from tidings.metrics import CATALOGUE

PAGE = ROOT / "docs" / "OPERATIONS.md"
SERVICES: Mapping[str, type[BaseModel]] = {
    "gateway": GatewaySettings,
    "persister": PersisterSettings,
    "fanout": FanoutSettings,
    "receipts": ReceiptsSettings,
    "archiver": ArchiverSettings,
    "auditor": AuditorSettings,
}


def settings_table() -> str:
    """Every setting of every service: variable, default, reader, meaning."""
    readers: dict[str, list[str]] = {}
    rows: dict[str, tuple[str, str]] = {}
    for service, settings in SERVICES.items():
        for group in _groups(settings):
            prefix = group.model_config.get("env_prefix", "")
            for name, field in group.model_fields.items():
                variable = f"{prefix}{name.upper()}"
                readers.setdefault(variable, []).append(service)
                rows[variable] = (_shown(field.default), _meaning(field.description, field.metadata))
    lines = [
        (f"`{variable}`", default, _readers(readers[variable]), meaning)
        for variable, (default, meaning) in rows.items()
    ]
    return table(("variable", "default", "read by", "meaning"), lines)


def metrics_table() -> str:
    """Every metric: name, kind, meaning, what to do."""
    lines = [(f"`{metric.name}`", metric.kind, metric.meaning, metric.action) for metric in CATALOGUE]
    return table(("metric", "kind", "meaning", "what to do"), lines)


def alerts_table() -> str:
    """Every alert: name, severity, summary, the time that its condition has to last, the heading of the runbook."""
    lines = [
        (f"`{alert.name}`", alert.labels["severity"], _plain(alert.annotations["summary"]), alert.wait, _link(alert))
        for alert in rules()
        if alert.is_alert
    ]
    return table(("alert", "severity", "says", "for", "runbook"), lines)


def _plain(template: str) -> str:
    """A template of Prometheus for people: with the name of each label instead of its value."""
    return re.sub(r"{{ \$labels\.(\w+) }}", r"*\1*", template)


def _link(alert: Rule) -> str:
    anchor = alert.annotations["runbook_url"].partition("#")[2]
    return f"[{anchor.replace('-', ' ')}](#{anchor})"


def _groups(settings: type[BaseModel]) -> Iterable[type[BaseSettings]]:
    annotations = (field.annotation for field in settings.model_fields.values())
    return [group for group in annotations if isinstance(group, type) and issubclass(group, BaseSettings)]


def _shown(default: object) -> str:
    return f"`{str(default).lower() if isinstance(default, bool) else default}`" if default != "" else "empty"


def _meaning(description: str | None, constraints: Sequence[Any]) -> str:
    bounds = [f"{sign} {bound:,}" for one in constraints for sign, bound in _bounds(one)]
    return f"{description} ({', '.join(bounds)})" if bounds else str(description)


def _bounds(constraint: object) -> Iterable[tuple[str, int | float]]:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return [(sign, bound) for name, sign in signs.items() if (bound := getattr(constraint, name, None)) is not None]


def _readers(services: Sequence[str]) -> str:
    return "all" if len(services) == len(SERVICES) else ", ".join(services)


def page(text: str) -> str:
    """The page with its tables as the code is now."""
    tables = {"settings": settings_table, "metrics": metrics_table, "alerts": alerts_table, "events": events_table}
    return filled(text, tables)


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, lambda: page(PAGE.read_text()), "scripts.reference_tables", __doc__))
