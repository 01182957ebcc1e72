"""`python -m services.fanout`: settings, adapters, run. The only place of the service that builds adapters."""

from tidings.runtime.interrupts import end_at_signals


def main() -> None:
    """Entry point."""
    # The imports below take a second or more, and process 1 of a container has no handlers of its own.
    end_at_signals(exit_code=0)
    import asyncio
    import sys

    from services.fanout.service import serve
    from services.fanout.settings import FanoutSettings
    from tidings import metric_series
    from tidings.broker.kafka import KafkaBroker
    from tidings.broker.kafka_config import KafkaConfig
    from tidings.errors import ConfigurationError
    from tidings.runtime.health import Health, serve_admin
    from tidings.runtime.lifecycle import refuse_start, run_service
    from tidings.runtime.reach import watching
    from tidings.runtime.reading_settings import read_settings
    from tidings.runtime.settings import printable
    from tidings.runtime.start import started
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_config import CassandraConfig

    try:
        settings = read_settings(FanoutSettings)
    except ConfigurationError as error:
        refuse_start("fanout", error)
        return
    if "--print-settings" in sys.argv:
        sys.stdout.write(printable(dict(settings)) + "\n")
        return
    process = settings.process
    metric_series.begin("fanout")

    async def run(stopping: asyncio.Event) -> None:
        health = Health()
        broker = KafkaBroker(KafkaConfig.of(settings.kafka))
        store = CassandraStore(CassandraConfig.of(settings.cassandra))
        async with (
            serve_admin(process.admin_host, process.admin_port, health),
            watching(broker, store.ping, health),
            started(store, stopping=stopping),
        ):
            await serve(settings, broker, store, health, stopping)

    run_service(f"fanout-{process.ordinal}", process, run)


if __name__ == "__main__":
    main()
