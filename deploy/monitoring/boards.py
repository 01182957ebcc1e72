"""All dashboards. The overview has the order of the data: what users notice, then gateway, stages and servers."""

from collections.abc import Sequence

from deploy.monitoring.panels import Board, Panel, Query, Row, gauge, mean, p50_p99, quantile, rate
from deploy.monitoring.stage_boards import FANOUT, PERSISTER, RECEIPTS

_SENT = 'tidings_commands_total{outcome=~"confirmed|unknown"}'


def _budget_left(histogram: str) -> str:
    """The share of the 30 days' budget of 1 % that is left."""
    good, all_ = f'{histogram}_bucket{{le="1.0"}}', f"{histogram}_count"
    return f"1 - (1 - sum(increase({good}[30d])) / sum(increase({all_}[30d]))) / 0.01"


_OVERVIEW = Board(
    "overview",
    "Tidings / Overview",
    (
        Row(
            "What users notice",
            (
                Panel(
                    "Error budget left of 30 days",
                    "percentunit",
                    "Below 0 % the promise is broken for these 30 days.",
                    (
                        Query(
                            f"1 - sum(increase(tidings_sends_unanswered_total[30d])) / sum(increase({_SENT}[30d]))"
                            " / 0.0001",
                            "sends answered within 5 s (99.99 %)",
                        ),
                        Query(_budget_left("tidings_send_seconds"), "acks within 1 s (99 %)"),
                        Query(_budget_left("tidings_delivery_seconds"), "deliveries within 1 s (99 %)"),
                    ),
                    is_single_value=True,
                ),
                Panel(
                    "Burn rate of the last hour",
                    "short",
                    "Above 1 the budget does not last 30 days. An alert fires at 14.4.",
                    (
                        Query("tidings:sends_unanswered:ratio_rate1h / 0.0001", "sends answered"),
                        Query("tidings:acks_slow:ratio_rate1h / 0.01", "acks"),
                        Query("tidings:deliveries_slow:ratio_rate1h / 0.01", "deliveries"),
                    ),
                ),
                Panel(
                    "Ack",
                    "s",
                    "A p99 above 1 s is noticed by users. Compare with the lag of the persister.",
                    p50_p99("tidings_send_seconds"),
                ),
                Panel(
                    "Delivery",
                    "s",
                    "If it is slow and acks are not, look at expand and deliver below.",
                    p50_p99("tidings_delivery_seconds"),
                ),
                Panel(
                    "Sends without an answer after 5 s",
                    "ops",
                    "Any line above 0 means that clients repeat their sends.",
                    (rate("tidings_sends_unanswered_total"),),
                ),
            ),
        ),
        Row(
            "Flow",
            (
                Panel(
                    "Commands at the gateways",
                    "ops",
                    "Unknown means that Kafka did not confirm within 5 s.",
                    (rate("tidings_commands_total", "outcome"),),
                ),
                Panel(
                    "Messages stored",
                    "ops",
                    "It follows the confirmed commands. A gap between both is the backlog of the persister.",
                    (rate('tidings_decisions_total{outcome="stored"}'),),
                ),
                Panel(
                    "Pushes by fanout",
                    "ops",
                    "It follows the stored messages, times their recipients.",
                    (rate("tidings_pushes_total", "mode"),),
                ),
                Panel(
                    "Frames to clients",
                    "ops",
                    "It follows the pushes, if clients are connected.",
                    (rate('tidings_frames_total{direction="out"}', "type"),),
                ),
            ),
        ),
        Row(
            "Stages",
            (
                Panel(
                    "Age of the oldest unconfirmed record",
                    "s",
                    "The first stage in the order persister, expand, deliver that rises is the cause.",
                    (gauge("max", "tidings_backlog_seconds", "stage"),),
                ),
                Panel(
                    "Records that wait",
                    "short",
                    "A line that rises for minutes means that more arrives than is confirmed.",
                    (Query("stage:tidings_backlog_records:sum", "{{stage}}"),),
                ),
                Panel(
                    "Lag at confirmation, p99",
                    "s",
                    "Stages add up to the delivery.",
                    (quantile(0.99, "tidings_lag_seconds", "stage"),),
                ),
                Panel(
                    "Partitions that need an operator",
                    "short",
                    "Any above 0 is in the runbook under Partition stopped or Rounds are repeated.",
                    (gauge("sum", 'tidings_partitions{state=~"stopped|repeating"}', "stage", "state"),),
                ),
            ),
        ),
        Row(
            "Connections and servers",
            (
                Panel(
                    "Connections",
                    "short",
                    "A fall that is no rollout means that clients cannot connect.",
                    (
                        Query("sum(tidings_connections)", "connections"),
                        Query("sum(tidings_connections_most)", "limit of all gateways"),
                    ),
                ),
                Panel(
                    "Silence of Kafka and Cassandra",
                    "s",
                    "Above 15 s processes are not ready.",
                    (gauge("max", "tidings_server_silent_seconds", "server"),),
                ),
            ),
        ),
    ),
)

_GATEWAY = Board(
    "gateway",
    "Tidings / Gateway",
    (
        Row(
            "Connections",
            (
                Panel(
                    "Share of the connections that a gateway takes",
                    "percentunit",
                    "Above 85 % add gateways. One line far above the others means that the balancer is uneven.",
                    (Query("tidings_connections / tidings_connections_most", "{{instance}}"),),
                ),
                Panel(
                    "Connections closed by code",
                    "ops",
                    "4408 are slow clients, 4503 are faults of the gateway, 1001 is a rollout.",
                    (rate("tidings_closes_total", "code"),),
                ),
                Panel(
                    "Sockets refused",
                    "ops",
                    "Full: add gateways. Origin: a page is missing in TIDINGS_ALLOWED_ORIGINS.",
                    (rate("tidings_refused_sockets_total", "reason"),),
                ),
                Panel(
                    "Bytes that wait for slow clients",
                    "bytes",
                    "A line that rises ends in closes with 4408.",
                    (gauge("sum", "tidings_outbox_bytes", "instance"),),
                ),
                Panel(
                    "Inbox pages that wait",
                    "short",
                    "Constantly above 0: raise TIDINGS_RESUMES_AT_ONCE, or add gateways.",
                    (gauge("sum", "tidings_resumes_waiting", "instance"),),
                ),
                Panel(
                    "Event loop late, p99",
                    "s",
                    "Above 0.1 s every client of this gateway waits.",
                    (
                        Query(
                            quantile(0.99, "tidings_loop_lag_seconds", "instance").expr
                            + " and on (instance) tidings_connections",
                            "{{instance}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Messages",
            (
                Panel(
                    "Frames from and to clients",
                    "ops",
                    "Syncs that rise alone mean that pushes are lost.",
                    (rate("tidings_frames_total", "direction", "type"),),
                ),
                Panel(
                    "Commands by outcome",
                    "ops",
                    "Unknown: Kafka is slow. Refused: clients send too much, or nonsense.",
                    (rate("tidings_commands_total", "outcome"),),
                ),
                Panel(
                    "Ack p99 by gateway",
                    "s",
                    "One line above the others points to that gateway, all to the persister.",
                    (quantile(0.99, "tidings_send_seconds", "instance"),),
                ),
                Panel(
                    "Delivery p99 by gateway",
                    "s",
                    "One line above the others points to that gateway or to its clock.",
                    (quantile(0.99, "tidings_delivery_seconds", "instance"),),
                ),
                Panel(
                    "Push records by outcome",
                    "ops",
                    "Unreadable ones mean that the gateway is older than what is pushed.",
                    (rate("tidings_push_records_total", "outcome"),),
                ),
                Panel(
                    "Resyncs",
                    "ops",
                    "Each one is a lost push, after which all connections of a gateway announce themselves.",
                    (rate("tidings_resyncs_total", "instance"),),
                ),
                Panel(
                    "Truncated inbox pages",
                    "ops",
                    "Devices that were away for weeks are expected. Others mean that rows were lost.",
                    (rate("tidings_truncated_pages_total"),),
                ),
            ),
        ),
        Row(
            "REST",
            (
                Panel(
                    "Calls by class of status",
                    "ops",
                    "5xx are faults of the gateway, or a server that is away.",
                    (rate("tidings_http_seconds_count", "status"),),
                ),
                Panel(
                    "Calls by route",
                    "ops",
                    "A single route that rises points to one client version.",
                    (rate("tidings_http_seconds_count", "method", "route"),),
                ),
                Panel(
                    "Time of a call, p99",
                    "s",
                    "Reads above 1 s: look at Cassandra by table.",
                    (quantile(0.99, "tidings_http_seconds", "method", "route"),),
                ),
            ),
        ),
        Row(
            "Reads and caches",
            (
                Panel(
                    "Blocks of history by source",
                    "ops",
                    "Few hits while the cache is full: raise TIDINGS_HISTORY_CACHE_BYTES.",
                    (rate("tidings_history_blocks_total", "outcome"),),
                ),
                Panel(
                    "Pages of session lists by source",
                    "ops",
                    "Mostly read: more users list their sessions than a gateway caches.",
                    (rate("tidings_session_lists_total", "outcome"),),
                ),
                Panel(
                    "Archived messages read",
                    "ops",
                    "Missing or damaged ones need an operator at once.",
                    (rate("tidings_cold_reads_total", "outcome"),),
                ),
                Panel(
                    "Bytes of the caches",
                    "bytes",
                    "Both stay below their settings.",
                    (
                        Query("sum by (instance) (tidings_history_cache_bytes)", "{{instance}} messages"),
                        Query("sum by (instance) (tidings_cold_cache_bytes)", "{{instance}} archived objects"),
                    ),
                ),
            ),
        ),
        Row(
            "Media",
            (
                Panel(
                    "Bytes of media",
                    "Bps",
                    "Out near the network's limit: set TIDINGS_MEDIA_REDIRECT_S.",
                    (rate("tidings_media_bytes_total", "direction"),),
                ),
                Panel(
                    "Uploads by outcome",
                    "ops",
                    "Unavailable: the object store is away. A wave of another code points to one client version.",
                    (rate("tidings_uploads_total", "outcome"),),
                ),
                Panel(
                    "Processes that decode images",
                    "ops",
                    "Failed or timed out: hostile images, or too little memory.",
                    (rate("tidings_image_processes_total", "outcome"),),
                ),
            ),
        ),
    ),
)

_SERVERS = Board(
    "servers",
    "Tidings / Kafka and Cassandra",
    (
        Row(
            "Reach",
            (
                Panel(
                    "Silence by process",
                    "s",
                    "One process alone points to its network, all to the server.",
                    (gauge("max", "tidings_server_silent_seconds", "server", "instance"),),
                ),
                Panel(
                    "Clock of the broker against that of the process",
                    "s",
                    "Beyond 2 s either way: look at NTP on the machine that differs.",
                    (gauge("max", "tidings_clock_skew_seconds", "instance"),),
                ),
            ),
        ),
        Row(
            "Kafka",
            (
                Panel(
                    "Append, p99 by topic",
                    "s",
                    "One topic alone points to the leaders of its partitions.",
                    (quantile(0.99, "tidings_produce_seconds", "topic"),),
                ),
                Panel(
                    "Batches appended by topic",
                    "ops",
                    "A topic that falls to 0 under load is not written any more.",
                    (rate("tidings_produce_seconds_count", "topic"),),
                ),
                Panel(
                    "Records fetched by topic",
                    "ops",
                    "A topic that falls to 0 under load is not read any more.",
                    (rate("tidings_fetched_records_total", "topic"),),
                ),
                Panel(
                    "Producer resets",
                    "ops",
                    "A few during a failover are normal. A steady rate means that appends fail.",
                    (rate("tidings_producer_resets_total", "instance"),),
                ),
                Panel(
                    "Commits that fail",
                    "ops",
                    "Any steady rate points to the coordinator of that group.",
                    (rate('tidings_commits_total{outcome="failed"}', "stage"),),
                ),
            ),
        ),
        Row(
            "Cassandra",
            (
                Panel(
                    "Requests, p99 by table and operation",
                    "s",
                    "One table alone has large partitions or tombstones. All are slow when the cluster is.",
                    (quantile(0.99, "tidings_store_seconds", "table", "operation"),),
                ),
                Panel(
                    "Requests by operation",
                    "ops",
                    "A transaction takes several round trips, so they should stay few.",
                    (rate("tidings_store_seconds_count", "operation"),),
                ),
                Panel(
                    "Requests by table",
                    "ops",
                    "A table that rises alone shows which feature asks for more.",
                    (rate("tidings_store_seconds_count", "table"),),
                ),
                Panel(
                    "Mean time of a request",
                    "s",
                    "If it rises with the p99, all requests are slow. If not, a few are.",
                    (mean("tidings_store_seconds", "operation"),),
                ),
                Panel(
                    "Requests not confirmed",
                    "ops",
                    "Timed out: no answer in time. Refused: too few replicas, or another error of the cluster.",
                    (rate("tidings_store_errors_total", "kind"),),
                ),
            ),
        ),
    ),
)

_AUDIT = Board(
    "audit",
    "Tidings / Audit",
    (
        Row(
            "The auditor",
            (
                Panel(
                    "Findings of the last pass",
                    "short",
                    "Any kind above 0 is in the runbook under The audit found something.",
                    (gauge("max", "tidings_audit_findings", "kind"),),
                ),
                Panel(
                    "Places not seen in the last pass",
                    "short",
                    "Above 0 while the object store is away.",
                    (Query("max(tidings_audit_unseen_places)", "places"),),
                ),
                Panel(
                    "Rows looked at",
                    "ops",
                    "At TIDINGS_AUDIT_ROWS_PER_S during a pass, and 0 between two passes.",
                    (Query("sum(rate(tidings_audit_rows_total[5m]))", "rows"),),
                ),
                Panel(
                    "Since the last pass",
                    "s",
                    "Longer each time: the tables have grown, so raise the rate. Very long before the first pass ends.",
                    (Query("time() - max(tidings_audit_last_pass_timestamp_seconds)", "pass"),),
                ),
            ),
        ),
    ),
)

_ROLLOUT = Board(
    "rollout",
    "Tidings / Rollout",
    (
        Row(
            "Versions and restarts",
            (
                Panel(
                    "Processes by version",
                    "short",
                    "Two lines during a rollout, and one after it.",
                    (
                        Query(
                            "count by (version, rules, epoch) (tidings_build_info)",
                            "{{version}} rules {{rules}} epoch {{epoch}}",
                        ),
                    ),
                ),
                Panel(
                    "Restarts in 10 minutes",
                    "short",
                    "A process that restarts again and again has its reason in its last log lines.",
                    (Query("sum by (instance) (resets(tidings_loop_lag_seconds_count[10m]))", "{{instance}}"),),
                ),
                Panel(
                    "Event loop late, p99",
                    "s",
                    "Above 1 s the process lacks CPU, and its worker may lose its partitions.",
                    (quantile(0.99, "tidings_loop_lag_seconds", "instance"),),
                ),
            ),
        ),
        Row(
            "Partitions",
            (
                Panel(
                    "Partitions without an owner",
                    "short",
                    "A few seconds above 0 at each rebalance are normal.",
                    (
                        Query(
                            "max by (stage) (tidings_partitions_expected)"
                            ' - sum by (stage) (tidings_partitions{state=~"loading|ready|stopped"})',
                            "{{stage}}",
                        ),
                    ),
                ),
                Panel(
                    "Partitions by state",
                    "short",
                    "Loading ends within seconds of a rebalance. Paused comes and goes under load.",
                    (gauge("sum", "tidings_partitions", "stage", "state"),),
                ),
                Panel(
                    "Rebalances in 10 minutes",
                    "short",
                    "Many outside of a rollout mean that processes miss their heartbeats.",
                    (Query("sum by (stage) (increase(tidings_rebalances_total[10m]))", "{{stage}}"),),
                ),
                Panel(
                    "Records dropped as repeats",
                    "ops",
                    "A burst after each restart is normal, and ends.",
                    (rate("tidings_repeats_total", "stage"),),
                ),
                Panel(
                    "Commits fenced",
                    "ops",
                    "They come with rebalances only.",
                    (rate('tidings_commits_total{outcome="fenced"}', "stage"),),
                ),
            ),
        ),
        Row(
            "Clients during a rollout",
            (
                Panel(
                    "Connections by gateway",
                    "short",
                    "A drained gateway falls evenly, and the others rise.",
                    (gauge("sum", "tidings_connections", "instance"),),
                ),
                Panel(
                    "Sockets refused",
                    "ops",
                    "Draining refusals last for seconds. Longer ones mean that the balancer has not left the pod out.",
                    (rate("tidings_refused_sockets_total", "reason"),),
                ),
            ),
        ),
    ),
)

BOARDS: Sequence[Board] = (_OVERVIEW, _GATEWAY, PERSISTER, FANOUT, RECEIPTS, _SERVERS, _ROLLOUT, _AUDIT)
