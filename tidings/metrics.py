"""Every metric of every service: kind, unit, meaning, and what to do about it. No metric is declared elsewhere.

The docs are generated from `CATALOGUE`. The code uses the objects below it. A new metric also needs an entry in
`metric_series`, which names the services that show it and its label values.
"""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

# Seconds, from a quick round (2 ms) to a stage that counts as hung (30 s).
_LATENCY_S = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
# Few, because these metrics have many series: a table, a topic or a route each.
_REQUEST_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_BLOCKED_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15)

CATALOGUE: list["Metric"] = []


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the catalogue."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    action: str


def _counter(name: str, meaning: str, action: str, *labels: str) -> Counter:
    CATALOGUE.append(Metric(name, "counter", meaning, action))
    return Counter(name, meaning, labels)


def _gauge(name: str, meaning: str, action: str, *labels: str) -> Gauge:
    CATALOGUE.append(Metric(name, "gauge", meaning, action))
    return Gauge(name, meaning, labels)


def _histogram(name: str, meaning: str, action: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    CATALOGUE.append(Metric(name, "histogram", meaning, action))
    return Histogram(name, meaning, labels, buckets=buckets)


ROUNDS = _counter(
    "tidings_rounds_total",
    "rounds of a worker by outcome: confirmed, repeated, dropped",
    "many repeated: look at the log lines of the stage for the server that does not confirm",
    "stage",
    "outcome",
)
ROUND_SECONDS = _histogram(
    "tidings_round_seconds",
    "time of one round, from gathered to confirmed",
    "p99 above 1 s: Cassandra or Kafka is slow, or the rounds are full; scale the stage",
    _LATENCY_S,
    "stage",
)
ROUND_STEP_SECONDS = _histogram(
    "tidings_round_step_seconds",
    "time of one step of a round: load (reads), decide (CPU, and all that is in no other step), write (to the tables), "
    "emit (to the log)",
    "load, write: see tidings_store_seconds; emit: see tidings_produce_seconds; decide: the process lacks CPU",
    _REQUEST_S,
    "stage",
    "step",
)
ROUND_RECORDS = _histogram(
    "tidings_round_records",
    "records in one round",
    "constantly at the bound: the stage is at its limit; scale it",
    _SIZES,
    "stage",
)
LAG_SECONDS = _histogram(
    "tidings_lag_seconds",
    "from the broker's time of a record to its confirmation by the stage, for the oldest record of a partition in a "
    "round (clocks of broker and stage compared)",
    "growing: scale the stage, or look at what it waits for",
    _LATENCY_S,
    "stage",
)
BACKLOG_RECORDS = _gauge(
    "tidings_backlog_records",
    "records in the log that the stage has not confirmed, over the partitions of this process. Measured every few "
    "seconds, also while nothing moves",
    "growing: scale the stage, or look at what it waits for",
    "stage",
)
BACKLOG_SECONDS = _gauge(
    "tidings_backlog_seconds",
    "age of the oldest unconfirmed record of this process, at least; 0 without a backlog. It grows while nothing moves",
    "above 30 s: the stage is stalled; see A stage stands still in the runbook",
    "stage",
)
PARTITIONS_EXPECTED = _gauge(
    "tidings_partitions_expected",
    "partitions of the topics of a stage, which its processes have to own together",
    'the sum of tidings_partitions{state=~"loading|ready|stopped"} is lower: no process owns some partitions',
    "stage",
)
REBALANCES = _counter(
    "tidings_rebalances_total",
    "assignments that the workers of this process have got",
    "many outside a rollout: processes miss their heartbeats; see tidings_loop_lag_seconds",
    "stage",
)
REPEATS = _counter(
    "tidings_repeats_total",
    "records dropped because the stage had finished with them before",
    "expected after a restart or rebalance; a steady flow means an earlier stage keeps replaying",
    "stage",
)
PARTITIONS = _gauge(
    "tidings_partitions",
    "partitions of a stage by state: loading, ready, paused, stopped; repeating: the same round failed 30 times",
    "stopped above 0: the log line `partition stopped` names the reason and the action; repeating above 0: "
    "the log lines `round repeated` name what does not confirm",
    "stage",
    "state",
)
DEAD_LETTERS = _counter(
    "tidings_dead_letters_total",
    "records put aside as poison",
    "`tidings dlq list` shows them",
    "stage",
)
HINTS = _counter(
    "tidings_hints_total",
    "push records by outcome: sent, lost",
    "lost: a push partition has no leader or the broker is slow; clients repair by sync",
    "stage",
    "outcome",
)
HINTS_WAITING = _gauge(
    "tidings_hints_waiting",
    "push records that wait for the partitions of gateways, at most 10,000 for each",
    "constantly above 0: a push partition is slow; see Hints lost in the runbook",
    "stage",
)
COMMITS = _counter(
    "tidings_commits_total",
    "commits by outcome: done, failed, fenced",
    "fenced is normal at a rebalance; failed: the group coordinator does not answer",
    "stage",
    "outcome",
)
LOOP_LAG_SECONDS = _histogram(
    "tidings_loop_lag_seconds",
    "how late the event loop of the process ran a timer, measured four times per second",
    "above 1 s: the process is starved of CPU or blocked; at half the session time-out it drops its round",
    _BLOCKED_S,
)
BUILD_INFO = _gauge(
    "tidings_build_info",
    "1, with the version of the package, the rules of the log that it writes, and the epoch of the log as labels",
    "several versions or rules for hours: a rollout has not ended",
    "version",
    "rules",
    "epoch",
)
STORE_SECONDS = _histogram(
    "tidings_store_seconds",
    "requests to Cassandra by table and operation: read, write, delete, transaction; a batch counts for the table of "
    "its first row",
    "one table alone is slow: large partitions or tombstones; all are: the cluster is",
    _REQUEST_S,
    "table",
    "operation",
)
STORE_ERRORS = _counter(
    "tidings_store_errors_total",
    "requests that Cassandra did not confirm, by kind: timed_out (no answer), refused (an error of the cluster, as "
    "too few replicas)",
    "see Cassandra or Kafka away in the runbook",
    "kind",
)
PRODUCE_SECONDS = _histogram(
    "tidings_produce_seconds",
    "batches appended to the log, from their sending to the confirmation of all in-sync replicas",
    "p99 above 1 s: a broker is slow, or fewer replicas are in sync",
    _REQUEST_S,
    "topic",
)
PRODUCER_RESETS = _counter(
    "tidings_producer_resets_total",
    "connections of producers dropped because an append failed or timed out",
    "see Cassandra or Kafka away in the runbook",
)
FETCHED_RECORDS = _counter(
    "tidings_fetched_records_total", "records that a worker has taken, by topic", "none", "topic"
)
CLOCK_SKEW_SECONDS = _gauge(
    "tidings_clock_skew_seconds",
    "how far the broker's clock is ahead of this process's (below 0: behind), as of its last append. "
    "0 if the append took longer than the difference",
    "beyond 2 s either way: look at NTP on the machine that differs from the others. Mutes end by log time",
)
SERVER_SILENT_SECONDS = _gauge(
    "tidings_server_silent_seconds",
    "since when Kafka or Cassandra has not answered this process, by server; 0 while it answers",
    "above 15 s the process is not ready: see Cassandra or Kafka away",
    "server",
)
ARCHIVED_SEGMENTS = _counter(
    "tidings_archived_segments_total",
    "segments that the archiver has moved to objects",
    "of one run; whether runs succeed, the state of the archiver's job says",
)
ARCHIVED_MESSAGES = _counter("tidings_archived_messages_total", "messages in these segments", "none")
ARCHIVED_BYTES = _counter("tidings_archived_bytes_total", "bytes of the objects that the archiver has stored", "none")
ARCHIVE_STUCK = _gauge(
    "tidings_archive_stuck_segments",
    "segments that the run could not finish, by reason: incomplete, damaged, held (too old, and not archived)",
    "above 0: see The archiver fails in the runbook",
    "reason",
)
AUDIT_FINDINGS = _gauge(
    "tidings_audit_findings",
    "breaches that the last whole pass of the audit has found, by kind: missing, doubled, out_of_order, orphaned",
    "above 0: see The audit found something in the runbook",
    "kind",
)
AUDIT_UNSEEN = _gauge(
    "tidings_audit_unseen_places",
    "places that the last whole pass could not look at, because the object store did not answer",
    "above 0 for two passes: look at the object store",
)
AUDIT_ROWS = _counter("tidings_audit_rows_total", "rows that the audit has read, and its other questions", "none")
AUDIT_LAST_PASS_SECONDS = _gauge(
    "tidings_audit_last_pass_timestamp_seconds",
    "time of the end of the last whole pass, in seconds since 1970; 0 before the first one",
    "days ago: the log lines of the auditor say how far it is, and what does not answer",
)
DECISIONS = _counter(
    "tidings_decisions_total",
    "commands by decision of the persister: stored, duplicate, unchanged (no user to add), or the code of the refusal",
    "a wave of one code points to one client version",
    "outcome",
)
INBOX_ROWS = _counter("tidings_inbox_rows_total", "inbox rows written: what write diffusion costs", "none")
PUSHES = _counter(
    "tidings_pushes_total",
    "push records that fanout sent, by way: write (inbox) or read (group log)",
    "none",
    "mode",
)
USERS_PRESENT = _gauge(
    "tidings_users_present",
    "users with a connection, as read from the log, in the user partitions that it delivers for",
    "the sum of all fanouts is far below the users that are connected: presence is behind or lost",
)
WATERMARKS = _counter("tidings_watermarks_total", "watermarks that moved", "none")
WATERMARKS_DROPPED = _counter(
    "tidings_watermarks_dropped_total",
    "watermarks that receipts dropped, by reason: not_a_member (of the group)",
    "a few are normal after removals; many: a gateway has outdated members",
    "reason",
)
CONNECTIONS = _gauge("tidings_connections", "live connections of this gateway", "uneven: see the balancer")
CONNECTIONS_MOST = _gauge(
    "tidings_connections_most",
    "connections that this gateway takes: TIDINGS_MAX_CONNECTIONS, or what its file limit leaves",
    "connections above 85 % of it: run more gateways, or raise the limit",
)
REFUSED_SOCKETS = _counter(
    "tidings_refused_sockets_total",
    "handshakes and sockets refused, by reason: full, draining (503), origin (403), protocol (no WebSocket path or "
    "subprotocol of ours)",
    "full: see tidings_connections_most; origin: TIDINGS_ALLOWED_ORIGINS lacks a page",
    "reason",
)
CLOSES = _counter(
    "tidings_closes_total",
    "connections closed, by close code",
    "4408: clients too slow or not acking; 4503: a fault of the gateway",
    "code",
)
FRAMES = _counter(
    "tidings_frames_total",
    "frames by direction, type; in: hello, send, sync, ack_ahead, watermark; "
    "out: live, message, receipt, group_receipt, send_ack, send_error",
    "none",
    "direction",
    "type",
)
COMMANDS = _counter(
    "tidings_commands_total",
    "commands by outcome: confirmed (by Kafka), unknown, refused",
    "unknown: Kafka did not answer within 5 s",
    "outcome",
)
PUSH_RECORDS = _counter(
    "tidings_push_records_total",
    "push records at the gateway by outcome: routed, other_epoch, unreadable",
    "other_epoch is normal after a restart; unreadable: the gateway is older than what is pushed",
    "outcome",
)
HISTORY_BLOCKS = _counter(
    "tidings_history_blocks_total",
    "requested blocks of 64 messages, by outcome: hit (in memory), read, joined (a read under way)",
    "few hits while the cache is full: raise TIDINGS_HISTORY_CACHE_BYTES",
    "outcome",
)
SESSION_LISTS = _counter(
    "tidings_session_lists_total",
    "pages of session lists by source of their order: kept (in memory, updated from the inbox), read (all heads)",
    "mostly read: more users list their sessions than a gateway can cache; run more gateways",
    "outcome",
)
HISTORY_CACHE_BYTES = _gauge("tidings_history_cache_bytes", "bytes of the messages that a gateway keeps", "none")
COLD_READS = _counter(
    "tidings_cold_reads_total",
    "reads of archived messages by outcome: hit (object on disk), fetched, failed (store or disk), missing, damaged",
    "damaged, missing: `tidings archive verify` names the objects; failed: look at the object store; "
    "mostly fetched: raise TIDINGS_COLD_CACHE_BYTES",
    "outcome",
)
COLD_CACHE_BYTES = _gauge("tidings_cold_cache_bytes", "bytes of archived objects on the local disk", "none")
SEND_SECONDS = _histogram(
    "tidings_send_seconds",
    "from a command's publishing to its answer at the gateway",
    "p99 above 1 s: see the persister's rounds",
    _LATENCY_S,
)
SEND_UNANSWERED = _counter(
    "tidings_sends_unanswered_total",
    "commands without an answer 5 s after their publishing. An answer may still come",
    "see Sends are not answered in the runbook",
)
DELIVERY_SECONDS = _histogram(
    "tidings_delivery_seconds",
    "from the log's time of a message to its push to the connections of this gateway (clocks of broker and gateway "
    "compared)",
    "p99 above 1 s: compare the lags of the stages",
    _LATENCY_S,
)
RESYNCS = _counter(
    "tidings_resyncs_total",
    "lost pushes that fanout reported to this gateway, after which all its connections announce themselves again",
    "see Hints lost in the runbook",
)
TRUNCATED_PAGES = _counter(
    "tidings_truncated_pages_total",
    "inbox pages before which rows had expired, so a client has missed pushes and reads history instead",
    "expected for devices that were away for weeks; otherwise rows were lost",
)
OUTBOX_BYTES = _gauge(
    "tidings_outbox_bytes", "bytes of frames that wait for slow clients", "growing: see 4408 in tidings_closes_total"
)
RESUMES_WAITING = _gauge(
    "tidings_resumes_waiting",
    "inbox pages that wait for one of the reads at once",
    "constantly above 0: raise TIDINGS_RESUMES_AT_ONCE, or run more gateways",
)
MEDIA_BYTES = _counter(
    "tidings_media_bytes_total",
    "bytes of uploads and downloads through the gateway, by direction: in, out",
    "out near the network's limit: set TIDINGS_MEDIA_REDIRECT_S, so that the object store serves downloads",
    "direction",
)
UPLOADS = _counter(
    "tidings_uploads_total",
    "uploads by outcome: stored (repeats too), or the code of the refusal; those that the client cuts are not counted",
    "unavailable: see the log lines of the gateway; rate_limited: a client repeats, or the quota is too low; "
    "a wave of another code points to one client version",
    "outcome",
)
IMAGE_PROCESSES = _counter(
    "tidings_image_processes_total",
    "processes that decode an uploaded image, by outcome: answered, failed, timed_out, not_started",
    "failed, timed_out: broken or hostile images, or a container with too little memory; not_started: the machine has "
    "no room for the process",
    "outcome",
)
HTTP_SECONDS = _histogram(
    "tidings_http_seconds",
    "REST calls by method, route and class of status: 2xx, 3xx, 4xx, 5xx, none (the client cut the call)",
    "5xx: see the log lines of the gateway",
    _REQUEST_S,
    "method",
    "route",
    "status",
)
