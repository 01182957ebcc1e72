"""The public port without the SDK: sockets that may say anything, and REST."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from deploy.local.stack import Stack
from tests import sockets
from tests.sockets import PATIENCE_S, Frame, Socket
from tidings_client import development_tokens

# PROTOCOL, Retry: a try without an answer for so long has failed.
TRY_S = 5.0


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


async def send_until_acked(socket: Socket, frame: Frame) -> Frame:
    """Repeat it as PROTOCOL says until its `send_ack` comes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await socket.send(frame)
            try:
                return await socket.like(TRY_S, type="send_ack", client_msg_id=frame["client_msg_id"])
            except TimeoutError:
                continue


async def post_until_stored(http: httpx2.AsyncClient, message: Mapping[str, object]) -> Frame:
    """Repeat it as PROTOCOL says while its outcome is unknown; the body of the 201."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            response = await http.post("/v1/messages", json=message)
            if response.status_code not in (503, 504):
                assert response.status_code == 201, response.text
                stored: Frame = response.json()
                return stored


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
