"""The embedded stack restarts with new tables, and a device begins in the middle: what clients and the CLI show."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from deploy.local.ports import free_ports
from tests.deployments import deployed
from tests.sockets import opened
from tidings_client import Client, Complaint, FileCursorStore, StatusChanged, development_tokens

SESSION = "d:alice:bob"
PATIENCE_S = 40.0


Life = Callable[[], contextlib.AbstractAsyncContextManager[str]]


@pytest.fixture
def life(tmp_path: Path) -> Life:
    """Makes one life of a deployment after the other, on the same port: the tables end with a life."""
    port = free_ports().gateway

    @contextlib.asynccontextmanager
    async def lives() -> AsyncIterator[str]:
        async with deployed(tmp_path, http_port=port) as there:
            yield there.url

    return lives


def person(url: str, user: str, cursor: Path | None = None, *, from_live: bool = False) -> Client:
    cursors = FileCursorStore(cursor) if cursor else None
    return Client(url, development_tokens(url, user), device_id="phone", cursors=cursors, from_live=from_live)


async def send(url: str, *texts: str) -> None:
    async with person(url, "alice") as alice:
        for text in texts:
            await (await alice.send(text, to="bob")).acked()


async def shown(client: Client, count: int) -> list[str]:
    messages = client.messages()
    async with asyncio.timeout(PATIENCE_S):
        return [(await anext(messages)).text for _ in range(count)]


async def complaints(client: Client) -> list[str]:
    heard: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            async for event in client.events():
                heard += [event.code] if isinstance(event, Complaint) else []
    return heard


@pytest.mark.promise("G7")
@pytest.mark.field_case("3")
async def test_a_kept_cursor_survives_a_new_life(life: Life, tmp_path: Path) -> None:
    cursor = tmp_path / "bob.cursor"
    async with life() as url:
        await send(url, *(f"old {number}" for number in range(8)))
        async with person(url, "bob", cursor) as bob:
            assert await shown(bob, 8) == [f"old {number}" for number in range(8)]
    assert json.loads(cursor.read_text())["inbox_seq"] == 8
    async with life() as url:
        await send(url, "new 1", "new 2")
        async with person(url, "bob", cursor) as bob:
            assert await shown(bob, 2) == ["new 1", "new 2"]
            assert await complaints(bob) == ["other_life"]
            await send(url, "new 3")
            assert await shown(bob, 1) == ["new 3"]
    assert json.loads(cursor.read_text())["inbox_seq"] == 3


@pytest.mark.field_case("3")
async def test_running_device_continues_in_a_new_life(life: Life) -> None:
    async with life() as url:
        running = await person(url, "bob").__aenter__()
        await send(url, "old 1", "old 2")
        assert await shown(running, 2) == ["old 1", "old 2"]
    async with life() as url:
        await send(url, "new 1", "new 2", "new 3")
        assert await shown(running, 3) == ["new 1", "new 2", "new 3"]
        await running.close()


@pytest.mark.field_case("3")
async def test_tail_with_a_cursor_of_another_life_says_so(life: Life, tmp_path: Path) -> None:
    cursor = tmp_path / "tail.cursor"
    cursor.write_text('{"inbox_seq":8,"groups":{"g:X":10}}')
    async with life() as url:
        await send(url, *(f"{number}" for number in range(1, 4)))
        command = ["tail", "--as", "bob", "--cursor", str(cursor), "--url", url, "--count", "10"]
        pipe = asyncio.subprocess.PIPE
        tail = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", *command, stdout=pipe, stderr=pipe, env=dict(os.environ)
        )
        assert tail.stdout
        assert tail.stderr
        async with asyncio.timeout(PATIENCE_S):
            lines = [(await tail.stdout.readline()).decode() for _ in range(3)]
        await send(url, *(f"{number}" for number in range(4, 11)))
        async with asyncio.timeout(PATIENCE_S):
            lines += [(await tail.stdout.readline()).decode() for _ in range(7)]
            said = (await tail.stderr.read()).decode()
            assert await tail.wait() == 0
    assert [line.split()[-1] for line in lines] == [str(number) for number in range(1, 11)]
    assert said.count("other_life") == 1


@pytest.mark.field_case("3")
async def test_cursor_above_the_tail_is_answered(life: Life) -> None:
    async with life() as url:
        await send(url, "1", "2", "3")
        token = await development_tokens(url, "bob")()
        async with opened(url) as socket:
            await socket.sign_in(token, "raw")
            await socket.send(
                {"type": "ack", "inbox_seq": 1_000_000, "ref": "a"}, {"type": "sync", "after": 1_000_000, "ref": "s"}
            )
            heard = {"welcome": socket.welcome}
            async with asyncio.timeout(PATIENCE_S):
                while not {"a", "s"} <= heard.keys():
                    frame = await socket.next()
                    heard[frame.get("ref") or frame["type"]] = frame
        assert heard["a"]["code"] == "cursor_ahead"
        assert (heard["s"]["ahead"], heard["s"]["next"]) == (True, 3)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=url, headers=headers) as rest:
            page = (await rest.get("/v1/inbox", params={"after": 1_000_000})).json()
            log = (await rest.get(f"/v1/sessions/{SESSION}/messages", params={"after_seq": 10})).json()
        assert page["deployment"] == heard["welcome"]["deployment"]
        assert (page["ahead"], log["ahead"]) == (True, True)


@pytest.mark.promise("G8")
@pytest.mark.field_case("7")
async def test_device_from_live_delivers_no_earlier_message(life: Life) -> None:
    async with life() as url:
        await send(url, "1", "2", "3", "4", "5")
        async with person(url, "bob", from_live=True) as bob, person(url, "alice") as alice:
            moved: list[StatusChanged] = []

            async def listen() -> None:
                async for event in alice.events():
                    moved.extend([event] if isinstance(event, StatusChanged) else [])

            listening = asyncio.create_task(listen())
            await bob.connected()
            bob.messages()
            await asyncio.sleep(0.5)
            sixth = await alice.send("6", to="bob")
            assert await shown(bob, 1) == ["6"]
            bob.mark_read(SESSION, 6)
            await asyncio.sleep(1.0)
            peer = (await alice.session(SESSION)).peer
            assert peer is not None
            assert (peer.delivered_seq, peer.read_seq) == (0, 0)
            assert str(sixth.status) == "sent"
            page = await bob.history(SESSION, before_seq=6)
            assert [one.text for one in page.messages] == ["1", "2", "3", "4", "5"]
            async with asyncio.timeout(PATIENCE_S):
                await sixth.read()
            listening.cancel()
            readers = (await alice.receipts(SESSION, 6)).read
            assert readers[0].at
