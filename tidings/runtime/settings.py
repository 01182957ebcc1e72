"""Settings that more than one service reads, in small frozen groups.

Each group is read once from the environment (prefix in `model_config`) at the
composition root, validated, and printable with `--print-settings`.
"""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from tidings.store.segment_rows import MOST_MESSAGES
from tidings.topics import TopicSizes

# ARCHITECTURE, Identity: an inbox tail counts for so long.
INBOX_DAYS = 90

_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?::(\d{1,5}))?")
_HOST = re.compile(r"[^\s:/\[\]]+")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")
_FOLDER = re.compile(r"file:(//(?=/[^/])|(?!//))[^\x00-\x1f]+")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.:=-]+)*/?", re.ASCII)


def _brokers(text: str) -> str:
    for entry in text.split(","):
        match = _HOST_AND_PORT.fullmatch(entry.strip())
        if match is None or not 1 <= int(match[1] or 1) <= 65_535:
            raise ValueError(f"{entry.strip()!r} is not host:port")
    return text


def _hosts(text: str) -> str:
    for entry in text.split(","):
        if not (_HOST.fullmatch(entry.strip()) or _is_address(entry.strip())):
            raise ValueError(f"{entry.strip()!r} is no host; the port is a setting of its own")
    return text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _store_url(text: str) -> str:
    if not (_FOLDER.fullmatch(text) or _BUCKET.fullmatch(text)):
        raise ValueError("neither file:<folder> nor s3://<bucket>/<prefix>")
    return text


class KafkaSettings(BaseSettings):
    """How to reach Kafka. TIDINGS_KAFKA_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_KAFKA_", frozen=True)

    bootstrap: Annotated[str, AfterValidator(_brokers)] = Field(
        "127.0.0.1:9092", description="host:port of brokers, comma separated"
    )
    epoch: int = Field(0, ge=0, le=63, description="raised by hand when topics are created again")
    session_partitions: int = Field(8, ge=1, le=1024, description="partitions of the session topics (S)")
    user_partitions: int = Field(8, ge=1, le=1024, description="partitions of the user topics (U)")
    push_partitions: int = Field(16, ge=1, le=1024, description="partitions of push: the most gateways there can be")
    replication: int = Field(1, ge=1, le=5, description="replicas of each topic that `tidings init` creates")
    produce_timeout_ms: int = Field(5000, ge=500, description="after this an append is unknown (PROTOCOL: 5 s)")
    session_timeout_ms: int = Field(8000, ge=6000, description="a worker silent for this long loses its partitions")

    @property
    def server(self) -> str:
        """The server with its variable, for lines to operators."""
        return f"Kafka at {self.bootstrap} (TIDINGS_KAFKA_BOOTSTRAP)"

    def sizes(self) -> TopicSizes:
        """The partition counts for topics.py."""
        return TopicSizes(self.session_partitions, self.user_partitions, self.push_partitions)


class CassandraSettings(BaseSettings):
    """How to reach Cassandra. TIDINGS_CASSANDRA_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_CASSANDRA_", frozen=True)

    hosts: Annotated[str, AfterValidator(_hosts)] = Field("127.0.0.1", description="contact points, comma separated")
    port: int = Field(9042, ge=1, le=65535, description="native protocol port")
    keyspace: str = Field("tidings", pattern="^[a-z][a-z0-9_]{0,47}$", description="keyspace of all tables")
    local_dc: str = Field("datacenter1", description="the data centre that LOCAL_QUORUM means")
    replication: str = Field(
        "{'class': 'SimpleStrategy', 'replication_factor': 1}",
        description="replication of the keyspace that `tidings init` creates, as CQL",
    )
    request_timeout_s: float = Field(3.0, gt=0, le=600, description="after this a request is unknown")
    username: str = Field("", description="empty: no authentication")
    password: str = Field("", repr=False, description="never printed")

    @property
    def server(self) -> str:
        """The server with its variables, for lines to operators."""
        return f"Cassandra at {self.hosts}, port {self.port} (TIDINGS_CASSANDRA_HOSTS, _PORT)"


class MediaStoreSettings(BaseSettings):
    """Where media and archived messages are kept. TIDINGS_MEDIA_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_MEDIA_", frozen=True)

    store_url: Annotated[str, AfterValidator(_store_url)] = Field(
        "file:.run/media", description="`file:` and a folder that all processes share, or `s3://bucket/prefix`"
    )
    s3_allow_http: bool = Field(False, description="allow an endpoint without TLS, for tests and private networks")
    s3_endpoint: str = Field("", description="URL of an S3-compatible server; empty: that of AWS in the region")
    s3_region: str = Field("", pattern="^[a-z0-9-]{0,40}$", description="empty: `AWS_REGION`, or us-east-1")
    s3_access_key_id: str = Field("", description="empty: workload identity, or what else the `AWS_*` variables say")
    s3_access_key_id_file: str = Field("", description="file with the access key id")
    s3_secret_access_key: str = Field("", repr=False, description="belongs to the access key id; never printed")
    s3_secret_access_key_file: str = Field("", description="file with the secret access key")
    connect_timeout_s: float = Field(2.0, gt=0, le=60, description="to reach the object store")
    request_timeout_s: float = Field(
        10.0, gt=0, le=600, description="without an answer to a request, and without progress of a body"
    )
    retries: int = Field(3, ge=0, le=10, description="of a request, none after `request_timeout_s`; then unavailable")

    @field_validator("s3_endpoint")
    @classmethod
    def _check_endpoint(cls, text: str, info: ValidationInfo) -> str:
        if text and not _ENDPOINT.fullmatch(text):
            raise ValueError("not a URL of a server, as https://s3.example.com")
        if text.startswith("http:") and not info.data.get("s3_allow_http"):
            raise ValueError("has no TLS; use https, or set TIDINGS_MEDIA_S3_ALLOW_HTTP=true")
        return text


class ArchiveSettings(BaseSettings):
    """What the archiver moves and removes. TIDINGS_ARCHIVE_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_ARCHIVE_", frozen=True)

    hot_days: float = Field(
        90.0, ge=0, le=36_500, description="a segment whose last message is older moves to an object"
    )
    hot_copy_days: float = Field(
        0.0, ge=0, le=36_500, description="hot rows stay for so long after the move, for repairs"
    )
    retention_days: float = Field(
        0.0, ge=0, le=36_500, description="messages of months that ended before are removed for good; 0 keeps all"
    )
    messages_per_s: int = Field(0, ge=0, description="a run moves at most so many in the mean; 0: no limit")
    object_bytes: int = Field(
        4 * 1024 * 1024, ge=65_536, le=128 * 1024 * 1024, description="an object is finished at this size"
    )
    work_dir: str = Field(
        "",
        description="folder for one object in the making; archivers may share it, and remove what killed ones left;"
        " empty: one in the system's folder for temporary files",
    )

    @field_validator("retention_days")
    @classmethod
    def _check_retention(cls, days: float, info: ValidationInfo) -> float:
        if days and days < info.data.get("hot_days", 0.0) + info.data.get("hot_copy_days", 0.0):
            raise ValueError("is below TIDINGS_ARCHIVE_HOT_DAYS and _HOT_COPY_DAYS together; only cold messages end")
        if 0 < days < INBOX_DAYS:
            raise ValueError(f"is below {INBOX_DAYS}, the life of an inbox, whose rows would still name the messages")
        return days


class AuditSettings(BaseSettings):
    """How fast the audit reads, and how often. TIDINGS_AUDIT_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_AUDIT_", frozen=True)

    rows_per_s: int = Field(1_000, ge=0, description="the audit reads at most so many rows in the mean; 0: no limit")
    settle_s: float = Field(
        30.0, ge=0, le=3_600, description="between a finding and the second look that it needs to count"
    )
    pause_s: float = Field(21_600.0, ge=0, le=2_592_000, description="between two passes of the auditor")


class ColdSettings(BaseSettings):
    """How archived messages are read. TIDINGS_COLD_*. They are in the store of TIDINGS_MEDIA_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_COLD_", frozen=True)

    cache_dir: str = Field(
        ".run/cold-cache", min_length=1, description="folder for archived objects; processes may share it"
    )
    cache_bytes: int = Field(
        1024**3, ge=0, description="bytes of objects on disk, of each process; downloads under way come on top"
    )
    fetch_timeout_s: float = Field(
        5.0, gt=0, le=600, description="the longest wait of a read for an object; its download continues meanwhile"
    )


class LimitSettings(BaseSettings):
    """Limits that decisions depend on. TIDINGS_LIMIT_*.

    The gateway stamps them on every command, because law 1 (the log decides) lets no other limit count.
    """

    model_config = SettingsConfigDict(env_prefix="TIDINGS_LIMIT_", frozen=True)

    segment_messages: int = Field(MOST_MESSAGES, ge=1, le=MOST_MESSAGES, description="messages in a segment")
    bucket_rows: int = Field(5_000, ge=1, le=5_000, description="rows in an inbox bucket")
    recipients_per_part: int = Field(1_000, ge=1, le=1_000, description="recipients in one deliveries record")
    write_diffusion_max: int = Field(500, ge=2, description="members up to which a group writes to inboxes")
    group_members_max: int = Field(25_000, ge=2, description="members of a group; promised and measured up to 20,000")
    month_shards: int = Field(16, ge=1, le=1024, description="shards of the index of segments by month")


class ProcessSettings(BaseSettings):
    """Settings of every process. TIDINGS_*."""

    model_config = SettingsConfigDict(env_prefix="TIDINGS_", frozen=True)

    ordinal: int = Field(0, ge=0, le=1023, description="number of this process among its kind")
    development: bool = Field(False, description="development mode: the gateway issues tokens, logs are readable text")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least level that is logged")
    admin_host: str = Field("127.0.0.1", description="where /metrics, /healthz and /readyz listen")
    admin_port: int = Field(0, ge=0, le=65535, description="their port; 0 picks a free one")


class ServiceSettings(BaseModel):
    """All settings of a service. Each service adds its groups."""

    model_config = ConfigDict(frozen=True)

    process: ProcessSettings = Field(default_factory=ProcessSettings)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)


def printable(groups: dict[str, BaseSettings]) -> str:
    """All settings as `NAME=value` lines, secrets masked, for --print-settings."""
    lines = []
    for group in groups.values():
        prefix = group.model_config.get("env_prefix", "")
        for name, field in type(group).model_fields.items():
            shown = getattr(group, name) if field.repr else "***"
            lines.append(f"{prefix}{name.upper()}={shown}")
    return "\n".join(lines)
