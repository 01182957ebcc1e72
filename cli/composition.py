"""The adapters of the command line, which are built only here.

A verb imports them when it needs them, because the drivers take half a second to load and chat verbs need none.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tidings.broker.base import Broker
from tidings.clock import SystemClock
from tidings.media.sweep import Sweep
from tidings.own_folder import own_folder
from tidings.runtime.persister_progress import persister_has_passed
from tidings.runtime.settings import CassandraSettings, KafkaSettings, MediaStoreSettings
from tidings.runtime.start import started
from tidings.store.archive_tables import ArchiveTables
from tidings.store.base import Store

if TYPE_CHECKING:
    from tidings.tracing.tracer import Tracer

_PERSISTER_WITHIN_S = 60.0


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


@contextlib.asynccontextmanager
async def tables(settings: CassandraSettings) -> AsyncIterator[tuple[Store, ArchiveTables]]:
    """The tables that the settings name, and what only the archiver asks of them, while the block runs.

    Raises Retryable.
    """
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_archive import CassandraArchiveTables
    from tidings.store.cassandra_config import CassandraConfig

    store = CassandraStore(CassandraConfig.of(settings))
    async with started(store):
        yield store, CassandraArchiveTables(store.session)


def prepare_objects(media: MediaStoreSettings) -> str:
    """Prepare a local folder for objects. Returns a line about what was done. Raises OSError, ConfigurationError."""
    from tidings.media.backends import prepare_folder
    from tidings.media.config import MediaStoreConfig

    config = MediaStoreConfig.of(media)
    if config.bucket:
        return f"{config.bucket}: a bucket needs no preparation"
    return f"{config.folder}: {'prepared' if prepare_folder(Path(config.folder)) else 'was prepared before'}"


@contextlib.asynccontextmanager
async def sweeping(tables: CassandraSettings, log: KafkaSettings, media: MediaStoreSettings) -> AsyncIterator[Sweep]:
    """A sweep of uploads on the real servers while the block runs. Raises Retryable."""
    from tidings.media.config import MediaStoreConfig
    from tidings.media.obstore_store import ObstoreMediaStore
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_config import CassandraConfig

    store, objects = CassandraStore(CassandraConfig.of(tables)), ObstoreMediaStore(MediaStoreConfig.of(media))
    broker = kafka(log)
    admin, reader = broker.admin(), broker.reader("sweep")
    async with started(store, admin, reader):

        async def passed() -> bool:
            return await persister_has_passed(admin, reader, log.session_partitions, _PERSISTER_WITHIN_S)

        try:
            yield Sweep(store, objects, SystemClock(), passed)
        finally:
            await objects.close()


@contextlib.asynccontextmanager
async def tracing(tables: CassandraSettings, log: KafkaSettings, media: MediaStoreSettings) -> AsyncIterator["Tracer"]:
    """A tracer on the real servers while the block runs. Archived objects are fetched into a temporary folder.

    Raises Retryable if Cassandra does not answer.
    """
    from tidings.cold.cache import ObjectCache
    from tidings.cold.reader import ColdReader
    from tidings.media.config import MediaStoreConfig
    from tidings.media.obstore_store import ObstoreMediaStore
    from tidings.runtime.settings import ColdSettings
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_config import CassandraConfig
    from tidings.tracing.log_view import log_view
    from tidings.tracing.tracer import Tracer

    cold, store = ColdSettings(), CassandraStore(CassandraConfig.of(tables))
    objects = ObstoreMediaStore(MediaStoreConfig.of(media))
    try:
        async with own_folder("", "TMPDIR") as folder:
            # Below it, because the lock on the folder itself is taken.
            cache = ObjectCache(objects, folder / "cold", cold.cache_bytes, cold.fetch_timeout_s)
            reader = ColdReader(cache, SystemClock())
            await reader.start()
            try:
                await store.start()
                async with log_view(kafka(log), log.epoch, log.sizes()) as view:
                    yield Tracer(store, view, reader)
            finally:
                await store.stop()
                await reader.close()
    finally:
        await objects.close()
