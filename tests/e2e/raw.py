"""The public port without the SDK: sockets that may say anything, and REST."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from deploy.local.stack import Stack
from tests.integration.gateway_running import SUBPROTOCOL, Socket
from tidings_client import development_tokens

PATIENCE_S = 60.0
# PROTOCOL, Retry: a try without an answer for so long has failed.
TRY_S = 5.0
Frame = dict[str, Any]


async def token_of(stack: Stack, user_id: str) -> str:
    """A development token."""
    return await development_tokens(stack.url(), user_id)()


@asynccontextmanager
async def opened(stack: Stack, ordinal: int = 0) -> AsyncIterator[Socket]:
    """A WebSocket of one of the gateways, not signed in."""
    url = stack.url(ordinal).replace("http", "ws") + "/v1/ws"
    async with connect(url, subprotocols=[SUBPROTOCOL], compression=None, open_timeout=PATIENCE_S) as connection:
        yield Socket(connection)


@asynccontextmanager
async def signed_in(stack: Stack, user_id: str, device_id: str = "phone", ordinal: int = 0) -> AsyncIterator[Socket]:
    """A WebSocket after its `live`."""
    async with opened(stack, ordinal) as socket:
        await socket.send({"type": "hello", "token": await token_of(stack, user_id), "device_id": device_id})
        await frame_like(socket, type="live")
        yield socket


@asynccontextmanager
async def rest_of(stack: Stack, user_id: str, ordinal: int = 0) -> AsyncIterator[httpx2.AsyncClient]:
    """A REST client of a user."""
    headers = {"Authorization": f"Bearer {await token_of(stack, user_id)}"}
    async with httpx2.AsyncClient(base_url=stack.url(ordinal), headers=headers, timeout=PATIENCE_S) as http:
        yield http


async def frame_like(socket: Socket, within_s: float = PATIENCE_S, **wanted: object) -> Frame:
    """The next frame with these fields; what comes before is let go. TimeoutError, ConnectionClosed."""
    async with asyncio.timeout(within_s):
        while True:
            frame = await socket.next()
            if wanted.items() <= frame.items():
                return frame


async def close_code(socket: Socket) -> int | None:
    """Take what comes until the server closes; None for a socket that ended without a close frame."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                await socket.connection.recv()
    except ConnectionClosed:
        return socket.connection.close_code


async def send_until_acked(socket: Socket, frame: Frame) -> Frame:
    """Repeat it as PROTOCOL says until its `send_ack` comes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await socket.send(frame)
            try:
                return await frame_like(socket, TRY_S, type="send_ack", client_msg_id=frame["client_msg_id"])
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
