"""The SDK and the command line on a device whose clock is wrong, against real servers."""

import asyncio
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tidings_client import Client, FileOutbox, TokenProvider, development_tokens
from tidings_client.rest import http_url_of

PATIENCE_S = 90.0
HOUR_S = 3_600
true_time = time.time

# The command line with its wall clock set by so many seconds.
CLI = "import sys, time; off = float(sys.argv.pop(1)); real = time.time; time.time = lambda: real() + off\n"
CLI += "from cli import main; main()"


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_by(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: true_time() + seconds)

    return set_by


def a_user() -> str:
    return f"clock-{uuid.uuid4().hex[:8]}"


def counted(provider: TokenProvider, calls: list[str]) -> TokenProvider:
    async def provide() -> str:
        calls.append(await provider())
        return calls[-1]

    return provide


@pytest.mark.field_case("2")
@pytest.mark.parametrize("off_s", [360, -360, 3 * 24 * HOUR_S, -100 * 24 * HOUR_S])
async def test_a_device_with_a_wrong_clock_sends_everything(
    stack: Stack, tmp_path: Path, set_clock: Callable[[float], None], off_s: float
) -> None:
    set_clock(off_s)
    url, user, outbox = stack.url(0), a_user(), tmp_path / "outbox"
    async with Client("ws://127.0.0.1:9", "no.token.yet", outbox=FileOutbox(outbox)) as offline:
        await offline.send("0", session_id=f"d:{user}:{user}")
        await offline.close()
    tokens = development_tokens(http_url_of(url), user)
    async with asyncio.timeout(PATIENCE_S), Client(url, tokens, outbox=FileOutbox(outbox)) as client:
        early = [one.sent for one in client.unsent()]
        early.append(await client.send("1", to=user))
        group = await client.groups.create("team")
        await client.connected()
        late = await client.send("2", session_id=group.session_id)
        set_clock(0)
        later = await client.send("3", to=user)
        for sent in (*early, late, later):
            await sent.acked()
        page = await client.history(f"d:{user}:{user}")
        assert [message.text for message in page.messages] == ["0", "1", "3"]
        assert client.unsent() == []


@pytest.mark.field_case("34", "33")
@pytest.mark.parametrize("off_s", [0, 2 * HOUR_S, -2 * HOUR_S])
async def test_tokens_of_8_s_keep_a_device_connected(
    stack: Stack, set_clock: Callable[[float], None], off_s: float
) -> None:
    set_clock(off_s)
    url, user, calls = stack.url(0), a_user(), list[str]()
    provider = counted(development_tokens(http_url_of(url), user, ttl_s=8), calls)
    lost: list[str] = []
    async with asyncio.timeout(PATIENCE_S), Client(url, provider) as client:
        await client.connected()
        watching = asyncio.create_task(breaks(client, lost))
        begun = time.monotonic()
        while time.monotonic() - begun < 20:
            await asyncio.gather(*(client.sessions() for _ in range(5)))
            await asyncio.sleep(0.3)
        watching.cancel()
        assert (await (await client.send("still here", to=user)).acked()).seq == 1
    assert lost == []
    assert len(calls) <= 5


async def breaks(client: Client, lost: list[str]) -> None:
    async for event in client.events():
        if type(event).__name__ == "LinkChanged":
            lost.append(str(event))  # noqa: PERF401 - it must hold what came when the task is cancelled


@pytest.mark.field_case("2")
async def test_the_command_line_makes_a_group_by_a_wrong_clock(stack: Stack) -> None:
    arguments = ["group", "create", "--as", a_user(), "--url", stack.url(0), "team"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CLI,
        "360",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"COLUMNS": "200"},
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert (process.returncode, out.decode()[:2]) == (0, "g:")
    assert err.decode() == "note: your clock is 6 minutes ahead of the server's\n"
