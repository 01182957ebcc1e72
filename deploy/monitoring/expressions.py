"""Finds what is wrong with one expression of PromQL, without a Prometheus: unknown names, labels and values."""

import re
from collections.abc import Collection, Iterator, Mapping

import promql_parser as promql

from deploy.monitoring.vocabulary import TARGET_LABELS, Known

# Functions whose argument is a counter.
_OF_COUNTERS = frozenset({"rate", "increase", "irate", "resets"})
# Grafana puts the range in before it asks.
_RATE_INTERVAL = "$__rate_interval"
# A variable of a dashboard, which can have any value.
_VARIABLE = "$"


def parsed(expr: str) -> promql.Expr:
    """Parse an expression of a rule or of a panel. Raises ValueError with the reason."""
    return promql.parse(expr.replace(_RATE_INTERVAL, "5m"))


def series_of(expr: str) -> set[str]:
    """The names of all series in an expression that can be parsed."""
    return {_name(each) for each in _selectors(parsed(expr))}


def selectors_of(expr: str) -> set[str]:
    """What an expression that can be parsed reads: each series with its matchers, without ranges."""
    return {str(each) for each in _selectors(parsed(expr))}


def problems_of(expr: str, known: Mapping[str, Known]) -> Iterator[str]:
    """One line per problem."""
    try:
        tree = parsed(expr)
    except ValueError as error:
        yield f"not PromQL: {error}"
        return
    for selector in _selectors(tree):
        name = _name(selector)
        if name not in known:
            yield f"there is no series {name or selector}"
            return
        yield from _matcher_problems(selector, name, known[name].values)
    yield from _grouping_problems(tree, known)
    yield from _counter_problems(tree, known)


def _nodes(tree: promql.Expr) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(tree, found.append)
    return found


def _selectors(tree: promql.Expr) -> list[promql.VectorSelector]:
    return [node for node in _nodes(tree) if isinstance(node, promql.VectorSelector)]


def _name(selector: promql.VectorSelector) -> str:
    return selector.name or ""


def _matcher_problems(
    selector: promql.VectorSelector, name: str, labels: Mapping[str, Collection[str] | None]
) -> Iterator[str]:
    for matcher in selector.matchers.matchers:
        if matcher.name in TARGET_LABELS:
            continue
        if matcher.name not in labels:
            yield f"{name} has no label {matcher.name}"
            continue
        values = labels[matcher.name]
        if values is None or matcher.value.startswith(_VARIABLE):
            continue
        is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
        # Each alternative alone, so that a misspelt one does not hide behind the others.
        for wanted in matcher.value.split("|") if is_pattern else [re.escape(matcher.value)]:
            if not any(re.fullmatch(wanted, value) for value in values):
                yield f"{name} has no {matcher.name} {matcher.value!r}: there are {', '.join(sorted(values))}"


def _grouping_problems(tree: promql.Expr, known: Mapping[str, Known]) -> Iterator[str]:
    """Labels of by, without, on, ignoring and group_left that none of the series below them has."""
    for node in _nodes(tree):
        match node:
            case promql.AggregateExpr(modifier=promql.AggModifier(labels=named)):
                pass
            case promql.BinaryExpr(modifier=promql.BinModifier() as modifier):
                named = [*(modifier.matching.labels if modifier.matching else ()), *(modifier.group_labels or ())]
            case _:
                continue
        below = {label for each in _selectors(node) for label in known[_name(each)].values}
        for label in sorted(set(named) - below - TARGET_LABELS):
            yield f"no series in {node.prettify().split(maxsplit=1)[0]} … has the label {label} that it groups by"


def _counter_problems(tree: promql.Expr, known: Mapping[str, Known]) -> Iterator[str]:
    """A counter without its rate says how long a process has run. A rate of a gauge takes each fall for a restart."""
    under_rate: set[str] = set()
    for node in _nodes(tree):
        if isinstance(node, promql.Call) and node.func.name in _OF_COUNTERS:
            under_rate |= {str(each) for each in _selectors(node)}
            yield from (
                f"{node.func.name} of {_name(each)}, which is a gauge"
                for each in _selectors(node)
                if not known[_name(each)].is_counter
            )
    for each in _selectors(tree):
        if known[_name(each)].is_counter and str(each) not in under_rate:
            yield f"{_name(each)} is a counter; take its rate or increase"
