"""Connections that are replaced, sent away, or lose their gateway."""

import asyncio
import time
import uuid

import pytest
from websockets.exceptions import ConnectionClosed

from deploy.local.stack import Stack
from tests.e2e.load import flowing
from tests.e2e.raw import call, rest_of, signed_in, text

REPLACED = 4409
GOING_AWAY = 1001


@pytest.mark.parametrize("newer_at", [0, 1])
async def test_a_newer_connection_replaces_the_older_at_any_gateway(
    stack: Stack, newer_at: int, figures: list[str]
) -> None:
    user = f"twice-{uuid.uuid4().hex[:8]}"
    async with signed_in(stack, user, "phone", 0) as older, signed_in(stack, user, "laptop", 0) as other:
        began = time.perf_counter()
        async with signed_in(stack, user, "phone", newer_at) as newer, rest_of(stack, user, 1) as rest:
            assert await older.closed() == REPLACED
            figures.append(f"replaced at gateway {newer_at}: closed after {time.perf_counter() - began:.1f} s")
            stored = await call(rest, "POST", "/v1/messages", **text("note", to=user))
            for socket in (newer, other):
                received = await socket.like(type="message")
                assert received["message"]["message_id"] == stored["message_id"]


async def test_a_stopping_gateway_sends_its_clients_away_without_loss(stack: Stack, figures: list[str]) -> None:
    async with flowing(stack) as load:
        async with signed_in(stack, f"sent-away-{uuid.uuid4().hex[:8]}") as socket:
            stopping = asyncio.create_task(asyncio.to_thread(stack.stop, "gateway-0"))
            goaway = await socket.like(type="goaway")
            assert goaway["reconnect_after_ms"] >= 0
            assert await socket.closed() == GOING_AWAY
        await stopping
        assert stack.process("gateway-0").pid() is None
        healed = await load.flows()
        figures.append(f"SIGTERM of a gateway: every session flows {healed.everywhere_s:.1f} s after its end")
        await asyncio.to_thread(stack.start, "gateway-0")
        await load.settle_and_check()
    await asyncio.to_thread(stack.wait_ready, ["gateway-0"])


async def test_a_killed_gateway_pushes_to_its_new_connections_only(
    stack: Stack,
) -> None:
    user, peer = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("left", "peer"))
    async with rest_of(stack, peer, 1) as rest:
        async with signed_in(stack, user, "phone", 0) as before:
            await asyncio.to_thread(stack.kill, "gateway-0")
            with pytest.raises(ConnectionClosed):
                await before.like(type="goaway")
        first, second = text("while it was away", to=user), text("since it is back", to=user)
        await call(rest, "POST", "/v1/messages", **first)
        await asyncio.to_thread(stack.start, "gateway-0")
        await asyncio.to_thread(stack.wait_ready, ["gateway-0"])
        async with signed_in(stack, user, "phone", 0) as after:
            await after.send({"type": "sync", "after": 0})
            page = await after.like(type="sync_page")
            assert [item["message"]["body"] for item in page["items"]] == [first["body"]]
            await call(rest, "POST", "/v1/messages", **second)
            received = await after.like(type="message")
            assert (received["inbox_seq"], received["message"]["body"]) == (2, second["body"])
