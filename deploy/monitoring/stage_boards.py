"""The dashboards of persister, fanout and receipts. Their first rows are the same, because their loop is the same."""

from collections.abc import Sequence

from deploy.monitoring.panels import Board, Panel, Query, Row, gauge, mean, p50_p99, quantile, rate


def _where(stages: Sequence[str]) -> str:
    return '{stage=~"' + "|".join(stages) + '"}'


def _rows(*stages: str) -> Sequence[Row]:
    """The rows of the loop that all workers share."""
    where = _where(stages)
    backlog = Row(
        "Backlog",
        (
            Panel(
                "Age of the oldest unconfirmed record",
                "s",
                "Above 30 s the stage stands still. It rises also while nothing moves.",
                (gauge("max", f"tidings_backlog_seconds{where}", "stage", "instance"),),
            ),
            Panel(
                "Records that wait",
                "short",
                "A line that rises for minutes means that more arrives than is confirmed.",
                (gauge("sum", f"tidings_backlog_records{where}", "stage"),),
            ),
            Panel(
                "Lag at confirmation",
                "s",
                "A p99 that rises with the load means that the stage is at its limit.",
                p50_p99("tidings_lag_seconds", "stage", where=where),
            ),
        ),
    )
    rounds = Row(
        "Rounds",
        (
            Panel(
                "Rounds by outcome",
                "ops",
                "Repeated rounds mean that Cassandra or Kafka does not confirm.",
                (rate(f"tidings_rounds_total{where}", "stage", "outcome"),),
            ),
            Panel(
                "Time of a round",
                "s",
                "A p99 above 1 s delays every ack or push.",
                p50_p99("tidings_round_seconds", "stage", where=where),
            ),
            Panel(
                "Time of a step, p99",
                "s",
                "The slowest step says what to look at: load and write are Cassandra, emit is Kafka, decide is CPU.",
                (quantile(0.99, "tidings_round_step_seconds", "stage", "step", where=where),),
            ),
            Panel(
                "Records in a round, mean",
                "short",
                "Near 500, the bound of a round, the stage needs more pods.",
                (mean("tidings_round_records", "stage", where=where),),
            ),
            Panel(
                "Records dropped as repeats",
                "ops",
                "A burst after a restart is normal. A steady rate means that an earlier stage keeps replaying.",
                (rate(f"tidings_repeats_total{where}", "stage"),),
            ),
        ),
    )
    state = Row(
        "Partitions and commits",
        (
            Panel(
                "Partitions by state",
                "short",
                "Stopped or repeating above 0 needs an operator.",
                (gauge("sum", f"tidings_partitions{where}", "stage", "state"),),
            ),
            Panel(
                "Commits by outcome",
                "ops",
                "Failed commits mean that the coordinator of the group does not answer.",
                (rate(f"tidings_commits_total{where}", "stage", "outcome"),),
            ),
        ),
    )
    return backlog, rounds, state


def _of_run(counter: str, legend: str) -> Query:
    """How much a run has done in the last hour: the archiver ends, so it has no lasting rate."""
    return Query(f"sum(increase({counter}[1h]))", legend)


def _dead_letters(stage: str) -> Panel:
    return Panel(
        "Dead letters in 10 minutes",
        "short",
        "Any is worth a look by `tidings dlq list`.",
        (Query(f'sum by (stage) (increase(tidings_dead_letters_total{{stage="{stage}"}}[10m]))', "{{stage}}"),),
    )


def _hints(*stages: str) -> Panel:
    where = _where(stages)
    return Panel(
        "Pushes by outcome",
        "ops",
        "Lost ones come late, because clients repair them by a sync.",
        (rate(f"tidings_hints_total{where}", "stage", "outcome"),),
    )


PERSISTER = Board(
    "persister",
    "Tidings / Persister",
    (
        *_rows("persister"),
        Row(
            "Decisions",
            (
                Panel(
                    "Commands by decision",
                    "ops",
                    "A wave of one refusal points to one client version.",
                    (rate("tidings_decisions_total", "outcome"),),
                ),
                _dead_letters("persister"),
                _hints("persister"),
            ),
        ),
        Row(
            "Archiver (while it runs)",
            (
                Panel(
                    "Archived segments and messages",
                    "short",
                    "They rise during each nightly run if anything is old enough.",
                    (
                        _of_run("tidings_archived_segments_total", "segments"),
                        _of_run("tidings_archived_messages_total", "messages"),
                    ),
                ),
                Panel(
                    "Archived bytes",
                    "bytes",
                    "Compare with the growth of the bucket.",
                    (_of_run("tidings_archived_bytes_total", "bytes"),),
                ),
                Panel(
                    "Segments that a run could not finish",
                    "short",
                    "Any reason above 0 is in the runbook under The archiver fails.",
                    (gauge("max", "tidings_archive_stuck_segments", "reason"),),
                ),
            ),
        ),
    ),
)

FANOUT = Board(
    "fanout",
    "Tidings / Fanout",
    (
        *_rows("expand", "deliver"),
        Row(
            "Pushes",
            (
                Panel(
                    "Inbox rows written",
                    "ops",
                    "It is the cost of write diffusion, and rises with the size of groups below the limit.",
                    (rate("tidings_inbox_rows_total"),),
                ),
                Panel(
                    "Pushes by way",
                    "ops",
                    "Read is the way of large groups. A shift from write to read means that groups have grown.",
                    (rate("tidings_pushes_total", "mode"),),
                ),
                _hints("expand", "deliver"),
                Panel(
                    "Hints waiting for gateways",
                    "short",
                    "Short peaks are normal. A level that stays means that a push partition is slow.",
                    (gauge("sum", "tidings_hints_waiting", "stage"),),
                ),
                Panel(
                    "Users present",
                    "short",
                    "It follows the connections of all gateways. It falls and rises at each rebalance.",
                    (gauge("sum", "tidings_users_present"),),
                ),
            ),
        ),
    ),
)

RECEIPTS = Board(
    "receipts",
    "Tidings / Receipts",
    (
        *_rows("receipts"),
        Row(
            "Watermarks",
            (
                Panel(
                    "Watermarks moved",
                    "ops",
                    "It follows the messages that users read.",
                    (rate("tidings_watermarks_total"),),
                ),
                Panel(
                    "Watermarks dropped",
                    "ops",
                    "A few after removals are normal. Many mean that a gateway has outdated members.",
                    (rate("tidings_watermarks_dropped_total", "reason"),),
                ),
                _dead_letters("receipts"),
            ),
        ),
    ),
)
