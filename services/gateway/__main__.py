"""`python -m services.gateway`: settings, adapters, run. The only place of the service that builds adapters."""

import asyncio

from tidings.runtime.interrupts import end_at_signals


def main() -> None:
    """Entry point."""
    # Called before the imports, which take a second or more: process 1 of a container has no signal handlers.
    end_at_signals(exit_code=0)
    from services.gateway.service import check_settings, serve
    from services.gateway.settings import GatewaySettings
    from tidings.broker.base import Broker
    from tidings.broker.kafka import KafkaBroker
    from tidings.broker.kafka_config import KafkaConfig
    from tidings.media.config import MediaStoreConfig
    from tidings.media.obstore_store import ObstoreMediaStore
    from tidings.runtime.health import Health
    from tidings.runtime.main import Adapters, run
    from tidings.store.base import Store
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_config import CassandraConfig

    def build(settings: GatewaySettings) -> Adapters:
        store = CassandraStore(CassandraConfig.of(settings.cassandra))
        return Adapters(KafkaBroker(KafkaConfig.of(settings.kafka)), store, store.ping)

    async def serve_with_objects(
        settings: GatewaySettings, broker: Broker, store: Store, health: Health, stopping: asyncio.Event
    ) -> None:
        objects = ObstoreMediaStore(MediaStoreConfig.of(settings.media_store))
        try:
            await serve(settings, broker, store, health, stopping, objects=objects)
        finally:
            await objects.close()

    run("gateway", GatewaySettings, serve_with_objects, build, check_settings)


if __name__ == "__main__":
    main()
