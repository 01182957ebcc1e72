"""The settings of the auditor, read once."""

from pydantic import Field

from tidings.runtime.settings import (
    AuditSettings,
    CassandraSettings,
    LimitSettings,
    MediaStoreSettings,
    ServiceSettings,
)


class AuditorSettings(ServiceSettings):
    """All settings of the auditor."""

    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
    media_store: MediaStoreSettings = Field(default_factory=MediaStoreSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
