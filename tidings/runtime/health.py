"""The admin port: /metrics, /healthz, /readyz, /readyz/self, operator calls. The public port serves none of them.

/metrics is written in a thread of its own, because a scrape of thousands of series would delay all frames.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import uvicorn
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from tidings.runtime.admin_calls import AdminAnswer, AdminCalls, AdminRequest
from tidings.runtime.listeners import bound, listen

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Health:
    """The readiness of the process, part by part. The process is alive as long as it answers.

    `calls`: its operator calls, which its parts add when they can serve them, and remove when they end.
    """

    __slots__ = ("_parts", "_servers", "calls")

    def __init__(self) -> None:
        """Not ready, because no part has reported yet."""
        self.calls = AdminCalls()
        self._parts: dict[str, str] = {"process": "starting"}
        self._servers: dict[str, str] = {}

    def set_ready(self, is_ready: bool, why: str = "", part: str = "process") -> None:
        """Report that one part of the process is ready, or why it is not."""
        self._parts[part] = "" if is_ready else why or "not ready"

    def set_server(self, server: str, problem: str) -> None:
        """Report a server that the process needs: `problem` is empty while it answers."""
        self._servers[server] = problem

    def readiness(self) -> str:
        """Empty when every part is ready and the servers answer; otherwise the list of what is missing."""
        return _listed({**self._parts, **self._servers})

    def own_readiness(self) -> str:
        """Like `readiness`, without the servers."""
        return _listed(self._parts)


def _listed(parts: Mapping[str, str]) -> str:
    return "; ".join(f"{part}: {why}" for part, why in sorted(parts.items()) if why)


@contextlib.asynccontextmanager
async def serve_admin(host: str, port: int, health: Health) -> AsyncIterator[int]:
    """Serve the admin port while the block runs; yields the port in use. ConfigurationError if it is not available."""
    listener = bound(host, port, "TIDINGS_ADMIN_HOST, TIDINGS_ADMIN_PORT")
    listen(listener, "TIDINGS_ADMIN_HOST, TIDINGS_ADMIN_PORT")
    scrapes = ThreadPoolExecutor(1, "scrape")
    config = uvicorn.Config(_admin_app(health, scrapes), lifespan="off", access_log=False, log_config=None, ws="none")
    server = uvicorn.Server(config)
    # The process handles its own signals, because uvicorn would close every socket at the first one.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn sets only a flag
            await asyncio.sleep(0.01)
        if serving.done():
            serving.result()
            raise RuntimeError(f"the admin port {host}:{port} could not be served")
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        server.force_exit = True
        with contextlib.suppress(SystemExit):
            await serving
        scrapes.shutdown(wait=False)


def _admin_app(health: Health, scrapes: Executor) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if path == "/healthz":
            await _answer(send, "")
        elif path == "/readyz":
            await _answer(send, health.readiness())
        elif path == "/readyz/self":
            await _answer(send, health.own_readiness())
        elif path == "/metrics":
            accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
            encode, content_type = choose_encoder(accept)
            body = await asyncio.get_running_loop().run_in_executor(scrapes, encode, REGISTRY)
            await _send_body(send, 200, content_type, body)
        elif (call := health.calls.at(str(path))) is not None:
            await _send_answer(send, await call(_request(scope)))
        else:
            await _answer(send, "not found", 404)

    return app


async def _answer(send: Send, problem: str, status: int = 503) -> None:
    text = f"{problem or 'ok'}\n".encode()
    await _send_body(send, status if problem else 200, "text/plain; charset=utf-8", text)


def _request(scope: Scope) -> AdminRequest:
    headers, peer = dict(scope["headers"]), scope.get("client")
    return AdminRequest(
        method=str(scope["method"]),
        query=scope["query_string"].decode("latin-1"),
        authorization=headers.get(b"authorization", b"").decode("latin-1"),
        peer=f"{peer[0]}:{peer[1]}" if peer else "",
    )


async def _send_answer(send: Send, answer: AdminAnswer) -> None:
    headers = [(b"content-type", answer.content_type.encode()), (b"cache-control", b"no-store")]
    headers += [(name.encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _send_body(send: Send, status: int, content_type: str, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type.encode())]})
    await send({"type": "http.response.body", "body": body})
