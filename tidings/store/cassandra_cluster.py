"""The configuration of cassandra-driver: reactor, protocol, policies (FIELD-NOTES, section cassandra-driver)."""

import logging
import socket
import threading
import time
from functools import cache
from typing import Any

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    InvalidRequest,
    Unauthorized,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.connection import ConnectionException
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ConfigurationException, ErrorMessage, SyntaxException
from cassandra.query import PreparedStatement, tuple_factory

from tidings.errors import ConfigurationError, StoreUnavailable
from tidings.store.cassandra_config import CassandraConfig

# v5 frames cost 60 µs more client CPU per request, measured (FIELD-NOTES).
_PROTOCOL_VERSION = 4
# A paused node keeps its sockets open. So the driver closes a connection after 5 s idle and 5 s without an answer.
_HEARTBEAT_S = 5
_CONNECT_TIMEOUT_S = 5
_RETRY_START_S = 0.5
# 1,000 rows take 24 MiB with the longest body, and 0.6 MiB with the usual body.
_PAGE_ROWS = 1000
# The driver's default is 4 KiB, which means a hundred system calls for a batch.
_SOCKET_BYTES = 64 * 1024

# The statement is wrong or not permitted, so no retry helps.
PROGRAMMING_ERRORS = (InvalidRequest, SyntaxException, Unauthorized, ConfigurationException)
# Servers or the network fail, or do not answer in time. PROGRAMMING_ERRORS are subclasses: catch them first.
SERVER_ERRORS = (NoHostAvailable, DriverException, ErrorMessage, ConnectionException, OSError)


def connect(
    config: CassandraConfig, request_timeout_s: float | None = None, given_up: threading.Event | None = None
) -> Session:
    """A session without a keyspace. Blocks and retries. Raises StoreUnavailable at `start_timeout_s` or `given_up`.

    Raises ConfigurationError if no retry can help: the data centre does not exist, or the credentials are refused.
    """
    deadline = time.monotonic() + config.start_timeout_s
    given_up = given_up or threading.Event()
    while True:
        cluster: Cluster | None = None
        try:
            cluster = _cluster(config, request_timeout_s or config.request_timeout_s)
            session = cluster.connect()
        except SERVER_ERRORS as error:
            refusal = refusal_of(error, _data_centres(cluster), config)
            _shut_down(cluster)
            if refusal:
                raise ConfigurationError(refusal) from error
            if given_up.is_set() or time.monotonic() + _RETRY_START_S > deadline:
                raise StoreUnavailable(f"no Cassandra at {config.hosts}, port {config.port}: {error}") from error
            given_up.wait(_RETRY_START_S)
        except BaseException:
            _shut_down(cluster)
            raise
        else:
            session.default_fetch_size = _PAGE_ROWS
            return session


def refusal_of(error: BaseException, data_centres: set[str], config: CassandraConfig) -> str:
    """What the operator has to change if no retry can help; otherwise empty. `data_centres`: those of the cluster."""
    causes = _causes(error)
    refused = [cause for cause in causes if isinstance(cause, AuthenticationFailed)]
    # A node that cannot reach its own auth tables raises the same error with this text. A retry can help then.
    if refused and not any("Unable to perform authentication" in str(cause) for cause in refused):
        return f"TIDINGS_CASSANDRA_USERNAME and TIDINGS_CASSANDRA_PASSWORD: Cassandra refuses them ({refused[0]})"
    if data_centres and config.local_dc not in data_centres:
        there = ", ".join(sorted(data_centres))
        return f"TIDINGS_CASSANDRA_LOCAL_DC={config.local_dc!r}: the cluster has no such data centre, but {there}"
    return ""


def _causes(error: BaseException) -> list[object]:
    """The error of each node that was tried. The driver has a mapping if it tried any node, and otherwise a list."""
    if not isinstance(error, NoHostAvailable):
        return [error]
    errors: Any = error.errors
    return list(errors.values() if isinstance(errors, dict) else errors or ())


def _data_centres(cluster: Cluster | None) -> set[str]:
    """The data centres, from the metadata of the node that answered. Empty before the first answer."""
    hosts = cluster.metadata.all_hosts() if cluster is not None else ()
    return {host.datacenter for host in hosts if host.datacenter}


def _shut_down(cluster: Cluster | None) -> None:
    if cluster is not None:
        cluster.shutdown()


def use_keyspace(session: Session, keyspace: str) -> None:
    """Switch the session to the keyspace. Blocks. Raises ConfigurationError if the keyspace does not exist."""
    if keyspace not in session.cluster.metadata.keyspaces:
        raise ConfigurationError(
            f"TIDINGS_CASSANDRA_KEYSPACE={keyspace!r}: the keyspace does not exist; run `tidings init`"
        )
    session.set_keyspace(keyspace)


def _cluster(config: CassandraConfig, request_timeout_s: float) -> Cluster:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(config.local_dc)),
        # Never downgrades the consistency. Tries the next host if the first did not accept the request. A write that
        # is sent twice is harmless, because it has the same bytes.
        retry_policy=RetryPolicy(),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=request_timeout_s,
        row_factory=tuple_factory,
        speculative_execution_policy=None,
    )
    return Cluster(
        contact_points=list(config.hosts),
        port=config.port,
        protocol_version=_PROTOCOL_VERSION,
        connection_class=_libev(),
        compression=False,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=PlainTextAuthProvider(config.username, config.password) if config.username else None,
        # The driver's default stops after 64 attempts. 5 s, because rounds have to run again within 15 s after the
        # servers are back, and rounds have their own backoff.
        reconnection_policy=ExponentialReconnectionPolicy(0.5, 5, max_attempts=None),
        idle_heartbeat_interval=_HEARTBEAT_S,
        idle_heartbeat_timeout=_HEARTBEAT_S,
        connect_timeout=_CONNECT_TIMEOUT_S,
        # With Nagle's algorithm the last packet of a batch waits 40 ms for the acknowledgement of earlier packets.
        # Measured: a batch of 30 rows takes 50 ms with it and 3 ms without.
        sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )


@cache
def _libev() -> Any:
    """The libev reactor. Raises ConfigurationError without it, because the driver would silently use a slower one."""
    try:
        from cassandra.io.libevreactor import LibevConnection
    except ImportError as error:
        raise ConfigurationError(f"cassandra-driver has no libev reactor here: {error}") from error

    class Connection(LibevConnection):  # type: ignore[misc]
        """Queues requests while the send buffer of its socket is full.

        The driver's own class refuses them (100 rows of 64 KB at once are enough) and never frees their stream ids.
        The session bounds the queue by `_REQUESTS_IN_FLIGHT`.
        """

        in_buffer_size = out_buffer_size = _SOCKET_BYTES

        @property
        def _socket_writable(self) -> bool:
            return True

        @_socket_writable.setter
        def _socket_writable(self, _: bool) -> None:
            pass

    return Connection


def _is_no_server_warning(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Server warning")


# Large batches over many partitions are intended, but the server warns about each of them.
logging.getLogger("cassandra.protocol").addFilter(_is_no_server_warning)


def prepared_transaction(session: Session, text: str) -> PreparedStatement:
    """A transaction that stays in the process's own data centre, like all other calls."""
    prepared = session.prepare(text)
    prepared.serial_consistency_level = ConsistencyLevel.LOCAL_SERIAL
    return prepared
