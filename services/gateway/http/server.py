"""The public port: one uvicorn server for WebSocket and REST, without uvicorn's signal handling."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from services.gateway.http.cors import CrossOrigin
from services.gateway.http.h11_protocol import protocol_for
from services.gateway.http.socket_limits import limited
from services.gateway.protocol.limits import MESSAGE_BYTES
from services.gateway.protocol.origins import AllowedOrigins
from tidings.runtime.listeners import bound, listen

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The kernel drops a peer that has acknowledged no sent byte for so long: two heartbeats of the default.
# Unlike WebSocket pings, this needs no timer in the process.
PEER_SILENT_MS = 45_000
_FAULTS_OF_CLIENTS = (
    "ASGI callable returned without completing response",
    "returned without completing handshake",
    "Invalid UTF-8 sequence received from client",
)
_LOOK_S = 0.05
_VARIABLES = "TIDINGS_HTTP_HOST, TIDINGS_HTTP_PORT"


def public_listener(host: str, port: int) -> socket.socket:
    """The public port, not listening yet; port 0 picks a free one. Raises ConfigurationError if it cannot be bound."""
    silence = (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_SILENT_MS)
    no_delay = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound(host, port, _VARIABLES, silence, no_delay)


class HttpServer:
    """Listens while the block of `listening` runs."""

    def __init__(
        self, listener: socket.socket, websocket: App, rest: App, origins: AllowedOrigins, idle_s: int, sockets: int
    ) -> None:
        """`listener`: from public_listener. `idle_s`: how long a connection waits for a request. `sockets`: further
        sockets get a 503."""
        self._listener = listener
        self._apps = {"websocket": websocket, "http": rest}
        cross_origin = CrossOrigin(origins)
        config = uvicorn.Config(
            self._dispatch,
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            http=limited(protocol_for(cross_origin), sockets, cross_origin),
            timeout_keep_alive=idle_s,
            log_config=None,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=MESSAGE_BYTES,
            ws_max_queue=8,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
        )
        self._server = uvicorn.Server(config)
        self._calls = 0
        self.calls_begun = 0
        # While the gateway drains, each answer closes its connection, so that a balancer sends the next call elsewhere.
        self.is_leaving = False
        logging.getLogger("uvicorn.error").addFilter(_is_no_fault_of_a_client)
        # The gateway handles signals itself, because it drains before uvicorn would close every socket.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Yields the port in use. Raises ConfigurationError if another process has taken it meanwhile."""
        listen(self._listener, _VARIABLES)
        serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        try:
            while not self._server.started and not serving.done():  # noqa: ASYNC110 - uvicorn offers no event
                await asyncio.sleep(0.01)
            yield int(self._listener.getsockname()[1])
        finally:
            self._server.should_exit = True
            self._server.force_exit = True
            await serving

    def stop_accepting(self) -> None:
        """Accept no new connections. The existing ones continue."""
        for server in self._server.servers:
            server.close()

    async def calls_done(self, timeout_s: float) -> None:
        """Wait until no REST call is in progress, for a bounded time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._calls:  # noqa: ASYNC110 - an event would cost time in every call
                    await asyncio.sleep(_LOOK_S)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps[scope["type"]]
        if scope["type"] == "websocket":
            await app(scope, receive, send)
            return
        self._calls += 1
        self.calls_begun += 1
        try:
            await app(scope, receive, _closing(send) if self.is_leaving else send)
        finally:
            self._calls -= 1


def _closing(send: Send) -> Send:
    """Add `Connection: close` to the answer."""

    async def last(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return last


def _is_no_fault_of_a_client(record: logging.LogRecord) -> bool:
    """False for log records of uvicorn that clients cause. It logs an error for each refused handshake, and a traceback
    for a text that is not UTF-8 (closed with 1007)."""
    return not any(phrase in str(record.msg) for phrase in _FAULTS_OF_CLIENTS)
