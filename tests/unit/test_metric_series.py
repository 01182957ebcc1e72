"""Every series is there from the start, in the services that own it, and no label value of the code is forgotten."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.gateway.media.images import _outcome
from services.gateway.push.router import _FRAMES_OUT
from tidings import metrics
from tidings.close_codes import NOT_OURS, CloseCode
from tidings.metric_series import REFUSALS, SERIES, SERVICES, UPLOAD_REFUSALS, Collector
from tidings.runtime.lanes import Gate

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for package in ("tidings", "services") for path in (ROOT / package).rglob("*.py")]
NAMES = {name: value for name, value in vars(metrics).items() if isinstance(value, Collector)}


def declared(metric: object) -> set[str]:
    """Every label value that a metric begins with."""
    (series,) = [series for series in SERIES if series.metric is metric]
    return {value for labels in series.labels.values() for values in labels for value in values}


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Each `metrics.X.labels(…)` in the code, with the name X."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="labels", value=ast.Attribute(attr=str(name)))) if name in NAMES:
                    yield name, node


def literals(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def first_arguments(called: str, folder: Path = ROOT) -> set[str]:
    """Of all calls of this name in the code of a folder: each is a text."""
    found = set()
    for path in SOURCES:
        if folder not in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name == called:
                    assert isinstance(first, ast.Constant), (path, node.lineno)
                    found.add(str(first.value))
    return found


def test_every_metric_names_its_owner() -> None:
    assert {id(series.metric) for series in SERIES} == {id(metric) for metric in NAMES.values()}
    assert len(SERIES) == len(NAMES) == len(metrics.CATALOGUE)


@pytest.mark.field_case("42")
def test_the_label_values_of_the_code_are_those_declared() -> None:
    seen = list(calls())
    assert len(seen) > 20
    for name, call in seen:
        for argument in call.args:
            assert literals(argument) <= declared(NAMES[name]), name


def test_the_label_values_that_are_computed_are_those_declared() -> None:
    assert {gate.value for gate in Gate} <= declared(metrics.PARTITIONS)
    assert {*_FRAMES_OUT} <= declared(metrics.FRAMES)
    assert {str(int(code)) for code in (NOT_OURS, *CloseCode)} == declared(metrics.CLOSES)
    assert first_arguments("Reach") == declared(metrics.SERVER_SILENT_SECONDS)
    assert first_arguments("Rejected") == set(REFUSALS)
    media = ROOT / "services" / "gateway" / "media"
    assert first_arguments("Refused", media) <= {*UPLOAD_REFUSALS} <= declared(metrics.UPLOADS)
    ends = [(0, True), (1, True), (1, False), (None, True)]
    assert {_outcome(status, is_ready=ready) for status, ready in ends} == declared(metrics.IMAGE_PROCESSES)


def test_closes_name_their_codes_and_no_numbers() -> None:
    """A code that is written as a number would be a series that is not there from the start."""
    for path in (ROOT / "services" / "gateway").rglob("*.py"):
        numbers = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not numbers & {int(code) for code in CloseCode}, path.name


@pytest.mark.field_case("42")
@pytest.mark.parametrize("service", SERVICES)
def test_a_fresh_service_shows_its_own_series_as_zero(service: str) -> None:
    program = f"""
from tidings import metric_series
from prometheus_client import generate_latest
metric_series.begin({service!r})
print(generate_latest().decode())
"""
    command = [sys.executable, "-c", program]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    samples = [line for line in shown.splitlines() if line.startswith("tidings_") and "_created" not in line]
    assert all(line.endswith(" 0.0") for line in samples)
    for series in SERIES:
        name = next(iter(series.metric.describe())).name
        mine = [line for line in samples if line.startswith(name)]
        if service not in series.labels:
            assert not mine
        for values in series.labels.get(service, ()):
            assert any(all(f'"{value}"' in line for value in values) for line in mine), (name, values)
