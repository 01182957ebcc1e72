"""The outer layer of all REST calls: paths, preflights, CORS headers, and an answer after any failure."""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from services.gateway.http.cors import CrossOrigin
from services.gateway.http.handshake import handshake_fault
from services.gateway.http.headers import has_body, is_ambiguous, values
from services.gateway.http.problems import problem
from services.gateway.protocol.limits import SOCKET_PATH, SUBPROTOCOL
from services.gateway.rest.paths import routed_path
from tidings import metrics
from tidings.errors import Refused
from tidings.logging import logger

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# In the scope of a HEAD that is routed as a GET.
IS_HEAD = "tidings.is_head"


class HttpEdges:
    """An ASGI application for scopes of type http around the one with the routes."""

    def __init__(self, app: App, cross_origin: CrossOrigin, methods_of: Callable[[Scope], set[str]]) -> None:
        """`methods_of` returns the methods that the path of a scope accepts."""
        self._app = app
        self._cross_origin = cross_origin
        self._methods_of = methods_of
        self._log = logger("tidings.gateway.rest")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = time.perf_counter()
        answer = _Answer(send, self._cross_origin.headers(scope["headers"]))
        routed = dict(scope)
        try:
            await self._served(routed, receive, answer)
        finally:
            route = getattr(routed.get("route"), "path", "none")
            status = f"{answer.status // 100}xx" if answer.status else "none"
            method = scope["method"] if route != "none" else "any"
            seconds = metrics.HTTP_SECONDS.labels(method, route, status)
            seconds.observe(time.perf_counter() - begun)

    async def _served(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        try:
            early = self._early(scope)
            await (early or self._app)(scope, receive, answer.send)
        except Exception:
            self._log.exception("a call failed", method=scope["method"], path=scope["path"])
            if answer.status and not answer.is_complete:
                # A part of the answer was sent, so the server has to close the connection.
                raise
            # Not raised again after an answer of the framework, because the server would reset the connection before
            # the client has read the answer.
            if not answer.status:
                await broken()(scope, receive, answer.send)

    def _early(self, scope: Scope) -> Response | None:
        """The answer to a request that is not a call; otherwise prepare the scope for the routes and return None."""
        try:
            scope["path"] = routed_path(scope["raw_path"].decode("ascii"))
        except Refused as refused:
            return problem(refused)
        if is_ambiguous(scope["http_version"], scope["headers"]):
            text = "the length of the body is ambiguous: send Content-Length, or Transfer-Encoding with HTTP/1.1"
            return problem(Refused("invalid_frame", text), 400, {"Connection": "close"})
        if scope["path"] == SOCKET_PATH:
            return no_handshake(scope)
        match scope["method"]:
            case "OPTIONS":
                return self._cross_origin.preflight(scope["headers"]) or self._options(scope)
            case "HEAD":
                # The server sends no body for a HEAD. A call that would read one from elsewhere looks at IS_HEAD.
                scope[IS_HEAD] = True
                scope["method"] = "GET" if "GET" in self._methods_of(scope) else "HEAD"
        return None

    def _options(self, scope: Scope) -> Response | None:
        methods = self._methods_of(scope)
        return Response(status_code=204, headers={"Allow": allow(methods)}) if methods else None


class _Answer:
    """Sends the answer with added headers. `status` is 0 until the answer begins."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0
        self.is_complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
        await self._send(message)


def broken() -> Response:
    """A problem with status 500."""
    return problem(Refused("unavailable", "internal error of the gateway; retry"), 500)


def allow(methods: set[str]) -> str:
    """The header `Allow` for a path with these methods, and with those that this layer answers."""
    return ", ".join(sorted(methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())))


def no_handshake(scope: Scope) -> Response:
    """The answer at the path of the WebSocket to a request without a valid handshake. Browsers show the text."""
    request = scope["headers"]
    if has_body(request):
        # Answered without reading the body, because the client may wait for an answer before it sends the body.
        return problem(Refused("invalid_frame", f"{SOCKET_PATH} is a WebSocket; a handshake is a GET without a body"))
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": SUBPROTOCOL,
    }
    has_upgrade = bool(values(request, b"upgrade"))
    if has_upgrade and scope["method"] == "GET" and (fault := handshake_fault(scope)) is not None:
        return problem(Refused("invalid_frame", fault.text), fault.status, headers)
    text = (
        f"{SOCKET_PATH} is a WebSocket; a handshake is a GET"
        if has_upgrade
        else f"{SOCKET_PATH} is a WebSocket, and no Upgrade header has arrived. A proxy probably drops it. "
        "Configure it to pass Upgrade and Connection on (nginx also needs proxy_http_version 1.1)"
    )
    return problem(Refused("invalid_frame", text), 426, headers)
