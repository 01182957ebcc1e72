"""G8 and G9 as clients see them, while receipts and gateways are killed under 100 messages a second."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import httpx2
import pytest

from deploy.local.stack import Stack
from tests.e2e.raw import call, history_of, rest_of, token_of
from tests.e2e.watching import Watcher, WatchingDevice, recounted
from tests.waiting import until
from tidings.ids import direct_session

USERS = 6
RATE_PER_S = 100
RUN_S = 60.0
LOOK_EVERY_S = 0.4
# Of each user: a read mark that waits for receipts must not keep the user from looking.
LOOKS_AT_ONCE = 3
# Where other programs have the cores, a third of the rate and a tenth of the looks are left.
LEAST_SEEN = 200
DOWN_S = 1.5
# Killed one after the other, or together, until the time is over.
KILLS = (("receipts-0",), ("gateway-1",), ("receipts-0", "receipts-1"), ("gateway-0",), ("receipts-1", "gateway-1"))
_BETWEEN_S = 5.0
# A call that waits for receipts ends after 5 s.
_CALL_S = 15.0


@asynccontextmanager
async def watching(
    stack: Stack, chance: random.Random
) -> AsyncIterator[tuple[list[Watcher], list[WatchingDevice], dict[str, list[str]]]]:
    """Users with two devices at two gateways and REST at both; the members of each session, two of them groups."""
    run = uuid.uuid4().hex[:6]
    users = [f"{run}-{number}" for number in range(USERS)]
    sessions = {direct_session(one, other): [one, other] for one, other in pairwise(users)}
    async with AsyncExitStack() as exits:
        for members in (users, users[:3]):
            http = await exits.enter_async_context(rest_of(stack, members[0]))
            body = {"name": "kills", "members": members, "client_msg_id": uuid.uuid4().hex}
            sessions[(await call(http, "POST", "/v1/groups", **body))["session_id"]] = members
        urls = [stack.url(0), stack.url(1)]
        watchers = [Watcher(name, await token_of(stack, name), urls) for name in users]
        tasks = await exits.enter_async_context(asyncio.TaskGroup())
        running, devices = [], []
        for watcher in watchers:
            headers = {"Authorization": f"Bearer {watcher.token}"}
            https = [httpx2.AsyncClient(base_url=url, headers=headers, timeout=_CALL_S) for url in urls]
            for http in https:
                await exits.enter_async_context(http)
            running += [tasks.create_task(watcher.look(https, chance, LOOK_EVERY_S)) for _ in range(LOOKS_AT_ONCE)]
            for ordinal, name in enumerate(("phone", "laptop")):
                devices.append(WatchingDevice(watcher, name, ordinal, chance))
                running.append(tasks.create_task(devices[-1].run()))
        try:
            await until(lambda: all(device.connection for device in devices), "all devices are connected")
            yield watchers, devices, sessions
        finally:
            for task in running:
                task.cancel()


async def _write(
    devices: Sequence[WatchingDevice], sessions: dict[str, list[str]], chance: random.Random, said: list[bool]
) -> None:
    """At the rate until cancelled; mostly several users in one session at once, so that one round has them all.

    `said`: whether the device had a connection, for each message that was due.
    """
    began_s, number = time.monotonic(), 0
    while True:
        await asyncio.sleep(max(0.0, began_s + number / RATE_PER_S - time.monotonic()))
        session_id = chance.choice(sorted(sessions))
        members = [device for device in devices if device.watcher.user_id in sessions[session_id]]
        # Users cut off by a kill write nothing; the others keep up the rate.
        writing = [device for device in members if device.connection is not None] or members
        for device in chance.sample(writing, min(len(writing), 4)):
            await device.say(session_id)
            said.append(device.connection is not None)
            number += 1


async def _kill_alternately(stack: Stack, until_s: float) -> int:
    """How often something was killed."""
    kills = 0
    while time.monotonic() < until_s - _BETWEEN_S:
        names = KILLS[kills % len(KILLS)]
        for name in names:
            await asyncio.to_thread(stack.kill, name)
        await asyncio.sleep(DOWN_S)
        for name in names:
            await asyncio.to_thread(stack.start, name)
        kills += 1
        await asyncio.sleep(_BETWEEN_S)
    return kills


@pytest.mark.field_case("4", "5")
async def test_watermarks_and_unread_hold_under_kills(stack: Stack, figures: list[str]) -> None:
    chance = random.Random(12)
    async with watching(stack, chance) as (watchers, devices, sessions):
        said: list[bool] = []
        writing = asyncio.create_task(_write(devices, sessions, chance, said))
        kills = await _kill_alternately(stack, time.monotonic() + RUN_S)
        writing.cancel()
        await asyncio.to_thread(stack.wait_ready)
        # And what is late.
        await asyncio.sleep(_BETWEEN_S)
    breaches = [breach for watcher in watchers for breach in watcher.breaches]
    assert not breaches, f"{len(breaches)} times: {breaches[:5]}"
    senders: dict[str, Sequence[str]] = {}
    for session_id, members in sessions.items():
        async with rest_of(stack, members[0]) as http:
            senders[session_id] = [message["sender_id"] for message in await history_of(http, session_id)]
    first = {name: 2 if name.startswith("g:") else 1 for name in sessions}
    wrong = [line for watcher in watchers for line in recounted(watcher, senders, first)]
    assert not wrong, f"{len(wrong)} answers: {wrong[:5]}"
    answers, puts = (sum(len(one.answers) for one in watchers), sum(one.stored for one in watchers))
    frames, messages = sum(device.frames for device in devices), sum(len(written) for written in senders.values())
    assert puts
    assert min(answers, frames, messages) > LEAST_SEEN, (answers, frames, messages)
    # The rate of the requirement was offered, whatever was killed meanwhile.
    assert sum(said) >= 0.9 * RATE_PER_S * (RUN_S - _BETWEEN_S - DOWN_S), (sum(said), len(said))
    figures.append(
        f"{kills} kills of receipts and gateways, {messages} messages: {frames} receipt frames, {answers} sessions in "
        f"answers and {puts} read marks, none of them lower than one before, unread right in all"
    )
