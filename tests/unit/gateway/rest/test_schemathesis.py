"""schemathesis asks every call of the embedded stack what its schema allows, and what it does not.

No answer is a 5xx but the 503 and 504 that are retryable, and none is outside of what /openapi.json describes.
"""

import asyncio
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from services.gateway.rest import openapi
from services.gateway.rest.routes import Route, routes_of
from tests.deployments import deployed
from tests.unit.gateway.asking import noting_calls
from tests.unit.gateway.documented import Document

PATIENCE_S = 60.0
ROUTES = routes_of(noting_calls()[0])
DOCUMENT = openapi.document(ROUTES)
CHECKS = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
# Some 25 s for all calls together. Cases differ between runs all the same: both libraries draw constants of the
# modules that are loaded. So nothing here asks for a success of a call; test_documented_answers.py has one of each.
BOUNDED = settings(
    max_examples=20, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@dataclass
class Asking:
    """The embedded stack, and clients of its users. `document.seen` are the statuses of each call."""

    url: str
    document: Document = field(default_factory=lambda: Document.of(DOCUMENT))
    clients: dict[str, httpx2.Client] = field(default_factory=dict)

    def client(self, user_id: str) -> httpx2.Client:
        """A client of the user."""
        if user_id not in self.clients:
            client = httpx2.Client(base_url=self.url, timeout=PATIENCE_S, verify=False)
            self.clients[user_id] = client
            token = client.post("/v1/tokens", json={"user_id": user_id}).json()["token"]
            client.headers["Authorization"] = f"Bearer {token}"
        return self.clients[user_id]

    def known(self, user_id: str) -> dict[str, str]:
        """Fields of paths that lead to something: a new group with a message of the user, and a member of it."""
        client = self.client(user_id)
        made = {"client_msg_id": f"made by {user_id}", "name": "Team", "members": ["bob"]}
        name = client.post("/v1/groups", json=made).json()["session_id"]
        sent = {"client_msg_id": "sent", "session_id": name, "kind": "text", "body": {"text": "hi"}}
        assert client.post("/v1/messages", json=sent).status_code == 201
        url = client.post("/v1/media", content=b"hi", headers={"Idempotency-Key": "uploaded"}).json()["url"]
        media_id = url.rpartition("/")[2]
        return {"session_id": name, "group_id": name, "user_id": "bob", "seq": "2", "media_id": media_id}


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    """The stack runs in a thread of its own, because schemathesis and hypothesis wait for answers."""
    found: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ending = asyncio.Event()
        async with deployed(tmp_path_factory.mktemp("deployed"), patience_s=300) as there:
            found.set_result((there.url, asyncio.get_running_loop(), ending))
            await ending.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    url, loop, ending = found.result(PATIENCE_S)
    asking = Asking(url)
    yield asking
    for client in asking.clients.values():
        client.close()
    loop.call_soon_threadsafe(ending.set)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def name_of(route: Route) -> str:
    return route.name


def test_served_document_is_that_of_the_routes(asking: Asking) -> None:
    assert asking.client("reader").get("/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_any_call_is_answered_as_documented(asking: Asking, route: Route, mode: GenerationMode) -> None:
    user_id = f"{route.name}-{mode.value}"
    known, client = asking.known(user_id), asking.client(user_id)
    cases = SCHEMA[route.path][route.method].as_strategy(generation_mode=mode)

    @BOUNDED
    @given(cases, st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known:
            lead_somewhere(case, known)
        response = send(client, case)
        case.validate_response(response, checks=CHECKS)
        asking.document.check(route.method, response.request.url.raw_path.decode(), response)
        if response.status_code >= 500:
            assert response.status_code in (503, 504), response.text

    ask()


def lead_somewhere(case: Any, known: Mapping[str, str]) -> None:
    """Let a case speak of what exists, under an id of its own: random names end at 404, and equal ids at 409."""
    case.path_parameters.update({name: known[name] for name in case.path_parameters or ()})
    case.headers.pop("Idempotency-Key", None)
    if isinstance(case.body, dict):
        own = {"user_id": known["user_id"], "session_id": known["session_id"], "client_msg_id": uuid.uuid4().hex}
        body = {name: own.get(name, value) for name, value in case.body.items() if name != "to"}
        case.body = body | ({"session_id": known["session_id"]} if "to" in case.body else {})


def send(client: httpx2.Client, case: Any) -> httpx2.Response:
    """The request of a case, with the token of the client."""
    asked = case.as_transport_kwargs(base_url=str(client.base_url))
    # The client sends no value with blanks around it, which HTTP leaves out.
    headers = {name: value.strip() for name, value in asked["headers"].items() if name.lower() != "authorization"}
    is_json = "json" in asked or not isinstance(asked.get("data"), str | bytes | None)
    body = {"json": asked.get("json", asked.get("data"))} if is_json else {"content": asked.get("data")}
    return client.request(asked["method"], asked["url"], headers=headers, params=asked["params"], **body)
