"""Settings of fanout, read once."""

from pydantic import Field

from tidings.runtime.settings import CassandraSettings, ServiceSettings


class FanoutSettings(ServiceSettings):
    """All settings of fanout."""

    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
