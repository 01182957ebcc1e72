"""What a dashboard consists of, and the expressions that most panels use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# Units of Grafana.
Unit = Literal["s", "short", "ops", "bytes", "Bps", "percentunit"]


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and the legend of its series. `{{stage}}` in it is the value of that label."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """`look_for`: one sentence on what to look for, which Grafana shows with the panel."""

    title: str
    unit: Unit
    look_for: str
    queries: Sequence[Query]
    is_single_value: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels below one heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. `name` is that of its file, and a part of its address in Grafana."""

    name: str
    title: str
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        """All panels, in order."""
        return [panel for row in self.rows for panel in row.panels]


def rate(series: str, *by: str) -> Query:
    """Events per second, in total or by labels."""
    return Query(f"sum{_by(*by)}(rate({series}[$__rate_interval]))", _legend(*by))


def quantile(q: float, histogram: str, *by: str, where: str = "") -> Query:
    """A quantile of a histogram, in total or by labels."""
    summed = f"sum{_by(*by, 'le')}(rate({histogram}_bucket{where}[$__rate_interval]))"
    return Query(f"histogram_quantile({q}, {summed})", f"p{q * 100:g} {_legend(*by) if by else ''}".rstrip())


def p50_p99(histogram: str, *by: str, where: str = "") -> tuple[Query, Query]:
    """The median and the 99th percentile."""
    return quantile(0.5, histogram, *by, where=where), quantile(0.99, histogram, *by, where=where)


def mean(histogram: str, *by: str, where: str = "") -> Query:
    """The mean of a histogram."""
    total, count = (f"sum{_by(*by)}(rate({histogram}_{part}{where}[$__rate_interval]))" for part in ("sum", "count"))
    return Query(f"{total} / {count}", _legend(*by))


def gauge(operation: Literal["sum", "max", "min"], series: str, *by: str) -> Query:
    """A gauge over all processes, or by labels."""
    return Query(f"{operation}{_by(*by)}({series})", _legend(*by))


def _by(*labels: str) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""


def _legend(*labels: str) -> str:
    return " ".join(f"{{{{{label}}}}}" for label in labels) or "all"
