"""A gateway for REST calls, without a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2

from tidings_client.group_calls import GroupCalls
from tidings_client.rest import Rest
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens

Json = dict[str, Any]
CODES = {401: "token_expired", 403: "forbidden", 404: "session_not_found", 503: "unavailable", 504: "timeout"}
Answer = Json | int | Exception | Callable[[httpx2.Request], httpx2.Response]


class Gateway:
    """Answers with what it was given, in order; the last answer again and again. Keeps the requests."""

    def __init__(
        self,
        *answers: Answer,
        own_id: str = "alice",
        tokens: Tokens | None = None,
        time: ServerTime | None = None,
        make_id: Callable[[], str] | None = None,
    ) -> None:
        self.answers = list(answers)
        self.asked: list[httpx2.Request] = []
        self.rest = Rest("http://server", tokens or Tokens("token"), httpx2.MockTransport(self._answer), time)
        self.groups = GroupCalls(self.rest, make_id or (lambda: f"made-{len(self.asked)}"), self._own_id)
        self._id = own_id

    async def _own_id(self) -> str:
        return self._id

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        match self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
            case Exception() as error:
                raise error
            case int(status):
                return httpx2.Response(status, json={"code": CODES[status], "detail": "why", "retryable": status > 500})
            case dict(answer):
                return httpx2.Response(200, json=answer)
            case answer:
                return answer(request)

    @property
    def said(self) -> tuple[str, str, Json | None]:
        """Method, path and body of the only request."""
        (request,) = self.asked
        return request.method, request.url.raw_path.decode(), json.loads(request.content) if request.content else None

    @property
    def keys(self) -> list[str]:
        return [request.headers["Idempotency-Key"] for request in self.asked]

    def parameters(self, name: str) -> list[str | None]:
        return [request.url.params.get(name) for request in self.asked]
