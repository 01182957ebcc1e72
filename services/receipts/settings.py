"""Settings of receipts, read once."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidings.runtime.settings import CassandraSettings, ServiceSettings


class CoalesceSettings(BaseSettings):
    """How long receipts gathers watermarks before it writes them. TIDINGS_RECEIPTS_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_RECEIPTS_", frozen=True)

    coalesce_ms: int = Field(
        50, ge=0, le=5_000, description="watermarks that arrive within this make one write, after 200 ms at the broker"
    )


class ReceiptsSettings(ServiceSettings):
    """All settings of receipts."""

    cassandra: CassandraSettings = Field(default_factory=CassandraSettings)
    coalesce: CoalesceSettings = Field(default_factory=CoalesceSettings)
