"""The public port: one uvicorn for WebSocket and REST, without its signal handling."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from services.gateway.cors import CrossOrigin
from services.gateway.frames import MESSAGE_BYTES
from services.gateway.http_protocol import protocol_for
from services.gateway.origins import AllowedOrigins

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# The kernel drops a peer that has acknowledged no byte of ours for so long: two heartbeats of the default.
# It needs no timer of ours, unlike WebSocket pings.
PEER_SILENT_MS = 45_000
BACKLOG = 2_048
_FAULTS_OF_CLIENTS = ("returned without completing handshake", "Invalid UTF-8 sequence received from client")


class HttpServer:
    """Listens while the block of `listening` runs."""

    def __init__(
        self, address: tuple[str, int], websocket: App, rest: App, origins: AllowedOrigins, idle_s: int
    ) -> None:
        """`address`: host and port; port 0 picks a free one. `idle_s`: how long a connection waits for a request."""
        self._address = address
        self._apps = {"websocket": websocket, "http": rest}
        config = uvicorn.Config(
            self._dispatch,
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            http=protocol_for(CrossOrigin(origins)),
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
        logging.getLogger("uvicorn.error").addFilter(_is_no_fault_of_a_client)
        # The gateway owns its signals: it drains before uvicorn would close every socket.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Yields the port in use; raises OSError when it is taken."""
        listener = _listener(self._address)
        serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        try:
            while not self._server.started and not serving.done():  # noqa: ASYNC110 - uvicorn offers no event
                await asyncio.sleep(0.01)
            yield int(listener.getsockname()[1])
        finally:
            self._server.should_exit = True
            self._server.force_exit = True
            await serving

    def stop_accepting(self) -> None:
        """No new connections; the existing ones go on."""
        for server in self._server.servers:
            server.close()

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._apps[scope["type"]](scope, receive, send)


def _is_no_fault_of_a_client(record: logging.LogRecord) -> bool:
    """uvicorn logs an error for a handshake that was refused with an answer of ours, and a traceback for a text that is
    not UTF-8, which closes with 1007."""
    return not any(phrase in str(record.msg) for phrase in _FAULTS_OF_CLIENTS)


def _listener(address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted sockets inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, PEER_SILENT_MS)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
