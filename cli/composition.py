"""The adapters of the command line, which are built only here.

A verb imports them when it needs them, because the drivers take half a second to load and chat verbs need none.
"""

from collections.abc import Sequence
from dataclasses import replace

from tidings.broker.base import Broker
from tidings.runtime.settings import CassandraSettings, KafkaSettings


def kafka(settings: KafkaSettings) -> Broker:
    """The log that the settings name."""
    from tidings.broker.kafka import KafkaBroker
    from tidings.broker.kafka_config import KafkaConfig

    return KafkaBroker(KafkaConfig.of(settings))


async def migrate_tables(
    settings: CassandraSettings, wait_s: float, at_ms: int, *, is_restored: bool
) -> tuple[Sequence[str], str]:
    """Apply missing migrations and name the tables. Returns the migrations' names, and a line about the tables' name.

    Raises StoreUnavailable if Cassandra does not answer within `wait_s`.
    """
    from tidings.store.cassandra_config import CassandraConfig
    from tidings.store.migrate import Naming, migrate_and_name

    config = replace(CassandraConfig.of(settings), start_timeout_s=wait_s)
    done = await migrate_and_name(config, Naming(at_ms, is_restored))
    assert done.deployment is not None  # our own migrations make its table
    return done.applied, f"deployment: {done.deployment.id}{' named now' if done.is_named_now else ''}"
