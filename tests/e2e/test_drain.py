"""Five hundred clients of a gateway that drains, while messages flow: how long is any of them offline?"""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator

import jwt
import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from deploy.local.stack import Stack
from tests.e2e.load import flowing
from tests.e2e.raw import opened
from tests.sockets import Socket

CLIENTS = 500
CONNECTING_AT_ONCE = 50
DRAIN_S = 20.0
# The figure that counts (2 s, seen on an idle machine) is printed. CI machines are shared: the assertion finds hangs.
OFFLINE_MOST_S = 10.0
# PROTOCOL, Retry: the first repeat of a connection.
BACKOFF_S = 1.0
FOR_EVER_S = 1e6


class Client:
    """Does what PROTOCOL says of goaway: works until its time, then connects again, to a gateway that is ready."""

    def __init__(self, stack: Stack, user_id: str, key: str) -> None:
        self._stack = stack
        now_s = int(time.time())
        claims = {"sub": user_id, "aud": "tidings", "iat": now_s, "exp": now_s + 3_600}
        self._token = jwt.encode(claims, key, algorithm="HS256")
        self.offline_s = 0.0
        self.refused_count = 0
        self.was_cut_early = False
        self.is_online = asyncio.Event()
        self.has_moved = asyncio.Event()

    async def run(self, connecting: asyncio.Semaphore) -> None:
        """Until cancelled."""
        async with contextlib.AsyncExitStack() as held:
            async with connecting:
                socket = await held.enter_async_context(self.signed_in(0))
            self.is_online.set()
            await self._until_its_time(socket)
            left_s = time.monotonic()
            await held.aclose()
            while not self.has_moved.is_set():
                try:
                    socket = await held.enter_async_context(self.signed_in(1))
                except (OSError, WebSocketException):
                    self.refused_count += 1
                    await asyncio.sleep(BACKOFF_S)
                    continue
                self.offline_s = time.monotonic() - left_s
                self.has_moved.set()
            await socket.closed(FOR_EVER_S)

    @contextlib.asynccontextmanager
    async def signed_in(self, ordinal: int) -> AsyncIterator[Socket]:
        """Connected, up to its `welcome`."""
        async with opened(self._stack, ordinal) as socket:
            await socket.sign_in(self._token, "phone")
            yield socket

    async def _until_its_time(self, socket: Socket) -> None:
        try:
            goaway = await socket.like(FOR_EVER_S, type="goaway")
        except ConnectionClosed:
            self.was_cut_early = True
            return
        leave_s = goaway["reconnect_after_ms"] / 1000
        began_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            await socket.closed(leave_s)
        self.was_cut_early = time.monotonic() < began_s + leave_s - 0.1


async def fresh_sign_ins(stack: Stack, key: str, took_s: list[float]) -> None:
    """What signing in at the other gateway takes meanwhile, for clients that come from nowhere. Until cancelled."""
    for number in itertools.count():
        began_s = time.monotonic()
        async with Client(stack, f"fresh-{number}", key).signed_in(1):
            took_s.append(time.monotonic() - began_s)
        await asyncio.sleep(0.2)


@pytest.mark.field_case("28")
async def test_drain_keeps_no_client_offline_for_long(stack: Stack, figures: list[str]) -> None:
    await asyncio.to_thread(stack.stop, "gateway-0")
    stack.env = {**stack.env, "gateway-0": {"TIDINGS_DRAIN_S": str(DRAIN_S)}}
    await asyncio.to_thread(stack.start, "gateway-0")
    await asyncio.to_thread(stack.wait_ready, ["gateway-0"])
    key, run, connecting = (
        stack.token_key_file.read_text().strip(),
        uuid.uuid4().hex[:6],
        asyncio.Semaphore(CONNECTING_AT_ONCE),
    )
    clients = [Client(stack, f"drained-{run}-{number}", key) for number in range(CLIENTS)]
    running = [asyncio.create_task(client.run(connecting)) for client in clients]
    try:
        await asyncio.gather(*(client.is_online.wait() for client in clients))
        async with flowing(stack) as load:
            fresh_s: list[float] = []
            running.append(asyncio.create_task(fresh_sign_ins(stack, key, fresh_s)))
            began_s = time.monotonic()
            await asyncio.to_thread(stack.stop, "gateway-0")
            took_s = time.monotonic() - began_s
            moving = [asyncio.create_task(client.has_moved.wait()) for client in clients]
            await asyncio.wait(moving, timeout=OFFLINE_MOST_S + 10)
            failures = [repr(task.exception()) for task in running if task.done()]
            assert (failures, sum(client.has_moved.is_set() for client in clients)) == ([], CLIENTS)
            await load.flows()
            await load.settle_and_check()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        stack.env = {name: value for name, value in stack.env.items() if name != "gateway-0"}
        await asyncio.to_thread(stack.start, "gateway-0")
        await asyncio.to_thread(stack.wait_ready, ["gateway-0"])
    offline = sorted(client.offline_s for client in clients)
    refused_count = sum(client.refused_count for client in clients)
    figures.append(
        f"drain of {CLIENTS} connections in {took_s:.1f} s: offline {offline[CLIENTS // 2]:.2f} s in the median,"
        f" {offline[-1]:.2f} s at most, {refused_count} attempts refused;"
        f" a fresh client signs in within {max(fresh_s):.2f} s"
    )
    assert not [client for client in clients if client.was_cut_early]
    assert offline[-1] <= OFFLINE_MOST_S
    assert DRAIN_S * 0.9 <= took_s <= DRAIN_S + 10
