"""The adapters of the auditor, for its process and for `tidings audit`."""

import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

from services.auditor.settings import AuditorSettings
from tidings.audit.auditor import AuditRules
from tidings.cold.ports import Ports
from tidings.runtime.settings import AuditSettings
from tidings.runtime.start import Patience, started
from tidings.store.audit_tables import AuditTables


class Audited(NamedTuple):
    """What is audited."""

    ports: Ports
    tables: AuditTables


def rules_of(settings: AuditSettings) -> AuditRules:
    """How the audit reads."""
    return AuditRules(settings.rows_per_s, settings.settle_s)


@contextlib.asynccontextmanager
async def audited(settings: AuditorSettings, patience: Patience) -> AsyncIterator[Audited]:
    """The real servers while the block runs. `patience`: how long to wait for a server that is not up.

    The port `closing` can be asked for what is confirmed, and cannot close. Raises Retryable, ConfigurationError, and
    the errors of `patience`. An object store that is away raises nothing here.
    """
    from tidings.broker.kafka import KafkaBroker
    from tidings.broker.kafka_config import KafkaConfig
    from tidings.clock import SystemClock
    from tidings.cold.closing import KafkaClosingLog
    from tidings.media.config import MediaStoreConfig
    from tidings.media.obstore_store import ObstoreMediaStore
    from tidings.runtime.stamps import stamps_of
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_archive import CassandraArchiveTables
    from tidings.store.cassandra_audit import CassandraAuditTables
    from tidings.store.cassandra_config import CassandraConfig
    from tidings.store.cassandra_session import DriverSession

    kafka, config = settings.kafka, CassandraConfig.of(settings.cassandra)
    session = DriverSession(config)
    store = CassandraStore(config, session)
    objects = ObstoreMediaStore(MediaStoreConfig.of(settings.media_store))
    broker = KafkaBroker(KafkaConfig.of(kafka))
    admin = broker.admin()
    # The producer is never started.
    stamps = stamps_of(settings.limits)
    log = KafkaClosingLog(broker.producer("auditor"), admin, stamps, kafka.epoch, kafka.session_partitions)
    async with (
        started(store, patience=patience, server=settings.cassandra.server),
        started(admin, patience=patience, server=kafka.server),
    ):
        try:
            ports = Ports(CassandraArchiveTables(session), store, objects, log, SystemClock())
            yield Audited(ports, CassandraAuditTables(session))
        finally:
            await objects.close()
