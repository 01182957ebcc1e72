"""Settings of the persister, read once."""

from pydantic import Field

from tidings.runtime.settings import CassandraSettings, KafkaSettings, ServiceSettings


class PersisterSettings(ServiceSettings):
    """All settings of the persister."""

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
