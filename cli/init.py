"""`tidings init`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from cli import composition
from cli.arguments import seconds
from cli.patience import GaveUp, announced, patiently
from cli.screen_text import say
from tidings.errors import StoreUnavailable
from tidings.runtime.initialise import Initialised, initialise, log_time_ms
from tidings.runtime.reading_settings import read_group
from tidings.runtime.settings import CassandraSettings, KafkaSettings

SERVERS_S = 60.0  # a JVM on a busy machine takes 20 s from its start to its first answer


def init(
    wait_s: Annotated[
        float, typer.Option("--wait", help="Seconds to wait for each server.", callback=seconds)
    ] = SERVERS_S,
    restored: Annotated[
        bool, typer.Option("--restored", help="The tables come from a backup: give them a new name for the clients.")
    ] = False,
) -> None:
    """Create topics, first offsets and tables. Run it before the services start. A later run adds what is missing.

    Reads TIDINGS_KAFKA_* and TIDINGS_CASSANDRA_*. Does not change what exists: if a topic has another number of
    partitions than configured, it ends with exit code 2.
    """
    kafka, cassandra = read_group(KafkaSettings), read_group(CassandraSettings)
    done, at_ms = asyncio.run(_initialise_log(kafka, wait_s))
    for line in done.lines():
        say(line)
    applied, named = asyncio.run(_migrate(cassandra, wait_s, at_ms, is_restored=restored))
    say(f"tables: {', '.join(applied)} applied" if applied else "tables: all there")
    say(named)


async def _initialise_log(settings: KafkaSettings, wait_s: float) -> tuple[Initialised, int]:
    """Create topics and first offsets. Returns what was done, and the current log time."""

    async def attempt() -> tuple[Initialised, int]:
        broker = composition.kafka(settings)
        admin = broker.admin()
        try:
            await admin.start()
            return await initialise(admin, settings.sizes(), settings.replication), await log_time_ms(broker)
        finally:
            await admin.stop()

    return await patiently(attempt, server=settings.server, within_s=wait_s, say=say)


async def _migrate(
    settings: CassandraSettings, wait_s: float, at_ms: int, *, is_restored: bool
) -> tuple[Sequence[str], str]:
    try:
        with announced(settings.server, say):
            return await composition.migrate_tables(settings, wait_s, at_ms, is_restored=is_restored)
    except StoreUnavailable as error:
        raise GaveUp(f"{settings.server} did not serve us within {wait_s:g} s: {error}") from error
