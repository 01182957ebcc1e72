"""The network between devices and gateways: sockets and calls with delays, which break when a gateway dies.

The SDK's own Socket and Rest run on it, so that every frame and every answer of a run passes here. `Watcher` sees each
when it arrives at its device.
"""

import asyncio
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import AbstractContextManager, ExitStack
from contextvars import Context
from email.utils import formatdate
from functools import cache
from re import Pattern
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote, urlencode, urlsplit

import httpx2
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from websockets.exceptions import ConnectionClosedError

from services.gateway.http.problems import problem
from services.gateway.protocol.limits import SOCKET_PATH, SUBPROTOCOL
from tests.simulation.admission import wall_ms
from tests.simulation.deployment import Deployment, Instance
from tests.simulation.watcher import Watcher
from tidings.errors import Refused, StoreUnavailable
from tidings_client import client as sdk_client
from tidings_client.socket import CLOSED_WITHOUT_CODE, Socket

_OPEN_S = 10.0
_GONE = object()


class Network:
    """All connections and calls that are under way."""

    def __init__(self, deployment: Deployment, watcher: Watcher) -> None:
        """`deployment` says which gateways take clients."""
        self.deployment, self.watcher = deployment, watcher
        self.connections: dict[Connection, None] = {}
        self.calls: dict[asyncio.Future[Any], Instance] = {}
        self._opened = 0

    def installed(self) -> AbstractContextManager[object]:
        """While it is entered, the SDK connects and calls through this network."""
        stack = ExitStack()
        stack.enter_context(patch.object(sdk_client, "open_socket", self.open_socket))
        stack.enter_context(patch.object(httpx2, "AsyncClient", lambda **given: HttpClient(self, **given)))
        return stack

    def gateway(self) -> Instance | None:
        """What a load balancer picks."""
        ready = self.deployment.gateways()
        return self.deployment.servers.chance.choice(ready) if ready else None

    def sweep(self) -> None:
        """Connections and calls of gateways that have ended break, as the system of their machine does it."""
        for connection in list(self.connections):
            if not connection.instance.is_alive:
                connection.break_off()
        for answer, instance in list(self.calls.items()):
            if not instance.is_alive and not answer.done():
                answer.set_exception(httpx2.ReadError("connection reset"))

    async def open_socket(self, url: str) -> Socket:
        """Stands for the SDK's. The host of the URL is user and device, as `<user>.<device>`."""
        instance = self.gateway()
        if instance is None or instance.gateway is None:
            await asyncio.sleep(self.delay_s())
            raise ConnectionRefusedError("no gateway is there")
        self._opened += 1
        user_id, _, device_id = str(urlsplit(url).hostname).partition(".")
        connection = Connection(self, instance, user_id, f"{user_id}.{device_id}/{self._opened}")
        self.connections[connection] = None
        instance.process.spawn(connection.serve(instance.gateway.connections.endpoint))
        try:
            async with asyncio.timeout(_OPEN_S):
                await connection.opened
        except BaseException:
            connection.break_off()
            raise
        return Socket(connection)  # type: ignore[arg-type]

    def delay_s(self) -> float:
        """One way between a device and a gateway: most within 20 ms, some much later."""
        chance = self.deployment.servers.chance
        return chance.random() * (0.02 if chance.random() < 0.95 else 0.4)


class _Way:
    """One direction of a connection: delays, but no reordering."""

    def __init__(self, network: Network, arrive: Callable[[Any], None]) -> None:
        self._network, self._arrive, self._at_s = network, arrive, 0.0

    def put(self, item: Any) -> None:
        loop = asyncio.get_running_loop()
        self._at_s = max(self._at_s + 1e-6, loop.time() + self._network.delay_s())
        loop.call_at(self._at_s, self._arrive, item, context=Context())


class Connection:
    """The client's side is what the SDK's Socket uses of `websockets`; the server's is ASGI."""

    def __init__(self, network: Network, instance: Instance, user_id: str, name: str) -> None:
        self.instance, self.user_id, self.name = instance, user_id, name
        self.close_code: int | None = None
        self.close_reason = ""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._network = network
        self._received: asyncio.Queue[Any] = asyncio.Queue()
        self._sent: asyncio.Queue[Any] = asyncio.Queue()
        self._to_client = _Way(network, self._arrive)
        self._to_server = _Way(network, self._sent.put_nowait)

    # -- the client's side ---------------------------------------------------------------------------

    async def send(self, text: str) -> None:
        """One WebSocket message."""
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        self._network.watcher.sends(self.name, self.user_id, text)
        self._to_server.put({"type": "websocket.receive", "text": text})

    async def recv(self) -> str:
        """The next one."""
        text = await self._received.get()
        if text is _GONE:
            self._received.put_nowait(_GONE)
            raise ConnectionClosedError(None, None)
        return str(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The closing handshake, as far as either side can see it."""
        if self.close_code is None:
            self._to_server.put({"type": "websocket.disconnect", "code": code, "reason": reason})
            self._end(code, reason)

    def break_off(self) -> None:
        """Neither side can reach the other any more."""
        self._to_server.put({"type": "websocket.disconnect", "code": CLOSED_WITHOUT_CODE, "reason": ""})
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError("connection reset"))
        self._end(CLOSED_WITHOUT_CODE, "")

    def _end(self, code: int, reason: str) -> None:
        self._network.connections.pop(self, None)
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._received.put_nowait(_GONE)

    def _arrive(self, message: Mapping[str, Any]) -> None:
        if self.close_code is not None:
            return
        if message["type"] == "websocket.close":
            self._end(message["code"], message["reason"])
            self._sent.put_nowait({"type": "websocket.disconnect", "code": message["code"], "reason": ""})
            return
        if message["type"] != "websocket.send":
            if not self.opened.done() and message["type"] == "websocket.accept":
                self.opened.set_result(None)
            elif not self.opened.done():
                self.opened.set_exception(ConnectionRefusedError("the gateway takes no connection"))
            return
        self._network.watcher.receives(self.name, self.user_id, message["text"])
        self._received.put_nowait(message["text"])

    # -- the server's side ---------------------------------------------------------------------------

    async def serve(self, endpoint: Callable[..., Any]) -> None:
        """Runs in the gateway's process."""
        connected = [{"type": "websocket.connect"}]

        async def receive() -> Any:
            return connected.pop() if connected else await self._sent.get()

        async def send(message: Mapping[str, Any]) -> None:
            self._to_client.put(dict(message))

        scope = {"type": "websocket", "path": SOCKET_PATH, "subprotocols": [SUBPROTOCOL], "headers": []}
        await endpoint(scope, receive, send)
        self._to_client.put({"type": "websocket.close", "code": CLOSED_WITHOUT_CODE, "reason": ""})


class HttpClient:
    """Stands for the HTTP library in the SDK's Rest, and for HTTP's own server in the gateway."""

    def __init__(self, network: Network, base_url: str, timeout: float = 10.0, **_given: object) -> None:
        self._network, self._timeout_s = network, timeout
        self._user_id = str(urlsplit(base_url).hostname).partition(".")[0]

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        """One call. Raises httpx2.TransportError."""
        instance = self._network.gateway()
        await asyncio.sleep(self._network.delay_s())
        if instance is None or not instance.is_alive or instance.gateway is None:
            raise httpx2.ConnectError("no gateway is there")
        key = (headers or {}).get("Idempotency-Key", "")
        asked = self._network.watcher.asks(self._user_id, method, path, key)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._network.calls[answer] = instance
        request = _request(method, path, params or {}, json, headers or {})
        instance.process.spawn(_serve(instance, request, answer))
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await answer
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer in time") from None
        finally:
            del self._network.calls[answer]
        given = Answer(response, formatdate(wall_ms() / 1000, usegmt=True))
        await asyncio.sleep(self._network.delay_s())
        self._network.watcher.answered(asked, given.status_code, given.content)
        return given

    async def aclose(self) -> None:
        """Nothing is open between calls."""


class Answer:
    """What the SDK reads of an answer."""

    def __init__(self, response: Response, date: str) -> None:
        self.status_code = response.status_code
        self.content = bytes(response.body)
        self.text = self.content.decode()
        self.headers: Mapping[str, str] = {"Date": date}

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status_code < 300


def _request(method: str, path: str, params: Mapping[str, Any], json: Any, headers: Mapping[str, str]) -> Request:
    body = b"" if json is None else orjson.dumps(json)
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": urlencode(params).encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request(scope, receive)


async def _serve(instance: Instance, request: Request, answer: "asyncio.Future[Response]") -> None:
    """The gateway's routes and error answers without their framework: FastAPI takes longer to build than a run."""
    assert instance.gateway is not None
    try:
        for route in instance.gateway.routes:
            match = _pattern(route.path).match(request.url.path)
            if match and route.method == request.method:
                response = await route.call(request, **match.groupdict())
                break
        else:
            raise AssertionError(f"no route for {request.method} {request.url.path}")
    except Refused as refused:
        response = problem(refused)
    except StoreUnavailable:
        response = problem(Refused("unavailable", "storage is temporarily unavailable; retry"))
    if not answer.done():
        answer.set_result(response)


@cache
def _pattern(path: str) -> Pattern[str]:
    return compile_path(path)[0]
