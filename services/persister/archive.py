"""`python -m services.persister.archive`: one run of the archiver, with its metrics on the admin port.

`tidings archive run` does the same with a progress bar. Exits with 1 if a server did not answer, or if segments are
incomplete, damaged, or held beyond their retention; the next run continues.
"""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from tidings.cold.ports import Ports
from tidings.cold.rules import ArchiveRules
from tidings.own_folder import own_folder
from tidings.runtime.health import Health
from tidings.runtime.settings import (
    ArchiveSettings,
    CassandraSettings,
    LimitSettings,
    MediaStoreSettings,
    ServiceSettings,
)
from tidings.runtime.start import Patience, patiently_for, started

# A rolling restart of the servers takes a minute. The job is run again anyway, and its state says that it failed.
SERVERS_S = 120.0


class ArchiverSettings(ServiceSettings):
    """All settings of the archiver."""

    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
    media_store: MediaStoreSettings = Field(default_factory=MediaStoreSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    archive: ArchiveSettings = Field(default_factory=ArchiveSettings)


class Workplace(NamedTuple):
    """The real servers, and a folder of this process alone."""

    ports: Ports
    work_dir: Path


def rules_of(settings: ArchiveSettings, *, is_dry_run: bool = False) -> ArchiveRules:
    """What moves when."""
    values = settings.model_dump(exclude={"work_dir"})
    return ArchiveRules(**values, is_dry_run=is_dry_run)


@contextlib.asynccontextmanager
async def workplace(
    settings: ArchiverSettings, patience: Patience, *, uses_log: bool = True
) -> AsyncIterator[Workplace]:
    """The adapters, started, while the block runs. `patience`: how long to wait for a server that is not up.

    Without `uses_log` no broker is needed, and the port `closing` cannot be used.
    Raises Retryable, ConfigurationError, and the errors of `patience`.
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
    from tidings.store.cassandra_config import CassandraConfig
    from tidings.store.cassandra_session import DriverSession

    kafka, config = settings.kafka, CassandraConfig.of(settings.cassandra)
    session = DriverSession(config)
    store, tables = CassandraStore(config, session), CassandraArchiveTables(session)
    objects = ObstoreMediaStore(MediaStoreConfig.of(settings.media_store))
    broker = KafkaBroker(KafkaConfig.of(kafka))
    producer, admin = broker.producer("archiver"), broker.admin()
    closing = KafkaClosingLog(producer, admin, stamps_of(settings.limits), kafka.epoch, kafka.session_partitions)
    async with own_folder(settings.archive.work_dir, "TIDINGS_ARCHIVE_WORK_DIR") as folder:
        log_parts = (producer, admin) if uses_log else ()
        async with (
            started(store, patience=patience, server=settings.cassandra.server),
            started(*log_parts, patience=patience, server=kafka.server),
        ):
            try:
                yield Workplace(Ports(tables, store, objects, closing, SystemClock()), folder)
            finally:
                await objects.close()


def main() -> None:
    """Entry point."""
    from tidings.cold.archiver import Archiver
    from tidings.errors import TidingsError
    from tidings.logging import logger
    from tidings.runtime.main import run_job

    async def archive(settings: ArchiverSettings, health: Health) -> None:
        health.set_ready(True)
        async with workplace(settings, patiently_for(SERVERS_S)) as place:
            run = await Archiver(place.ports, rules_of(settings.archive), place.work_dir).run()
        moved = run.moved
        logger("tidings.archiver").info(
            "archived",
            segments=moved.segments,
            messages=moved.messages,
            objects=moved.objects,
            closed=run.closed,
            hot_deleted=moved.dropped,
            purged_messages=run.purged.messages,
            still_open=moved.still_open,
            shards_left=run.shards_left,
            **run.stuck,
        )
        if any(run.stuck.values()):
            counts = ", ".join(f"{count} {reason}" for reason, count in run.stuck.items() if count)
            raise TidingsError(f"segments that could not be archived or removed: {counts}; see the lines above")

    run_job("archiver", ArchiverSettings, archive)


if __name__ == "__main__":
    main()
