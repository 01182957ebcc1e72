"""A gateway that stops: its clients and callers work until the end (a real one, over the memory adapters)."""

import asyncio
import contextlib
import time
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from services.gateway.connections.draining import SERVED_MS
from tests.deployments import Deployment, running, settings
from tests.sockets import Socket

DRAIN_S = 3.0
LATE_S = 1.2  # half a second of the gateway's, and a busy machine


async def stated_and_closed(socket: Socket, began_s: float) -> tuple[float, float]:
    """Seconds from the start: its stated time to leave, and when it was closed."""
    goaway = await socket.expect("goaway")
    stated_s = time.monotonic() - began_s + goaway["reconnect_after_ms"] / 1000
    await socket.closed()
    return stated_s, time.monotonic() - began_s


async def all_signed_in(gateway: Deployment, stack: contextlib.AsyncExitStack, count: int) -> list[Socket]:
    return [await stack.enter_async_context(gateway.signed_in(f"user{number}")) for number in range(count)]


@pytest.mark.field_case("28")
async def test_connections_end_in_order_at_their_stated_times(tmp_path: Path) -> None:
    async with running(settings(tmp_path, drain_s=DRAIN_S)) as gateway, contextlib.AsyncExitStack() as stack:
        sockets = await all_signed_in(gateway, stack, 12)
        began_s = time.monotonic()
        gateway.stopping.set()
        ends = await asyncio.gather(*(stated_and_closed(socket, began_s) for socket in sockets))
        assert [stated for stated, _ in ends] == sorted(stated for stated, _ in ends)
        for stated_s, closed_s in ends:
            assert stated_s - 0.1 <= closed_s <= stated_s + LATE_S
        assert ends[0][0] < DRAIN_S / 6
        assert ends[-1][0] > DRAIN_S * 0.8


@pytest.mark.field_case("28")
async def test_calls_and_new_connections_are_served_while_draining(tmp_path: Path) -> None:
    async with running(settings(tmp_path, drain_s=DRAIN_S)) as gateway, contextlib.AsyncExitStack() as stack:
        socket, _ = await all_signed_in(gateway, stack, 2)
        rest = await stack.enter_async_context(gateway.rest("caller"))
        began_s = time.monotonic()
        gateway.stopping.set()
        await socket.expect("goaway")
        assert gateway.health.readiness() == "process: draining"
        answer = await rest.get("/v1/sessions")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        # Also one that this gateway has sent away a moment ago.
        late_socket = await stack.enter_async_context(gateway.signed_in("newcomer"))
        stated_s, closed_s = await stated_and_closed(late_socket, began_s)
        assert stated_s >= DRAIN_S / 3
        assert closed_s >= stated_s - 0.1


async def test_the_last_second_refuses_new_connections_with_a_text(tmp_path: Path) -> None:
    async with running(settings(tmp_path, drain_s=DRAIN_S)) as gateway, contextlib.AsyncExitStack() as stack:
        await all_signed_in(gateway, stack, 1)
        gateway.stopping.set()
        await asyncio.sleep(DRAIN_S - 0.7)
        with pytest.raises(InvalidStatus) as refused:
            await stack.enter_async_context(gateway.socket())
        assert refused.value.response.status_code == 503
        assert b"unavailable" in refused.value.response.body
        async with httpx2.AsyncClient(base_url=gateway.url) as http:
            assert (await http.get("/openapi.json")).status_code == 200


async def test_a_call_in_progress_at_the_end_is_answered(tmp_path: Path) -> None:
    async with running(settings(tmp_path)) as gateway, gateway.rest("alice") as rest:
        call = asyncio.create_task(
            rest.post("/v1/messages", json={"client_msg_id": "m1", "to": "bob", "kind": "text", "body": {"text": "hi"}})
        )
        (command,) = await gateway.commands(1)
        gateway.stopping.set()
        await asyncio.sleep(0.3)
        await gateway.ack(command, 1)
        assert (await call).status_code == 201


@pytest.mark.field_case("28")
async def test_a_gateway_of_calls_alone_serves_them_while_they_come(tmp_path: Path) -> None:
    """No WebSocket is open. Balancers learn only from the next probe that it is not ready."""
    async with (
        running(settings(tmp_path, drain_s=4.0)) as gateway,
        httpx2.AsyncClient(base_url=gateway.url) as http,
    ):
        began_s = time.monotonic()
        gateway.stopping.set()
        while time.monotonic() - began_s < 3.5:
            answer = await http.get("/v1/sessions")
            assert (answer.status_code, answer.headers["connection"]) == (401, "close")
            await asyncio.sleep(0.3)
        async with asyncio.timeout(3):
            await asyncio.wait([gateway.task])


async def test_an_idle_gateway_stops_when_balancers_know_it(tmp_path: Path) -> None:
    async with running(settings(tmp_path, drain_s=60)) as gateway:
        began_s = time.monotonic()
        gateway.stopping.set()
        async with asyncio.timeout(5):
            await asyncio.wait([gateway.task])
        assert time.monotonic() - began_s >= SERVED_MS / 1000


async def test_a_cancelled_drain_closes_everything_with_1001(tmp_path: Path) -> None:
    """What a second SIGTERM does."""
    async with running(settings(tmp_path, drain_s=60)) as gateway, gateway.signed_in("alice") as socket:
        gateway.stopping.set()
        await socket.expect("goaway")
        gateway.task.cancel()
        assert await socket.closed() == 1001
        async with asyncio.timeout(5):
            await asyncio.wait([gateway.task])
