"""What expressions may name: the series of `tidings/metrics.py`, their labels, and the values of these labels."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Histogram
from prometheus_client.utils import floatToGoString

from tidings.metric_series import SERIES, Collector, Series

# Prometheus adds it to every series. Others, as job and pod, depend on the scrape, so no expression may need them.
TARGET_LABELS = frozenset({"instance"})
# Values of labels that no series begins with, by metric and label.
_ELSEWHERE: Mapping[tuple[str, str], frozenset[str]] = {
    ("tidings_store_seconds", "operation"): frozenset({"read", "write", "delete", "transaction"}),
    ("tidings_http_seconds", "status"): frozenset({"2xx", "3xx", "4xx", "5xx", "none"}),
}


@dataclass(frozen=True, slots=True)
class Known:
    """A series name. `values`: of each label, None where any value is possible. `metric`: its name in the catalogue."""

    metric: str
    values: Mapping[str, Collection[str] | None]
    is_counter: bool


def known_series() -> dict[str, Known]:
    """Every series name that a process shows, for example `tidings_send_seconds_bucket`."""
    return {name: known for series in SERIES for name, known in _names_of(series).items()}


def _names_of(series: Series) -> dict[str, Known]:
    metric = series.metric
    name = next(iter(metric.describe())).name
    if isinstance(metric, Counter):
        name = f"{name}_total"
    values = _values_of(series, name)
    if not isinstance(metric, Histogram):
        return {name: Known(name, values, isinstance(metric, Counter))}
    buckets = values | {"le": frozenset(map(floatToGoString, metric._upper_bounds))}
    parts = {"_bucket": buckets, "_count": values, "_sum": values}
    return {f"{name}{part}": Known(name, labels, True) for part, labels in parts.items()}


def _values_of(series: Series, name: str) -> dict[str, Collection[str] | None]:
    labels = _label_names(series.metric)
    begun = [values for each in series.labels.values() for values in each]
    found = {label: frozenset(values[place] for values in begun) for place, label in enumerate(labels)}
    return {label: values or _ELSEWHERE.get((name, label)) for label, values in found.items()}


def _label_names(metric: Collector) -> tuple[str, ...]:
    return tuple(metric._labelnames)
