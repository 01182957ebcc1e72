"""`python -m services.fanout`: settings, adapters, run. The only place of the service that builds adapters."""

import asyncio
import sys

from services.fanout.service import serve
from services.fanout.settings import FanoutSettings
from tidings.broker.kafka import KafkaBroker
from tidings.broker.kafka_config import KafkaConfig
from tidings.runtime.health import Health, serve_admin
from tidings.runtime.lifecycle import run_service
from tidings.runtime.settings import printable
from tidings.runtime.start import started
from tidings.store.cassandra import CassandraStore
from tidings.store.cassandra_config import CassandraConfig


def main() -> None:
    """Entry point."""
    settings = FanoutSettings()
    if "--print-settings" in sys.argv:
        sys.stdout.write(printable(dict(settings)) + "\n")
        return
    process = settings.process

    async def run(stopping: asyncio.Event) -> None:
        health = Health()
        broker = KafkaBroker(KafkaConfig.of(settings.kafka))
        store = CassandraStore(CassandraConfig.of(settings.cassandra))
        async with serve_admin(process.admin_host, process.admin_port, health), started(store):
            await serve(settings, broker, store, health, stopping)

    run_service(f"fanout-{process.ordinal}", process, run)


if __name__ == "__main__":
    main()
