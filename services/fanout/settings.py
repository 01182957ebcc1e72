"""Settings of fanout, read once."""

from pydantic import Field

from tidings.runtime.settings import CassandraSettings, KafkaSettings, ServiceSettings


class FanoutSettings(ServiceSettings):
    """All settings of fanout."""

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
