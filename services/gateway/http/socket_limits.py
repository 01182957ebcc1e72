"""How many sockets clients may have, so that the admin port, Kafka and Cassandra keep their share of open files.

When the process has no files left, the kernel's next connections are dropped without an answer, and so is everything
else that wants a socket: a scrape, a probe, the way back to a broker that has restarted.
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


def socket_limits(files: int, max_connections: int) -> SocketLimits:
    """What a limit of open files leaves for clients. ConfigurationError when it is nothing.

    `max_connections`: the WebSockets that the operator allows.
    """
    sockets = files - max(RESERVED_FILES, int(files * RESERVED_SHARE))
    connections = min(max_connections, sockets - CALL_SOCKETS)
    if connections < 1:
        raise ConfigurationError(
            f"{_VARIABLE}: the limit of {files} open files (ulimit -n) leaves no room for clients; it must be"
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
    return SocketLimits(connections, sockets)


def say_full(limit: int) -> None:
    """Count and log one that was refused; the log limits such lines by itself."""
    metrics.REFUSED_SOCKETS.labels("full").inc()
    _log.warning(f"the gateway is full: {_VARIABLE}, or the limit of open files (ulimit -n)", limit=limit)


class Refusals:
    """Sockets above the limit: each is answered 503 to its request, or after a second without a whole one."""

    def __init__(self, limit: int, cross_origin: CrossOrigin) -> None:
        self.limit = limit
        self._cross_origin = cross_origin
        self._closings: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        self._heads: dict[asyncio.Transport, bytes] = {}

    def take(self, transport: asyncio.Transport) -> None:
        """A new socket above the limit."""
        say_full(self.limit)
        if len(self._closings) >= REFUSED_AT_ONCE:
            transport.write(_answer([]))
            transport.close()
        else:
            self._heads[transport] = b""
            timer = asyncio.get_running_loop().call_later(REFUSED_WITHIN_S, self.answer, transport)
            self._closings[transport] = timer

    def received(self, transport: asyncio.Transport, data: bytes) -> None:
        """A part of its request; what comes after the answer is not looked at."""
        if transport in self._heads:
            self._heads[transport] += data
            if b"\r\n\r\n" in self._heads[transport] or len(self._heads[transport]) > HEAD_BYTES:
                self.answer(transport)

    def answer(self, transport: asyncio.Transport) -> None:
        """Its request has come, or does not. To close at once would reset the connection under the answer."""
        head = self._heads.pop(transport, None)
        if head is None or transport.is_closing():
            return
        transport.write(_answer(self._cross_origin.headers(headers_so_far(head))))
        transport.write_eof()
        self._closings[transport].cancel()
        self._closings[transport] = asyncio.get_running_loop().call_later(LINGER_S, transport.close)

    def lost(self, transport: asyncio.Transport) -> None:
        """It is gone."""
        self._heads.pop(transport, None)
        timer = self._closings.pop(transport, None)
        if timer is not None:
            timer.cancel()


def limited(protocol: type[Any], sockets: int, cross_origin: CrossOrigin) -> type[Any]:
    """uvicorn's HTTP protocol, which refuses sockets above the limit instead of taking their requests."""
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
    more = b"".join(name + b": " + value + b"\r\n" for name, value in more_headers)
    head = (
        f"HTTP/1.1 {status} Service Unavailable\r\ncontent-type: application/problem+json\r\n"
        f"content-length: {len(body)}\r\nretry-after: 1\r\nconnection: close\r\n"
    )
    return head.encode() + more + b"\r\n" + body
