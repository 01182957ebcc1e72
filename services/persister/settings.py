"""Settings of the persister, read once."""

from pydantic import Field

from tidings.runtime.settings import CassandraSettings, ServiceSettings


class PersisterSettings(ServiceSettings):
    """All settings of the persister."""

    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
