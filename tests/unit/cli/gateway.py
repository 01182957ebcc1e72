"""A gateway of the chat verbs that answers from a table."""

import json
from collections.abc import Callable
from typing import Any

import httpx2

Json = dict[str, Any]
GROUP = f"g:{'ab' * 16}"
AS_ALICE = ("--as", "alice", "--token", "t")


class Gateway:
    """Answers by method and path; what it does not know is not found. Keeps the bodies it was sent."""

    def __init__(self) -> None:
        self.answers: dict[str, Json] = {}
        self.bodies: list[Json] = []
        self.answer: Callable[[httpx2.Request], httpx2.Response] = self.look_up  # a test may set another

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        return self.answer(request)

    def look_up(self, request: httpx2.Request) -> httpx2.Response:
        if request.content:
            self.bodies.append(json.loads(request.content))
        answer = self.answers.get(f"{request.method} {request.url.raw_path.decode()}")
        if answer is None:
            return httpx2.Response(404, json={"code": "session_not_found", "detail": "no such session"})
        return httpx2.Response(200, json=answer)

    def has_member(self, name: str, member: Json) -> None:
        """One, in the group of this name."""
        group = {"session_id": GROUP, "name": name, "owner": "alice", "mode": "write", "member_count": 1}
        self.answers[f"GET /v1/groups/{GROUP}"] = group
        self.answers[f"GET /v1/groups/{GROUP}/members?limit=200"] = {"members": [member]}
