"""The topics, their retention and their consumer groups. They are declared only here."""

from dataclasses import dataclass

MESSAGES_INBOUND = "messages.inbound"
MESSAGES_PERSISTED = "messages.persisted"
DELIVERIES = "deliveries"
PRESENCE = "presence"
PUSH = "push"
GATEWAYS = "gateways"
RECEIPTS_INBOUND = "receipts.inbound"
DEAD_LETTERS = "dead-letters"

_MINUTE_MS = 60_000
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True)
class TopicSizes:
    """Partition counts, chosen once, because another count needs new topics and a higher epoch."""

    session_partitions: int = 8
    user_partitions: int = 8
    push_partitions: int = 16


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic as `tidings init` creates it. `settings` have the broker's own names."""

    name: str
    partitions: int
    settings: dict[str, str]


def _kept(retention_ms: int) -> dict[str, str]:
    return {"retention.ms": str(retention_ms), "cleanup.policy": "delete", **_LOG_TIME}


# Log time is the broker's: law 1 (the log decides). A record holds up to 24 KiB of text, and a batch up to a round.
TIME_SETTING = "message.timestamp.type"
_LOG_TIME = {TIME_SETTING: "LogAppendTime", "max.message.bytes": str(2 * 1024 * 1024)}


def declared(sizes: TopicSizes) -> tuple[Topic, ...]:
    """All topics. The table in docs/ARCHITECTURE.md has their producers, consumers and retention."""
    s, u = sizes.session_partitions, sizes.user_partitions
    return (
        Topic(MESSAGES_INBOUND, s, _kept(7 * _DAY_MS)),
        Topic(MESSAGES_PERSISTED, s, _kept(7 * _DAY_MS)),
        Topic(DELIVERIES, u, _kept(7 * _DAY_MS)),
        Topic(PRESENCE, u, _kept(24 * _HOUR_MS) | {"cleanup.policy": "compact,delete"}),
        Topic(PUSH, sizes.push_partitions, _kept(10 * _MINUTE_MS) | {"segment.ms": str(10 * _MINUTE_MS)}),
        Topic(GATEWAYS, 1, {**_LOG_TIME, "cleanup.policy": "compact"}),
        Topic(RECEIPTS_INBOUND, s, _kept(3 * _DAY_MS)),
        Topic(DEAD_LETTERS, s, _kept(30 * _DAY_MS)),
    )


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group and its topics. `tidings init` writes its first offsets."""

    name: str
    topics: tuple[str, ...]
    # How long the broker may gather records before it answers. For a group that waits anyway, as each answer costs CPU.
    gather_ms: int = 0

    def partitions(self, sizes: TopicSizes) -> int:
        """The number of partitions of its topics together."""
        return sum(topic.partitions for topic in declared(sizes) if topic.name in self.topics)


PERSISTER = Group("tidings.persister", (MESSAGES_INBOUND,))
EXPAND = Group("tidings.fanout.expand", (MESSAGES_PERSISTED,))
DELIVER = Group("tidings.fanout.deliver", (DELIVERIES,))
RECEIPTS = Group("tidings.receipts", (RECEIPTS_INBOUND, MESSAGES_PERSISTED), gather_ms=200)
GROUPS = (PERSISTER, EXPAND, DELIVER, RECEIPTS)
