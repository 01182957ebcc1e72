"""`tidings init`."""

import asyncio
from typing import Annotated

import typer

from tidings.cli import composition
from tidings.cli.initialise import Initialised, initialise
from tidings.cli.patience import patiently
from tidings.runtime.settings import KafkaSettings

SERVERS_S = 60.0  # a JVM on a busy machine takes 20 s from its start to its first answer


def init(
    wait_s: Annotated[float, typer.Option("--wait", help="Seconds to wait for each server.", min=0.1)] = SERVERS_S,
) -> None:
    """Create topics, first offsets and tables. Run before the services start; again, it adds what is missing.

    Reads TIDINGS_KAFKA_* and TIDINGS_CASSANDRA_*. Changes nothing that is there: a topic with another number of
    partitions than configured is refused (exit code 2).
    """
    log = asyncio.run(_initialise_log(KafkaSettings(), wait_s))
    for line in log.lines():
        print(line)


async def _initialise_log(settings: KafkaSettings, wait_s: float) -> Initialised:
    async def attempt() -> Initialised:
        admin = composition.kafka(settings).admin()
        try:
            await admin.start()
            return await initialise(admin, settings.sizes(), settings.replication)
        finally:
            await admin.stop()

    server = f"Kafka at {settings.bootstrap} (TIDINGS_KAFKA_BOOTSTRAP)"
    return await patiently(attempt, server=server, within_s=wait_s, say=print)
