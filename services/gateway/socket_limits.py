"""How many sockets clients may have, so that the admin port, Kafka and Cassandra keep their share of open files.

When the process has no files left, the kernel's next connections are dropped without an answer, and so is everything
else that wants a socket: a scrape, a probe, the way back to a broker that has restarted.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from services.gateway.settings import HttpSettings
from tidings import metrics
from tidings.errors import HTTP_STATUS, ConfigurationError
from tidings.logging import logger

# 30 that a fresh process has open, 20 for scrapes and probes, 30 for two Kafka clients and the connections that they
# make beside dead ones, 20 for Cassandra's, 36 for sockets that are being refused. Larger clusters have larger limits.
RESERVED_FILES = 136
RESERVED_SHARE = 1 / 16
# Of what clients may have, REST keeps so many when WebSockets would take all.
CALL_SOCKETS = 24
# Sockets above the limit that wait for their request to be answered 503; those above are closed at once.
REFUSED_AT_ONCE = 32
REFUSED_WITHIN_S = 1.0
_VARIABLE = "TIDINGS_MAX_CONNECTIONS"

_log = logger("tidings.gateway.sockets")


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`connections`: WebSockets; `sockets`: those and REST's."""

    connections: int
    sockets: int


def socket_limits(files: int, http: HttpSettings) -> SocketLimits:
    """What a limit of open files leaves for clients. ConfigurationError when it is nothing."""
    sockets = files - max(RESERVED_FILES, int(files * RESERVED_SHARE))
    connections = min(http.max_connections, sockets - CALL_SOCKETS)
    if connections < 1:
        raise ConfigurationError(
            f"{_VARIABLE}: the limit of {files} open files (ulimit -n) leaves no room for clients; it must be"
            f" above {RESERVED_FILES + CALL_SOCKETS}"
        )
    if connections < http.max_connections:
        _log.warning(
            f"fewer connections than {_VARIABLE}: raise the limit of open files (ulimit -n)",
            max_connections=http.max_connections,
            connections=connections,
            open_files=files,
        )
    metrics.CONNECTIONS_MOST.set(connections)
    return SocketLimits(connections, sockets)


def say_full(limit: int) -> None:
    """Count and log one that was refused; the log limits such lines by itself."""
    metrics.REFUSED_SOCKETS.labels("full").inc()
    _log.warning(f"the gateway is full: {_VARIABLE}, or the limit of open files (ulimit -n)", limit=limit)


class Refusals:
    """Sockets above the limit: each is answered 503 to its first bytes, or after a second without any."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._closings: dict[asyncio.Transport, asyncio.TimerHandle] = {}

    def take(self, transport: asyncio.Transport) -> None:
        """A new socket above the limit."""
        say_full(self.limit)
        if len(self._closings) >= REFUSED_AT_ONCE:
            self.answer(transport)
        else:
            timer = asyncio.get_running_loop().call_later(REFUSED_WITHIN_S, self.answer, transport)
            self._closings[transport] = timer

    def answer(self, transport: asyncio.Transport) -> None:
        """Its request has come, or does not."""
        if not transport.is_closing():
            transport.write(_FULL)
            transport.close()

    def lost(self, transport: asyncio.Transport) -> None:
        """It is gone."""
        timer = self._closings.pop(transport, None)
        if timer is not None:
            timer.cancel()


def limited(protocol: type[Any], sockets: int) -> type[Any]:
    """uvicorn's HTTP protocol, which refuses sockets above the limit instead of taking their requests."""
    refusals = Refusals(sockets)

    class Limited(protocol):  # type: ignore[misc]  # a class that is chosen at the start
        is_refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            self.is_refused = len(self.connections) >= sockets
            if self.is_refused:
                self.transport = transport
                refusals.take(transport)
            else:
                super().connection_made(transport)

        def data_received(self, data: bytes) -> None:
            if self.is_refused:
                refusals.answer(self.transport)
            else:
                super().data_received(data)

        def eof_received(self) -> None:
            if not self.is_refused:
                super().eof_received()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.is_refused:
                refusals.lost(self.transport)
            else:
                super().connection_lost(exc)

    return Limited


def _answer() -> bytes:
    """As REST's problems; written out, since there is no request to answer through the application."""
    status = HTTP_STATUS["unavailable"]
    problem = {
        "type": "about:blank",
        "title": "unavailable",
        "status": status,
        "detail": "this gateway takes no more connections; connect again elsewhere",
        "code": "unavailable",
        "retryable": True,
    }
    body = json.dumps(problem).encode()
    head = (
        f"HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


_FULL = _answer()
