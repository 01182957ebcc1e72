"""What is refused in a single expression."""

import pytest

from deploy.monitoring.expressions import problems_of, selectors_of, series_of
from deploy.monitoring.vocabulary import known_series

KNOWN = known_series()


@pytest.mark.parametrize(
    "expr",
    [
        "tidings_connections / tidings_connections_most > 0.85",
        'sum by (stage) (rate(tidings_rounds_total{outcome=~"repeated|dropped"}[$__rate_interval]))',
        'rate(tidings_send_seconds_bucket{le="1.0"}[5m])',
        "histogram_quantile(0.99, sum by (instance, le) (rate(tidings_loop_lag_seconds_bucket[5m])))",
        'tidings_connections{instance=~"$instance"}',
        'sum(rate(tidings_store_seconds_count{table="messages", operation="read"}[5m]))',
        "sum by (stage) (tidings_backlog_records) / on (stage) group_left () max by (stage) (tidings_partitions)",
        "max_over_time(tidings_archive_stuck_segments[1h])",
        "vector(1)",
    ],
)
def test_a_correct_expression_has_no_problem(expr: str) -> None:
    assert list(problems_of(expr, KNOWN)) == []


@pytest.mark.parametrize(
    ("expr", "problem"),
    [
        ("sum(rate(tidings_rounds_total[5m])", "not PromQL"),
        ("tidings_connection", "no series tidings_connection"),
        ("rate(tidings_rounds[5m])", "no series tidings_rounds"),
        ("rate(tidings_send_seconds[5m])", "no series tidings_send_seconds"),
        ("sum({job='x'})", "no series {job"),
        ('tidings_connections{stage="persister"}', "has no label stage"),
        ('tidings_partitions{state="halted"}', "no state 'halted': there are loading, paused, ready"),
        ('tidings_partitions{state!="halted"}', "no state 'halted'"),
        ('tidings_partitions{state=~"ready|halted"}', "no state 'ready|halted'"),
        ('rate(tidings_send_seconds_bucket{le="1"}[5m])', "no le '1'"),
        ('rate(tidings_http_seconds_count{status="500"}[5m])', "no status '500'"),
        ("sum by (state) (tidings_connections)", "label state"),
        ("sum without (state) (tidings_connections)", "label state"),
        ("tidings_connections / on (pod) tidings_connections_most", "label pod"),
        ("tidings_dead_letters_total > 0", "is a counter"),
        ("rate(tidings_connections[5m])", "which is a gauge"),
    ],
)
def test_a_wrong_expression_is_named(expr: str, problem: str) -> None:
    found = list(problems_of(expr, KNOWN))
    assert any(problem in each for each in found), found


def test_all_series_of_an_expression_are_found() -> None:
    expr = "sum(rate(tidings_send_seconds_sum[5m])) / (1 + max_over_time(tidings_connections[5m:1m]))"
    assert series_of(expr) == {"tidings_send_seconds_sum", "tidings_connections"}
    assert selectors_of('sum(rate(a_total{b="c"}[5m])) / d') == {'a_total{b="c"}', "d{}"}
