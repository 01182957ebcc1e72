"""Series with which each alert fires, and series with which it does not: a table for `promtool test rules`.

Values are in the notation of promtool. `0x4` is 0 in the first and the next 4 scrapes. `0+2x4` rises by 2 from one
scrape to the next. `_x3` are 3 missed scrapes. `stale` is the end of a series, as when a process has ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Values = Mapping[str, str]
Labels = Mapping[str, str]

# A process that was restarted: one scrape finds no process, and the next ones are missed.
GAP = "stale _x2"


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the rules. `fires`: the alert fires at `at` with `labels`. Otherwise it never fires until then."""

    alert: str
    kind: Literal["fires", "normal", "restart"]
    series: Values
    at: str = "10m"
    labels: Labels | None = None
    scrape: str = "15s"


def _fires(alert: str, series: Values, at: str = "10m", scrape: str = "15s", **labels: str) -> Case:
    return Case(alert, "fires", series, at, labels, scrape)


def _normal(alert: str, series: Values, at: str = "10m", scrape: str = "15s") -> Case:
    return Case(alert, "normal", series, at, None, scrape)


def _restart(alert: str, series: Values, at: str = "20m", scrape: str = "15s") -> Case:
    """A restart, a rollout or a failover, which the alert has to ignore."""
    return Case(alert, "restart", series, at, None, scrape)


def _series(metric: str, **labels: str) -> str:
    matchers = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{matchers}}}"


def _partitions(state: str, instance: str = "a", stage: str = "persister") -> str:
    return _series("tidings_partitions", stage=stage, state=state, instance=instance)


def _stage(metric: str, stage: str = "persister", **labels: str) -> str:
    return _series(metric, stage=stage, **labels)


_EXPECTED = {_stage("tidings_partitions_expected", instance="a"): "8x90"}

_PARTITIONS: Sequence[Case] = (
    _fires(
        "TidingsPartitionStopped",
        {_partitions("stopped"): "0x4 1x40", _partitions("ready"): "8x4 7x40"},
        stage="persister",
        instance="a",
    ),
    _normal("TidingsPartitionStopped", {_partitions("stopped"): "0x40", _partitions("paused"): "3x40"}),
    _restart("TidingsPartitionStopped", {_partitions("stopped"): f"0x20 1x2 {GAP} 0x60"}),
    _fires(
        "TidingsPartitionsNotOwned",
        {**_EXPECTED, _partitions("ready"): "4x90", _partitions("ready", "b"): "4x10 stale"},
        stage="persister",
    ),
    _normal(
        "TidingsPartitionsNotOwned",
        {
            **_EXPECTED,
            _partitions("ready"): "4x90",
            _partitions("loading", "b"): "2x90",
            _partitions("ready", "b"): "1x90",
            _partitions("stopped", "b"): "1x90",
        },
    ),
    _restart(
        "TidingsPartitionsNotOwned",
        {**_EXPECTED, _partitions("ready"): "4x24 8x10 4x55", _partitions("ready", "b"): f"4x20 {GAP} 0x10 4x55"},
    ),
    _fires(
        "TidingsPartitionRepeating",
        {_partitions("repeating", stage="deliver"): "0x4 1x40"},
        stage="deliver",
        instance="a",
    ),
    _normal("TidingsPartitionRepeating", {_partitions("repeating"): "0x40", _partitions("ready"): "8x40"}),
    _restart("TidingsPartitionRepeating", {_partitions("repeating"): f"0x20 3x3 {GAP} 0x60"}),
    _fires(
        "TidingsRoundsRepeating",
        {
            _stage("tidings_rounds_total", outcome="confirmed"): "0+8x50",
            _stage("tidings_rounds_total", outcome="repeated"): "0+2x50",
        },
        at="12m",
        stage="persister",
    ),
    _normal(
        "TidingsRoundsRepeating",
        {
            _stage("tidings_rounds_total", outcome="confirmed"): "0+80x50",
            _stage("tidings_rounds_total", outcome="repeated"): "0+2x50",
        },
        at="12m",
    ),
    _restart(
        "TidingsRoundsRepeating",
        {
            _stage("tidings_rounds_total", outcome="confirmed"): f"0+10x30 {GAP} 0+10x60",
            _stage("tidings_rounds_total", outcome="repeated"): f"5x27 5+10x3 {GAP} 0 10 20x60",
        },
    ),
    _fires(
        "TidingsCommitsFailing",
        {
            _stage("tidings_commits_total", outcome="done"): "0+1x120",
            _stage("tidings_commits_total", outcome="failed"): "0+1x120",
        },
        at="25m",
        stage="persister",
    ),
    _normal(
        "TidingsCommitsFailing",
        {
            _stage("tidings_commits_total", outcome="done"): "0+5x120",
            _stage("tidings_commits_total", outcome="failed"): "0x50 1x70",
            _stage("tidings_commits_total", outcome="fenced"): "0+2x120",
        },
        at="25m",
    ),
    _restart(
        "TidingsCommitsFailing",
        {
            _stage("tidings_commits_total", outcome="done"): f"0+5x40 {GAP} 0+5x80",
            _stage("tidings_commits_total", outcome="failed"): f"9x40 {GAP} 0 4x80",
        },
        at="25m",
    ),
)

_BACKLOG: Sequence[Case] = (
    _fires("TidingsStageStalled", {_stage("tidings_backlog_seconds", "expand"): "0x8 15+15x40"}, stage="expand"),
    _normal("TidingsStageStalled", {_stage("tidings_backlog_seconds"): "0x8 0.5x10 12x3 1x30"}),
    _restart("TidingsStageStalled", {_stage("tidings_backlog_seconds"): f"0x20 {GAP} 25 40x2 5x60"}),
    _fires(
        "TidingsBacklogGrowing",
        {
            _stage("tidings_backlog_records", instance="a"): "0x8 0+100x160",
            _stage("tidings_backlog_records", instance="b"): "20x160",
        },
        at="40m",
        stage="persister",
    ),
    _normal(
        "TidingsBacklogGrowing",
        {
            _stage("tidings_backlog_records", "expand", instance="a"): "200+1x160",
            _stage("tidings_backlog_records", "deliver", instance="a"): "90000-100x160",
        },
        at="40m",
    ),
    _restart(
        "TidingsBacklogGrowing",
        {_stage("tidings_backlog_records", instance="a"): f"20x40 {GAP} 1000+500x8 5000-500x9 20x120"},
        at="40m",
    ),
)

_RECORDS: Sequence[Case] = (
    _fires("TidingsDeadLetters", {_stage("tidings_dead_letters_total"): "0x20 1x20"}, at="6m", stage="persister"),
    _normal("TidingsDeadLetters", {_stage("tidings_dead_letters_total"): "5x60"}),
    _restart("TidingsDeadLetters", {_stage("tidings_dead_letters_total"): f"5x20 {GAP} 0x60"}),
    _fires(
        "TidingsHintsLost",
        {
            _stage("tidings_hints_total", "deliver", outcome="sent"): "0+90x60",
            _stage("tidings_hints_total", "deliver", outcome="lost"): "0+10x60",
        },
        at="12m",
        stage="deliver",
    ),
    _normal(
        "TidingsHintsLost",
        {
            _stage("tidings_hints_total", "deliver", outcome="sent"): "0+900x60",
            _stage("tidings_hints_total", "deliver", outcome="lost"): "0+1x60",
        },
        at="12m",
    ),
    _restart(
        "TidingsHintsLost",
        {
            _stage("tidings_hints_total", "deliver", outcome="sent"): f"0+100x20 {GAP} 0+100x60",
            _stage("tidings_hints_total", "deliver", outcome="lost"): f"8x20 {GAP} 0 5x60",
        },
    ),
)


def _gateway(metric: str, instance: str = "a", **labels: str) -> str:
    return _series(metric, instance=instance, **labels)


def _images(outcome: str) -> str:
    return _gateway("tidings_image_processes_total", outcome=outcome)


_MOST = {_gateway("tidings_connections_most"): "20000x90", _gateway("tidings_connections_most", "b"): "20000x90"}

_GATEWAYS: Sequence[Case] = (
    _fires(
        "TidingsGatewayNearFull",
        {**_MOST, _gateway("tidings_connections"): "17500x50", _gateway("tidings_connections", "b"): "900x50"},
        instance="a",
    ),
    _normal("TidingsGatewayNearFull", {**_MOST, _gateway("tidings_connections"): "16900x50"}),
    _restart(
        "TidingsGatewayNearFull",
        {
            **_MOST,
            _gateway("tidings_connections"): "9000x20 18000x12 9000x50",
            _gateway("tidings_connections", "b"): f"9000x20 {GAP} 0+1000x9 9000x50",
        },
    ),
    _fires(
        "TidingsGatewaysUneven",
        {_gateway("tidings_connections"): "1000x90", _gateway("tidings_connections", "b"): "300x90"},
        at="80m",
        scrape="1m",
    ),
    _normal(
        "TidingsGatewaysUneven",
        {_gateway("tidings_connections"): "1000x90", _gateway("tidings_connections", "b"): "800x90"},
        at="80m",
        scrape="1m",
    ),
    _normal(
        "TidingsGatewaysUneven",
        {_gateway("tidings_connections"): "60x90", _gateway("tidings_connections", "b"): "2x90"},
        at="80m",
        scrape="1m",
    ),
    _restart(
        "TidingsGatewaysUneven",
        {
            _gateway("tidings_connections"): "1000x10 1900-20x20 1400-8x40 1080x40",
            _gateway("tidings_connections", "b"): "1000x10 stale 100+20x20 500+8x40 820x40",
        },
        at="110m",
        scrape="1m",
    ),
    _fires(
        "TidingsImageProcessesFailing",
        {_images("answered"): "0+1x60", _images("failed"): "0+2x60", _images("not_started"): "0+1x60"},
        at="40m",
        scrape="1m",
    ),
    _normal(
        "TidingsImageProcessesFailing",
        {_images("answered"): "0+20x60", _images("failed"): "0+2x60"},
        at="40m",
        scrape="1m",
    ),
    _normal(
        "TidingsImageProcessesFailing",
        {_images("answered"): "0x60", _images("timed_out"): "0x10 1x50"},
        at="40m",
        scrape="1m",
    ),
    _restart(
        "TidingsImageProcessesFailing",
        {_images("answered"): f"0+5x20 {GAP} 0+5x40", _images("failed"): f"300x20 {GAP} 0x40"},
        at="40m",
        scrape="1m",
    ),
)


def _loop(le: str) -> str:
    return _gateway("tidings_loop_lag_seconds_bucket", le=le)


def _build(version: str, instance: str) -> str:
    return _gateway("tidings_build_info", instance, version=version, rules="1", epoch="0")


_PROCESS: Sequence[Case] = (
    _fires("TidingsLoopLag", {_loop("1.0"): "0+8x50", _loop("2.5"): "0+10x50", _loop("+Inf"): "0+10x50"}, instance="a"),
    _normal("TidingsLoopLag", {_loop("0.005"): "0+60x50", _loop("1.0"): "0+60x50", _loop("+Inf"): "0+60x50"}),
    _restart(
        "TidingsLoopLag",
        {
            _loop("1.0"): f"0+60x20 {GAP} 0+60x60",
            _loop("2.5"): f"0+60x20 {GAP} 1+60x60",
            _loop("+Inf"): f"0+60x20 {GAP} 1+60x60",
        },
    ),
    _fires("TidingsClockSkew", {_gateway("tidings_clock_skew_seconds"): "3x50"}, instance="a"),
    _fires("TidingsClockSkew", {_gateway("tidings_clock_skew_seconds"): "-3x50"}, instance="a"),
    _normal("TidingsClockSkew", {_gateway("tidings_clock_skew_seconds"): "-0.4x50"}),
    _restart("TidingsClockSkew", {_gateway("tidings_clock_skew_seconds"): f"0x20 {GAP} 0 5x8 0x60"}),
    _fires(
        "TidingsVersionSkew",
        {_build("0.1.0", "a"): "1x90", _build("0.2.0", "b"): "1x90", _build("0.1.0", "c"): "1x90"},
        at="80m",
        scrape="1m",
    ),
    _normal("TidingsVersionSkew", {_build("0.1.0", "a"): "1x90", _build("0.1.0", "b"): "1x90"}, at="80m", scrape="1m"),
    _restart(
        "TidingsVersionSkew",
        {
            _build("0.1.0", "a"): "1x10 stale",
            _build("0.1.0", "b"): "1x30 stale",
            _build("0.2.0", "a"): "_x11 1x90",
            _build("0.2.0", "b"): "_x31 1x90",
        },
        at="100m",
        scrape="1m",
    ),
)


def _silent(server: str) -> str:
    return _gateway("tidings_server_silent_seconds", server=server)


_STORE_ERRORS = _gateway("tidings_store_errors_total", kind="timed_out")
_STORE_COUNT = _gateway("tidings_store_seconds_count", table="messages", operation="write")

_SERVERS: Sequence[Case] = (
    _fires(
        "TidingsServerSilent", {_silent("kafka"): "0x8 15+15x40", _silent("cassandra"): "0x50"}, at="5m", server="kafka"
    ),
    _normal("TidingsServerSilent", {_silent("kafka"): "0x50", _silent("cassandra"): "0x50"}),
    _restart("TidingsServerSilent", {_silent("kafka"): f"0x20 6 12 18 0x20 {GAP} 3 0x40"}),
    _fires("TidingsStoreErrors", {_STORE_ERRORS: "0+1x60", _STORE_COUNT: "0+20x60"}, at="12m"),
    _normal("TidingsStoreErrors", {_STORE_ERRORS: "0+1x60", _STORE_COUNT: "0+900x60"}, at="12m"),
    _restart(
        "TidingsStoreErrors",
        {_STORE_ERRORS: f"7x20 {GAP} 0 4x60", _STORE_COUNT: f"0+50x20 {GAP} 0+50x60"},
    ),
    _fires("TidingsBrokerErrors", {_gateway("tidings_producer_resets_total"): "0x8 0+1x50"}, instance="a"),
    _normal("TidingsBrokerErrors", {_gateway("tidings_producer_resets_total"): "0x8 1x10 2x10 3x50"}),
    _restart("TidingsBrokerErrors", {_gateway("tidings_producer_resets_total"): f"9x20 {GAP} 1 2 3x60"}),
)


def _stuck(reason: str) -> str:
    return _gateway("tidings_archive_stuck_segments", reason=reason)


def _cold(outcome: str) -> str:
    return _gateway("tidings_cold_reads_total", outcome=outcome)


_ARCHIVE: Sequence[Case] = (
    # The job ends after four minutes. Its counts are found for an hour.
    _fires("TidingsArchiveStuck", {_stuck("incomplete"): "0x8 2x8 stale"}, at="30m", reason="incomplete"),
    _normal("TidingsArchiveStuck", {_stuck("incomplete"): "0x16 stale", _stuck("held"): "0x16 stale"}),
    _restart("TidingsArchiveStuck", {_stuck("damaged"): f"0x8 {GAP} 0x8 stale"}),
    _fires(
        "TidingsArchivedMessagesUnreadable",
        {_cold("hit"): "0+9x60", _cold("damaged"): "0x20 1x20"},
        at="6m",
        outcome="damaged",
    ),
    _normal("TidingsArchivedMessagesUnreadable", {_cold("fetched"): "0+9x60", _cold("missing"): "3x60"}),
    _restart(
        "TidingsArchivedMessagesUnreadable",
        {_cold("hit"): f"90x20 {GAP} 0+1x60", _cold("missing"): f"3x20 {GAP} 0x60"},
    ),
)


def _absence(alert: str, metric: str, **labels: str) -> Sequence[Case]:
    return (
        _fires(alert, {metric: "1x20 stale"}, **labels),
        _fires(alert, {}, **labels),
        _normal(alert, {metric: "0x60"}),
        _restart(alert, {metric: "1x20 stale _x4 0x60"}),
    )


_PRESENCE: Sequence[Case] = (
    *_absence("TidingsGatewayAbsent", _gateway("tidings_connections")),
    *_absence("TidingsPersisterAbsent", _stage("tidings_partitions_expected", "persister"), stage="persister"),
    *_absence("TidingsFanoutAbsent", _stage("tidings_partitions_expected", "deliver"), stage="deliver"),
    *_absence("TidingsReceiptsAbsent", _stage("tidings_partitions_expected", "receipts"), stage="receipts"),
    _fires("TidingsWatchdog", {}),
)


def _budget(alert: str, total: str, bad: str, per_scrape: int, *, is_bucket: bool) -> Sequence[Case]:
    """Cases of both alerts on a promise. `bad` counts the bad events, or the good ones if it is a bucket.

    The budget of a bucket is 1 % of all events, that of the others 0.01 %.
    """
    budget = per_scrape // 100 if is_bucket else per_scrape // 10_000

    def burnt(times: float) -> Values:
        """So many times more bad events than the budget has."""
        wrong = round(times * budget)
        return {total: f"0+{per_scrape}x200", bad: f"0+{per_scrape - wrong if is_bucket else wrong}x200"}

    # In the minute of the restart no event is good, or ten sends are not answered.
    after = f"0 0+{per_scrape}x150" if is_bucket else "10x150"
    restart = {
        total: f"0+{per_scrape}x60 {GAP} 0+{per_scrape}x150",
        bad: f"0+{per_scrape if is_bucket else 0}x60 {GAP} {after}",
    }
    # One bad event of very few.
    quiet = {total: "0+1x20 20x200", bad: "0+1x19 19x200" if is_bucket else "0x10 1x200"}
    fast, lasting = alert, f"{alert}Lasting"
    return (
        _fires(fast, burnt(60), at="40m", scrape="1m"),
        _normal(fast, burnt(3), at="3h", scrape="1m"),
        _normal(fast, quiet, at="3h", scrape="1m"),
        _restart(fast, restart, at="3h", scrape="1m"),
        _fires(lasting, burnt(3), at="3h", scrape="1m"),
        _normal(lasting, burnt(0.5), at="3h", scrape="1m"),
        _normal(lasting, quiet, at="3h", scrape="1m"),
        _restart(lasting, restart, at="3h", scrape="1m"),
    )


_CONFIRMED = _gateway("tidings_commands_total", outcome="confirmed")
_UNANSWERED = _gateway("tidings_sends_unanswered_total")


def _counted(metric: str) -> tuple[str, str]:
    return _gateway(f"{metric}_count"), _gateway(f"{metric}_bucket", le="1.0")


_PROMISES: Sequence[Case] = (
    *_budget("TidingsSendsUnanswered", _CONFIRMED, _UNANSWERED, 20_000, is_bucket=False),
    *_budget("TidingsAcksSlow", *_counted("tidings_send_seconds"), 1_000, is_bucket=True),
    *_budget("TidingsDeliverySlow", *_counted("tidings_delivery_seconds"), 1_000, is_bucket=True),
)

_AUDIT: Sequence[Case] = (
    _fires("TidingsAuditFound", {_series("tidings_audit_findings", kind="missing"): "0x8 2x40"}, kind="missing"),
    _normal("TidingsAuditFound", {_series("tidings_audit_findings", kind="missing"): "0x40"}),
    _restart("TidingsAuditFound", {_series("tidings_audit_findings", kind="doubled"): f"0x20 {GAP} 0x60"}),
    _fires("TidingsAuditIncomplete", {"tidings_audit_unseen_places": "0x9 3x480"}, at="8h", scrape="1m"),
    _normal("TidingsAuditIncomplete", {"tidings_audit_unseen_places": "0x9 3x300 0x240"}, at="9h", scrape="1m"),
    _restart("TidingsAuditIncomplete", {"tidings_audit_unseen_places": f"3x300 {GAP} 0x240"}, at="9h", scrape="1m"),
)

CASES: Sequence[Case] = (
    *_PARTITIONS,
    *_BACKLOG,
    *_RECORDS,
    *_GATEWAYS,
    *_PROCESS,
    *_SERVERS,
    *_ARCHIVE,
    *_AUDIT,
    *_PRESENCE,
    *_PROMISES,
)
