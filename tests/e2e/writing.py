"""Users that write to some sessions in the background."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cli.seeding.plan import PlannedSession
from deploy.local.stack import Stack
from tests.e2e.raw import call, rest_of, text

_EVERY_S = 0.4
# The sessions get their first messages one after the other.
_APART_S = 3.0

# What was sent and acked, by session: the fields of the message and of its 201.
Said = dict[str, list[dict[str, Any]]]


@asynccontextmanager
async def writing(stack: Stack, sessions: Sequence[PlannedSession]) -> AsyncIterator[Said]:
    """The first member of each session writes while the block runs, at least one message."""
    said: Said = {one.session_id: [] for one in sessions}
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number, session in enumerate(sessions):
            tasks.create_task(_write(stack, session, number, said, stopping))
        try:
            yield said
        finally:
            stopping.set()


async def _write(stack: Stack, session: PlannedSession, number: int, said: Said, stopping: asyncio.Event) -> None:
    async with rest_of(stack, session.members[0], number % stack.counts.gateways) as http:
        await _pause(stopping, number * _APART_S)
        while not said[session.session_id] or not stopping.is_set():
            asked = text(f"meanwhile {uuid.uuid4()} \N{ROCKET}", session_id=session.session_id, reply_to=1)
            if session.is_group:
                asked["mentions"] = [session.members[1]]
            said[session.session_id].append(asked | await call(http, "POST", "/v1/messages", **asked))
            await _pause(stopping, _EVERY_S)


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
