"""One user puts and deletes blocks without end while 60 others write to each other: they do not notice."""

import asyncio
import os
import statistics
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import httpx2
import pytest

from deploy.local.stack import Counts, Stack
from tests.e2e.raw import rest_of, text
from tests.servers import Stacks

# 100,000 take about eight minutes: `TIDINGS_TEST_BLOCK_CHANGES=100000 pytest -s tests/e2e/test_block_churn.py`.
CHANGES = int(os.environ.get("TIDINGS_TEST_BLOCK_CHANGES", "600"))
WRITERS = 60
# Each writes twice a second: far below what one machine can do, so that the two phases differ in the blocks only.
PAUSE_S = 0.5
QUIET_S = 8.0
# The changes take processor time from the messages, and CI machines are shared: medians are compared. The tail is
# printed, and asserted only to find hangs.
NOISE_MS = 50.0
SLOWEST_MS = 5_000.0
NO_LIMIT = {"TIDINGS_BLOCK_CHANGES_PER_S": "1000000", "TIDINGS_BLOCK_BURST": "1000000"}
COUNTS = Counts(echoes=0, receipts=1)


@dataclass
class Flow:
    """What became of the messages of one phase."""

    took_ms: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """For the report of a run."""
        return (
            f"{name}: {len(self.took_ms)} messages, {len(self.refused)} refused, "
            f"median {statistics.median(self.took_ms):.0f} ms, p99 {self.p99_ms:.0f} ms"
        )

    @property
    def p99_ms(self) -> float:
        """Of 100 messages 99 were faster."""
        return statistics.quantiles(self.took_ms, n=100)[98]


async def write(client: httpx2.AsyncClient, to: str, flow: Flow, until: asyncio.Event) -> None:
    """Messages until the test stops it."""
    while not until.is_set():
        begun = time.perf_counter()
        response = await client.post("/v1/messages", json=text(to=to))
        if response.status_code == 201:
            flow.took_ms.append((time.perf_counter() - begun) * 1000)
        else:
            flow.refused.append(response.text)
        await asyncio.sleep(PAUSE_S)


async def churn(client: httpx2.AsyncClient) -> None:
    """Put and delete one id after the other, each of them once."""
    for number in range(CHANGES // 2):
        for method in ("PUT", "DELETE"):
            response = await client.request(method, f"/v1/blocks/user-{number}")
            assert response.status_code == 204, response.text


async def phase(clients: Sequence[httpx2.AsyncClient], names: Sequence[str], meanwhile: asyncio.Task[None]) -> Flow:
    """All write to each other, in a ring, until `meanwhile` is done."""
    flow, until = Flow(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number, client in enumerate(clients):
            tasks.create_task(write(client, names[(number + 1) % len(names)], flow, until))
            await asyncio.sleep(PAUSE_S / WRITERS)
        await meanwhile
        until.set()
    return flow


@pytest.mark.timeout(1800)
@pytest.mark.field_case("39")
async def test_endless_changes_of_blocks_disturb_no_user(stacks: Stacks) -> None:
    stack: Stack = stacks.make("blocks", COUNTS, {"gateway-0": NO_LIMIT})
    stack.up()
    run = uuid.uuid4().hex[:6]
    names = [f"writer-{run}-{number}" for number in range(WRITERS)]
    async with AsyncExitStack() as opened:
        clients = [await opened.enter_async_context(rest_of(stack, name)) for name in names]
        bob = await opened.enter_async_context(rest_of(stack, f"bob-{run}"))
        await phase(clients, names, asyncio.create_task(asyncio.sleep(QUIET_S)))
        before = await phase(clients, names, asyncio.create_task(asyncio.sleep(QUIET_S)))
        begun = time.perf_counter()
        during = await phase(clients, [*names[1:], f"bob-{run}"], asyncio.create_task(churn(bob)))
        took_s = time.perf_counter() - begun
        after = await phase(clients, [*names[1:], f"bob-{run}"], asyncio.create_task(asyncio.sleep(QUIET_S)))
        assert (await bob.get("/v1/blocks")).json() == {"blocks": []}
    figures = [before.line("before"), during.line(f"during {CHANGES} changes in {took_s:.0f} s"), after.line("after")]
    summary = "; ".join(figures)
    print(summary)  # noqa: T201
    assert before.refused + during.refused + after.refused == [], summary
    for flow in (during, after):
        assert statistics.median(flow.took_ms) <= 2 * statistics.median(before.took_ms) + NOISE_MS, summary
        assert max(flow.took_ms) <= SLOWEST_MS, summary
    stack.down()
