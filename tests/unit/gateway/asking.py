"""REST's application with calls that note the method called, asked without a socket."""

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from starlette.requests import Request

from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.origins import parsed_origins
from services.gateway.rest.app import rest_app
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.blocks import BlockCalls
from services.gateway.rest.edges import App
from services.gateway.rest.groups import GroupCalls
from services.gateway.rest.media import MediaCalls
from services.gateway.rest.messages import MessageCalls
from services.gateway.rest.routes import RestCalls
from services.gateway.rest.sessions import SessionCalls
from services.gateway.rest.tokens import TokenCalls
from tests.unit.gateway.parts import MEDIA_RULES
from tidings.clock import SystemClock
from tidings.errors import Refused

APP = "https://app.example"
Pairs = Sequence[tuple[str, str]]


@dataclass
class Noting:
    """Stands for the authenticator, which each call asks first."""

    called: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    fails: BaseException = field(default_factory=lambda: Refused("unauthorized", "no user is signed in here"))

    def user(self, request: Request) -> str:
        """Note the route and what it took from the path."""
        self.called.append((request.method, request.scope["route"].path, dict(request.path_params)))
        raise self.fails


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only value of a header, None for none."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) <= 1, found
        return found[0] if found else None

    @property
    def problem(self) -> dict[str, Any]:
        """The body of an error."""
        assert self.header("content-type") == "application/problem+json"
        return cast(dict[str, Any], orjson.loads(self.body))


class _NoMedia:
    """What MediaCalls takes apart; nothing of it is called."""

    uploads = downloads = objects = None
    rules = MEDIA_RULES


def noting_calls(signing: bytes | None = None) -> tuple[RestCalls, Noting]:
    """All calls, with nothing behind them, and what they will have noted."""
    noting = Noting()
    first, other = cast(Authenticator, noting), cast(Any, None)
    calls = RestCalls(
        tokens=TokenCalls(signing, "tidings", SystemClock()),
        messages=MessageCalls(first, other, other, BodyRules(), {}, SystemClock()),
        sessions=SessionCalls(first, other, other, other, other, other),
        groups=GroupCalls(first, other, other, other, b"", SystemClock()),
        blocks=BlockCalls(first, other),
        media=MediaCalls(first, other, cast(Any, _NoMedia())),
    )
    return calls, noting


def noting_app(origins: str = APP, signing: bytes | None = None) -> tuple[App, Noting]:
    """The application, and what it will have noted."""
    calls, noting = noting_calls(signing)
    return rest_app(calls, parsed_origins(origins, "TIDINGS_ALLOWED_ORIGINS")), noting


async def asked(app: App, method: str, target: str, headers: Pairs = (), body: bytes = b"") -> Answer:
    """One request as uvicorn hands it over."""
    raw_path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "root_path": "",
        "path": "not to be looked at",
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "headers": [(b"host", b"gateway.example"), *((name.encode(), value.encode()) for name, value in headers)],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    events: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    found = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return Answer(start["status"], found, b"".join(one.get("body", b"") for one in rest))
