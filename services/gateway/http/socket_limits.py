"""Limits the sockets of clients, so that the admin port, Kafka and Cassandra keep their share of open files.

A process without free files cannot accept connections, and they get no answer. It can also open no socket for a scrape,
a probe, or a broker that has restarted.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from services.gateway.http.cors import CrossOrigin
from services.gateway.http.h11_protocol import HEAD_BYTES, LINGER_S
from services.gateway.http.headers import Headers, headers_so_far
from tidings import metrics
from tidings.errors import HTTP_STATUS, ConfigurationError
from tidings.logging import logger

# A new process has 30 open files. Added are 20 for scrapes and probes, 30 for two Kafka clients and their reconnects,
# 20 for Cassandra, and 36 for refused sockets. RESERVED_SHARE covers larger clusters, which have larger limits.
RESERVED_FILES = 136
RESERVED_SHARE = 1 / 16
# An upload has a temporary file and a socket to the object store, a download a file or a socket.
UPLOADS_AT_ONCE = 32
FILES_OF_AN_UPLOAD = 2
DOWNLOADS_AT_ONCE = 64
# Sockets of clients that are reserved for REST, because WebSockets would take all.
CALL_SOCKETS = 24
# Sockets above the limit that may wait for their request and get a 503. Further ones are closed at once.
REFUSED_AT_ONCE = 32
REFUSED_WITHIN_S = 1.0
_VARIABLE = "TIDINGS_MAX_CONNECTIONS"

_log = logger("tidings.gateway.sockets")


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`connections`: the most WebSockets. `sockets`: the most sockets of WebSockets and REST together.

    `uploads` and `downloads`: the most at the same time, because each takes further files.
    """

    connections: int
    sockets: int
    uploads: int
    downloads: int


def socket_limits(files: int, max_connections: int) -> SocketLimits:
    """The limits for clients under a limit of open files. Raises ConfigurationError if no socket is left for them.

    `max_connections`: the most WebSockets that the operator allows.
    """
    left = files - max(RESERVED_FILES, int(files * RESERVED_SHARE))
    # An eighth of what is left is for media, which a limit of 1,024 turns into 27 uploads and 55 downloads.
    uploads, downloads = min(UPLOADS_AT_ONCE, left // 32), min(DOWNLOADS_AT_ONCE, left // 16)
    sockets = left - FILES_OF_AN_UPLOAD * uploads - downloads
    connections = min(max_connections, sockets - CALL_SOCKETS)
    if connections < 1:
        raise ConfigurationError(
            f"{_VARIABLE}: the limit of {files} open files (ulimit -n) leaves no room for clients; raise it"
            f" above {RESERVED_FILES + CALL_SOCKETS}"
        )
    if connections < max_connections:
        _log.warning(
            f"fewer connections than {_VARIABLE}: raise the limit of open files (ulimit -n)",
            max_connections=max_connections,
            connections=connections,
            open_files=files,
        )
    metrics.CONNECTIONS_MOST.set(connections)
    return SocketLimits(connections, sockets, max(1, uploads), max(1, downloads))


def report_full(limit: int) -> None:
    """Count and log a refused socket. The logger limits the number of such lines."""
    metrics.REFUSED_SOCKETS.labels("full").inc()
    _log.warning(f"the gateway is full: {_VARIABLE}, or the limit of open files (ulimit -n)", limit=limit)


class Refusals:
    """Sockets above the limit. Each gets a 503 after its request, or after a second without a whole request."""

    def __init__(self, limit: int, cross_origin: CrossOrigin) -> None:
        self.limit = limit
        self._cross_origin = cross_origin
        self._closings: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._heads: dict[asyncio.Transport, bytes] = {}

    def take(self, transport: asyncio.Transport) -> None:
        """A new socket above the limit."""
        report_full(self.limit)
        if len(self._closings) >= REFUSED_AT_ONCE:
            transport.write(_answer([]))
            transport.close()
        else:
            self._heads[transport] = b""
            timer = asyncio.get_running_loop().call_later(REFUSED_WITHIN_S, self.answer, transport)
            self._closings[transport] = timer

    def received(self, transport: asyncio.Transport, data: bytes) -> None:
        """A part of its request. Data after the answer is ignored."""
        if transport in self._heads:
            self._heads[transport] += data
            if b"\r\n\r\n" in self._heads[transport] or len(self._heads[transport]) > HEAD_BYTES:
                self.answer(transport)

    def answer(self, transport: asyncio.Transport) -> None:
        """Answer, and close later, because an immediate close could reset the connection before the answer arrives."""
        head = self._heads.pop(transport, None)
        if head is None or transport.is_closing():
            return
        transport.write(_answer(self._cross_origin.headers(headers_so_far(head))))
        transport.write_eof()
        self._closings[transport].cancel()
        self._closings[transport] = asyncio.get_running_loop().call_later(LINGER_S, transport.close)

    def lost(self, transport: asyncio.Transport) -> None:
        """The socket is closed."""
        self._heads.pop(transport, None)
        timer = self._closings.pop(transport, None)
        if timer is not None:
            timer.cancel()


def limited(protocol: type[Any], sockets: int, cross_origin: CrossOrigin) -> type[Any]:
    """uvicorn's HTTP protocol, extended to refuse sockets above the limit."""
    refusals = Refusals(sockets, cross_origin)

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
                refusals.received(self.transport, data)
            else:
                super().data_received(data)

        def eof_received(self) -> None:
            if self.is_refused:
                refusals.answer(self.transport)
            else:
                super().eof_received()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.is_refused:
                refusals.lost(self.transport)
            else:
                super().connection_lost(exc)

    return Limited


def _answer(more_headers: Headers) -> bytes:
    """A problem as REST sends it. It is written by hand, because the application does not serve this request."""
    status = HTTP_STATUS["unavailable"]
    problem = {
        "type": "about:blank",
        "title": "unavailable",
        "status": status,
        "detail": "this gateway accepts no more connections; connect again",
        "code": "unavailable",
        "retryable": True,
    }
    body = json.dumps(problem).encode()
    more = b"".join(name + b": " + value + b"\r\n" for name, value in more_headers)
    head = (
        f"HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nretry-after: 1\r\nconnection: close\r\n"
    )
    return head.encode() + more + b"\r\n" + body
