"""Write the generated tables of docs/OPERATIONS.md: settings and metrics. With --check, only compare.

Each table is between two marker lines. The text between them is never edited by hand.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_settings import BaseSettings

from services.fanout.settings import FanoutSettings
from services.gateway.settings import GatewaySettings
from services.persister.settings import PersisterSettings
from services.receipts.settings import ReceiptsSettings
from tidings.metrics import CATALOGUE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "OPERATIONS.md"
SERVICES: Mapping[str, type[BaseModel]] = {
    "gateway": GatewaySettings,
    "persister": PersisterSettings,
    "fanout": FanoutSettings,
    "receipts": ReceiptsSettings,
}


def settings_table() -> str:
    """Every setting of every service: variable, default, reading services, meaning."""
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
    return _table(("variable", "default", "read by", "meaning"), lines)


def metrics_table() -> str:
    """Every metric: name, kind, meaning, what to do."""
    lines = [(f"`{metric.name}`", metric.kind, metric.meaning, metric.action) for metric in CATALOGUE]
    return _table(("metric", "kind", "meaning", "what to do"), lines)


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


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '∣') for cell in line)} |" for line in lines)


def page(text: str) -> str:
    """The page with its tables for the current code. Raises KeyError for an unknown marker."""
    tables = {"settings": settings_table, "metrics": metrics_table}

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{tables[found[2]]()}\n\n{found[3]}"

    return re.sub(r"(<!-- generated: (\w+) .*?-->).*?(<!-- end of \2 -->)", fill, text, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is stale")
    text = PAGE.read_text()
    fresh = page(text)
    if not parser.parse_args().check:
        PAGE.write_text(fresh)
        return 0
    if fresh != text:
        print("docs/OPERATIONS.md is stale: run `python -m scripts.reference_tables`", file=sys.stderr)
    return int(fresh != text)


if __name__ == "__main__":
    sys.exit(main())
