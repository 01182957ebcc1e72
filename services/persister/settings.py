"""Settings of the persister, read once."""

from pydantic import BaseModel, ConfigDict, Field

from tidings.runtime.settings import CassandraSettings, KafkaSettings, ProcessSettings


class PersisterSettings(BaseModel):
    """All settings of the persister."""

    model_config = ConfigDict(frozen=True)

    process: ProcessSettings = Field(default_factory=ProcessSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
