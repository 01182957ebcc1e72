"""The metrics of each service and their label values. All series exist from the start, with 0.

A counter that first appears with 1 shows no increase, so an alert on its rate would miss the first event. A metric
that stays at 0 in a service that never changes it would distort every average.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from tidings import metrics
from tidings.close_codes import NOT_OURS, CloseCode
from tidings.runtime.lanes import Gate
from tidings.topics import (
    DEAD_LETTERS,
    DELIVERIES,
    GATEWAYS,
    MESSAGES_INBOUND,
    MESSAGES_PERSISTED,
    PRESENCE,
    PUSH,
    RECEIPTS_INBOUND,
)

Collector = Counter | Gauge | Histogram
Labels = tuple[str, ...]

STAGES: Mapping[str, Sequence[str]] = {
    "persister": ("persister",),
    "fanout": ("expand", "deliver"),
    "receipts": ("receipts",),
}
GATEWAY = "gateway"
SERVICES = (GATEWAY, *STAGES)


@dataclass(frozen=True, slots=True)
class Series:
    """A metric, and the label values with which each of its services starts."""

    metric: Collector
    labels: Mapping[str, Collection[Labels]]


def _stages(metric: Collector, *values: str, only: Collection[str] = tuple(STAGES)) -> Series:
    """Series by stage, and by `values` if the metric has a second label."""
    ends: Collection[Labels] = [(value,) for value in values] or [()]
    return Series(metric, {service: [(stage, *end) for stage in STAGES[service] for end in ends] for service in only})


def _services(metric: Collector, services: Collection[str], *values: Labels) -> Series:
    return Series(metric, dict.fromkeys(services, values))


def _one(*values: str) -> tuple[Labels, ...]:
    return tuple((value,) for value in values)


# The codes with which the persister refuses a command.
REFUSALS = (
    "clock_skew",
    "conflict",
    "forbidden",
    "group_full",
    "invalid_body",
    "muted",
    "not_member",
    "session_not_found",
    "too_old",
)
# The codes with which a gateway refuses an upload.
UPLOAD_REFUSALS = (
    "conflict",
    "invalid_body",
    "invalid_frame",
    "rate_limited",
    "timeout",
    "too_large",
    "unavailable",
)
CLOSE_CODES = tuple(str(int(code)) for code in (NOT_OURS, *CloseCode))
_FRAMES_IN = ("hello", "send", "sync", "ack_ahead", "watermark")
_FRAMES_OUT = ("live", "message", "receipt", "group_receipt", "send_ack", "send_error")
_FRAMES = (*(("in", name) for name in _FRAMES_IN), *(("out", name) for name in _FRAMES_OUT))

# The topics that each service appends to, and those that its workers read.
_PRODUCED = {
    GATEWAY: (MESSAGES_INBOUND, RECEIPTS_INBOUND, PRESENCE, GATEWAYS),
    "persister": (MESSAGES_PERSISTED, PUSH, DEAD_LETTERS),
    "fanout": (DELIVERIES, PUSH),
    "receipts": (DELIVERIES, DEAD_LETTERS),
}
_FETCHED = {
    "persister": (MESSAGES_INBOUND,),
    "fanout": (MESSAGES_PERSISTED, DELIVERIES),
    "receipts": (RECEIPTS_INBOUND, MESSAGES_PERSISTED),
}

SERIES: Sequence[Series] = (
    _stages(metrics.ROUNDS, "confirmed", "repeated", "dropped"),
    _stages(metrics.ROUND_SECONDS),
    _stages(metrics.ROUND_STEP_SECONDS, "load", "decide", "write", "emit"),
    _stages(metrics.ROUND_RECORDS),
    _stages(metrics.LAG_SECONDS),
    _stages(metrics.BACKLOG_RECORDS),
    _stages(metrics.BACKLOG_SECONDS),
    _stages(metrics.PARTITIONS_EXPECTED),
    _stages(metrics.REBALANCES),
    _stages(metrics.REPEATS),
    _stages(metrics.PARTITIONS, *(gate.value for gate in Gate), "repeating", "paused"),
    _stages(metrics.DEAD_LETTERS, only=("persister", "receipts")),
    _stages(metrics.HINTS, "sent", "lost", only=("persister", "fanout")),
    _stages(metrics.HINTS_WAITING, only=("persister", "fanout")),
    _stages(metrics.COMMITS, "done", "failed", "fenced"),
    _services(metrics.LOOP_LAG_SECONDS, SERVICES),
    # Its labels come from the settings.
    _services(metrics.BUILD_INFO, SERVICES),
    # Not created in advance, because a service uses few of all tables.
    _services(metrics.STORE_SECONDS, SERVICES),
    _services(metrics.STORE_ERRORS, SERVICES, *_one("timed_out", "refused")),
    Series(metrics.PRODUCE_SECONDS, {service: _one(*topics) for service, topics in _PRODUCED.items()}),
    _services(metrics.PRODUCER_RESETS, SERVICES),
    Series(metrics.FETCHED_RECORDS, {service: _one(*topics) for service, topics in _FETCHED.items()}),
    _services(metrics.CLOCK_SKEW_SECONDS, SERVICES),
    _services(metrics.SERVER_SILENT_SECONDS, SERVICES, *_one("kafka", "cassandra")),
    _services(
        metrics.DECISIONS,
        ("persister",),
        *_one("stored", "duplicate", "unchanged", "segment_closed", "segment_left_open", *REFUSALS),
    ),
    _services(metrics.ARCHIVED_SEGMENTS, ("archiver",)),
    _services(metrics.ARCHIVED_MESSAGES, ("archiver",)),
    _services(metrics.ARCHIVED_BYTES, ("archiver",)),
    _services(metrics.ARCHIVE_STUCK, ("archiver",), *_one("incomplete", "damaged", "held")),
    _services(metrics.AUDIT_FINDINGS, ("auditor",), *_one("missing", "doubled", "out_of_order", "orphaned")),
    _services(metrics.AUDIT_UNSEEN, ("auditor",)),
    _services(metrics.AUDIT_ROWS, ("auditor",)),
    _services(metrics.AUDIT_LAST_PASS_SECONDS, ("auditor",)),
    _services(metrics.INBOX_ROWS, ("fanout",)),
    _services(metrics.PUSHES, ("fanout",), *_one("write", "read")),
    _services(metrics.USERS_PRESENT, ("fanout",)),
    _services(metrics.WATERMARKS, ("receipts",)),
    _services(metrics.WATERMARKS_DROPPED, ("receipts",), *_one("not_a_member")),
    _services(metrics.CONNECTIONS, (GATEWAY,)),
    _services(metrics.CONNECTIONS_MOST, (GATEWAY,)),
    _services(metrics.REFUSED_SOCKETS, (GATEWAY,), *_one("full", "draining", "origin", "protocol")),
    _services(metrics.CLOSES, (GATEWAY,), *_one(*CLOSE_CODES)),
    _services(metrics.FRAMES, (GATEWAY,), *_FRAMES),
    _services(metrics.COMMANDS, (GATEWAY,), *_one("confirmed", "unknown", "refused")),
    _services(metrics.PUSH_RECORDS, (GATEWAY,), *_one("routed", "other_epoch", "unreadable")),
    _services(metrics.HISTORY_BLOCKS, (GATEWAY,), *_one("hit", "read", "joined")),
    _services(metrics.SESSION_LISTS, (GATEWAY,), *_one("kept", "read")),
    _services(metrics.HISTORY_CACHE_BYTES, (GATEWAY,)),
    _services(metrics.COLD_READS, (GATEWAY,), *_one("hit", "fetched", "failed", "missing", "damaged")),
    _services(metrics.COLD_CACHE_BYTES, (GATEWAY,)),
    _services(metrics.SEND_SECONDS, (GATEWAY,)),
    _services(metrics.SEND_UNANSWERED, (GATEWAY,)),
    _services(metrics.DELIVERY_SECONDS, (GATEWAY,)),
    _services(metrics.RESYNCS, (GATEWAY,)),
    _services(metrics.TRUNCATED_PAGES, (GATEWAY,)),
    _services(metrics.OUTBOX_BYTES, (GATEWAY,)),
    _services(metrics.RESUMES_WAITING, (GATEWAY,)),
    _services(metrics.MEDIA_BYTES, (GATEWAY,), *_one("in", "out")),
    _services(metrics.UPLOADS, (GATEWAY,), *_one("stored", *UPLOAD_REFUSALS)),
    _services(metrics.IMAGE_PROCESSES, (GATEWAY,), *_one("answered", "failed", "timed_out", "not_started")),
    # Not created in advance, because all routes, statuses and buckets would be thousands of series, mostly 0.
    _services(metrics.HTTP_SECONDS, (GATEWAY,)),
)


def begin(*services: str) -> None:
    """Create all series of these services with 0, and remove the metrics of all others.

    Composition roots call it once in a process.
    """
    for series in SERIES:
        owners = [service for service in services if service in series.labels]
        if not owners:
            REGISTRY.unregister(series.metric)
        for service in owners:
            for values in series.labels[service]:
                series.metric.labels(*values)
