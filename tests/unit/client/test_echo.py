"""The echo user and the examples of the SDK, which are small programs around a client."""

import asyncio
import importlib.util
import json
from functools import partial
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from tests.unit.client.fake_server import Server, until
from tidings_client import Client, MemoryCursorStore
from tidings_client.echo import echo
from tidings_client.rest import Rest

EXAMPLES = Path(__file__).parents[3] / "sdk/python/examples"
pytestmark = pytest.mark.usefixtures("quick")


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def run_echo(server: Server, cursors: MemoryCursorStore) -> None:
    async with Client(server.url, "echo", device_id="echo", cursors=cursors) as client:
        await echo(client)


async def test_the_echo_answers_each_message_once_across_restarts(server: Server) -> None:
    server.send_to("echo", 5)
    for replies_tried in (5, 10, 15):  # without its cursor, as after a crash that lost it
        task = asyncio.create_task(run_echo(server, MemoryCursorStore()))
        await until(partial(lambda expected: len(server.sends) == expected, replies_tried))
        await until(lambda: len(server.logs["d:alice:echo"]) == 10)
        await end(task)
    replies = [m["body"]["text"] for m in server.logs["d:alice:echo"] if m["sender_id"] == "echo"]
    assert replies == ["1", "2", "3", "4", "5"]
    assert server.marks["d:alice:echo", "echo"][1] == 5


async def test_echo_waits_until_its_reply_is_stored(server: Server) -> None:
    server.send_to("echo", 1)
    server.answers_sends = False
    cursors = MemoryCursorStore()
    task = asyncio.create_task(run_echo(server, cursors))
    await until(lambda: len(server.sends) >= 1)
    await end(task)
    assert cursors.cursor is None


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_examples_do_what_they_say(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    bot = asyncio.create_task(example("echo_bot").main(server.url, "bob"))
    await until(lambda: bool(server.online))
    async with asyncio.timeout(20):
        await example("send_and_wait").main(server.url, "alice", "bob", "hello")
        await example("tail").main(server.url, "alice", count=2)
    await end(bot)
    assert capsys.readouterr().out.splitlines() == [
        "d:alice:bob 1 acked",
        "d:alice:bob 1 delivered",
        "d:alice:bob 1 read",
        "d:alice:bob 1 alice hello",
        "d:alice:bob 2 bob hello",
    ]


def group_calls(request: httpx2.Request) -> httpx2.Response:
    if request.method == "POST":
        assert json.loads(request.content) == {"name": "team", "members": ["bob"]}
        return httpx2.Response(201, json={"session_id": "g:1", "seq": 1})
    members = [{"user_id": "alice", "role": "owner", "joined_seq": 1}, {"user_id": "bob", "joined_seq": 1}]
    return httpx2.Response(200, json={"members": members})


async def test_the_example_of_a_group_makes_one(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tidings_client.client.Rest", partial(Rest, transport=httpx2.MockTransport(group_calls)))
    async with asyncio.timeout(20):
        await example("group").main(server.url, "alice", "team", "bob")
    assert capsys.readouterr().out == "g:1 1\nalice owner\nbob member\n"
