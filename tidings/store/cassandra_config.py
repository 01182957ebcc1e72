"""How to reach Cassandra, as plain data."""

from dataclasses import dataclass, field

from tidings.runtime.settings import CassandraSettings

# A service retries the start without end and logs the reason after each try, so a single try is short.
_START_TRY_S = 1.0


@dataclass(frozen=True, slots=True)
class CassandraConfig:
    """How one service reaches one cluster. The composition root builds it from the settings.

    `replication` is CQL, used only when the keyspace is created. `start` raises
    StoreUnavailable after `start_timeout_s` without an answer.
    """

    hosts: tuple[str, ...] = ("127.0.0.1",)
    port: int = 9042
    keyspace: str = "tidings"
    local_dc: str = "datacenter1"
    replication: str = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    request_timeout_s: float = 3.0
    start_timeout_s: float = 60.0
    username: str = ""
    password: str = field(default="", repr=False)

    @staticmethod
    def of(settings: CassandraSettings) -> "CassandraConfig":
        """From the settings of a service."""
        return CassandraConfig(
            hosts=tuple(host.strip() for host in settings.hosts.split(",")),
            port=settings.port,
            keyspace=settings.keyspace,
            local_dc=settings.local_dc,
            replication=settings.replication,
            request_timeout_s=settings.request_timeout_s,
            start_timeout_s=_START_TRY_S,
            username=settings.username,
            password=settings.password,
        )
