"""The public port without the SDK: sockets that may say anything, and REST."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from deploy.local.stack import Stack
from tests import sockets
from tests.sockets import PATIENCE_S, Frame, Socket
from tests.unit.persister.builders import uuid7
from tidings.clock import SystemClock
from tidings_client import development_tokens

_AGAIN_S = 0.5
# A call of the log that was not answered in time is repeated with the same id (PROTOCOL, Retry). A call refused for
# its rate is repeated after the time that the answer names.
_TRIES = 12
_RETRYABLE = (429, 503, 504)


async def token_of(stack: Stack, user_id: str) -> str:
    """A development token."""
    return await development_tokens(stack.url(), user_id)()


@asynccontextmanager
async def opened(stack: Stack, ordinal: int = 0) -> AsyncIterator[Socket]:
    """A WebSocket of one of the gateways, not signed in."""
    async with sockets.opened(stack.url(ordinal)) as socket:
        yield socket


@asynccontextmanager
async def signed_in(stack: Stack, user_id: str, device_id: str = "phone", ordinal: int = 0) -> AsyncIterator[Socket]:
    """A WebSocket after its `live`."""
    async with opened(stack, ordinal) as socket:
        await socket.sign_in(await token_of(stack, user_id), device_id)
        await socket.like(type="live")
        yield socket


@asynccontextmanager
async def rest_of(stack: Stack, user_id: str, ordinal: int = 0) -> AsyncIterator[httpx2.AsyncClient]:
    """A REST client of a user."""
    headers = {"Authorization": f"Bearer {await token_of(stack, user_id)}"}
    async with httpx2.AsyncClient(base_url=stack.url(ordinal), headers=headers, timeout=PATIENCE_S) as http:
        yield http


def text(words: str = "hello", /, **changes: Any) -> Frame:
    """A text message under an id of its own. A change to None leaves the field out."""
    message = {"client_msg_id": uuid.uuid4().hex, "kind": "text", "body": {"text": words}, **changes}
    return {name: value for name, value in message.items() if value is not None}


async def call(http: httpx2.AsyncClient, method: str, path: str, **body: Any) -> dict[str, Any]:
    """A call of the log, repeated until it is answered. Raises for a refusal."""
    body.setdefault("client_msg_id", uuid7(SystemClock().wall_ms(), uuid.uuid4().int % 2**60))
    answer = await answered(http, method, path, body)
    assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
    result: dict[str, Any] = answer.json()
    return result


async def answered(
    http: httpx2.AsyncClient, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> httpx2.Response:
    """The answer to a call, which is repeated while its outcome is unknown or it came too soon."""
    for _ in range(_TRIES):
        try:
            answer = await http.request(method, path, json=body, headers=headers)
        except httpx2.TransportError:
            await asyncio.sleep(_AGAIN_S)
            continue
        if answer.status_code not in _RETRYABLE:
            break
        await asyncio.sleep(answer.json().get("retry_after_ms", _AGAIN_S * 1000) / 1000)
    return answer


async def history_of(http: httpx2.AsyncClient, session_id: str) -> list[Frame]:
    """All messages of a session that its user may read, oldest first."""
    messages: list[Frame] = []
    path, has_more = f"/v1/sessions/{session_id}/messages", True
    while has_more:
        after = messages[-1]["seq"] if messages else 0
        page = (await http.get(path, params={"after_seq": after, "limit": 200})).raise_for_status().json()
        messages += page["messages"]
        has_more = page["has_more"]
    return messages
