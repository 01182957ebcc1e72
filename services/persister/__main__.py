"""`python -m services.persister`: settings, adapters, run. The only place of the service that builds adapters."""

from tidings.runtime.interrupts import end_at_signals


def main() -> None:
    """Entry point."""
    # Called before the imports, which take a second or more: process 1 of a container has no signal handlers.
    end_at_signals(exit_code=0)
    from services.persister.service import serve
    from services.persister.settings import PersisterSettings
    from tidings.broker.kafka import KafkaBroker
    from tidings.broker.kafka_config import KafkaConfig
    from tidings.runtime.main import Adapters, run
    from tidings.store.cassandra import CassandraStore
    from tidings.store.cassandra_config import CassandraConfig

    def build(settings: PersisterSettings) -> Adapters:
        store = CassandraStore(CassandraConfig.of(settings.cassandra))
        return Adapters(KafkaBroker(KafkaConfig.of(settings.kafka)), store, store.ping)

    run("persister", PersisterSettings, serve, build)


if __name__ == "__main__":
    main()
