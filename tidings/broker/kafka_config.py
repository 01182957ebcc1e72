"""The settings of the Kafka adapter, and the mapping of aiokafka's errors to ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError

from tidings.errors import BrokerUnavailable
from tidings.runtime.settings import KafkaSettings


@dataclass(frozen=True, slots=True)
class KafkaConfig:
    """Settings of every part. The times are such that a member loses its membership after 4 lost heartbeats."""

    bootstrap: str
    request_timeout_s: float = 5.0  # also: how long a record may wait for its confirmation
    reconnect_pause_s: float = 0.25
    batch_bytes: int = 256 * 1024  # FIELD-NOTES: one batch per partition in flight, so bigger ones
    record_bytes: int = 1024 * 1024  # a round's bound; half of the topics' max.message.bytes
    unconfirmed_records: int = 20_000
    unconfirmed_bytes: int = 32 * 1024 * 1024
    # An idle consumer sends ten fetch requests a second; at 20 ms the idle stack took half a core. It causes no delay
    # while fetched records are drained at once, as our loops do. A partition left undrained may wait up to 100 ms.
    fetch_max_wait_ms: int = 100
    gather_bytes: int = 128 * 1024  # above this the broker answers at once, also to a group with `gather_ms`
    session_timeout_ms: int = 8_000
    heartbeat_ms: int = 2_000
    rebalance_timeout_ms: int = 30_000
    max_poll_interval_ms: int = 600_000  # workers pause partitions instead of not polling

    @staticmethod
    def of(settings: KafkaSettings) -> "KafkaConfig":
        """From the settings of a service."""
        return KafkaConfig(
            bootstrap=settings.bootstrap,
            request_timeout_s=settings.produce_timeout_ms / 1000,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_ms=settings.session_timeout_ms // 4,
        )

    def client_settings(self, client_id: str) -> dict[str, Any]:
        """Keyword arguments of every aiokafka client that answers within `request_timeout_s`."""
        return {
            "bootstrap_servers": self.bootstrap,
            "client_id": client_id,
            "request_timeout_ms": round(self.request_timeout_s * 1000),
        }


@contextmanager
def unavailable(doing: str) -> Iterator[None]:
    """Turn the errors that aiokafka raises for an unreachable broker into BrokerUnavailable.

    LookupError: the client looks up a connection that another task has just dropped.
    AssertionError: the client asserts that it has the partitions' metadata and is bootstrapped.
    """
    try:
        yield
    except (KafkaError, OSError, TimeoutError, LookupError, AssertionError) as error:
        raise BrokerUnavailable(f"{doing}: {error!r}") from error
