"""The adapters of the command line, built here and nowhere else in it.

Imported when a verb needs them: the drivers take half a second to load, and the chat verbs need none.
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


async def migrate_tables(settings: CassandraSettings, wait_s: float) -> Sequence[str]:
    """Apply missing migrations; their names. StoreUnavailable when Cassandra does not answer within `wait_s`."""
    from tidings.store.cassandra_config import CassandraConfig
    from tidings.store.migrate import migrate

    return await migrate(replace(CassandraConfig.of(settings), start_timeout_s=wait_s))
