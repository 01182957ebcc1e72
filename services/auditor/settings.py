"""The settings of the auditor, read once."""

from pydantic import BaseModel, ConfigDict, Field

from tidings.runtime.settings import (
    AuditSettings,
    CassandraSettings,
    KafkaSettings,
    LimitSettings,
    MediaStoreSettings,
    ProcessSettings,
)


class AuditorSettings(BaseModel):
    """All settings of the auditor."""

    model_config = ConfigDict(frozen=True)

    process: ProcessSettings = Field(default_factory=ProcessSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
    media_store: MediaStoreSettings = Field(default_factory=MediaStoreSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
