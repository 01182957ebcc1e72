"""Calls over connections that a server or proxy closes while they are idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from tidings_client import Unreachable, backoff
from tidings_client.fetching import watermarks
from tidings_client.group_calls import Placed
from tidings_client.rest import Rest
from tidings_client.tokens import Tokens

BODY = b'{"sessions":[],"session_id":"g:1","seq":1}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Hasty:
    """Answers `answered` requests on each connection, and closes it when the next one arrives."""

    def __init__(self, answered: int) -> None:
        self.answered = answered
        self.requests: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(self.answered + 1):
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(head.split(b" ")[0])
            if number < self.answered:
                writer.write(ANSWER)
                await writer.drain()
        writer.close()


@pytest.fixture
async def hasty() -> AsyncIterator[Hasty]:
    script = Hasty(answered=1)
    async with await asyncio.start_server(script.serve, "127.0.0.1", 0) as server:
        script.port = server.sockets[0].getsockname()[1]
        yield script


@pytest.fixture
async def rest(hasty: Hasty) -> AsyncIterator[Rest]:
    calls = Rest(f"http://127.0.0.1:{hasty.port}", Tokens("token"))
    yield calls
    await calls.close()


@pytest.mark.field_case("30")
async def test_a_get_goes_again_on_a_connection_that_was_closed(hasty: Hasty, rest: Rest) -> None:
    async with asyncio.timeout(20):
        for _ in range(5):
            assert (await rest.sessions()).sessions == ()
    assert hasty.requests == [b"GET"] * 9


@pytest.mark.field_case("30")
async def test_a_get_goes_again_only_once(hasty: Hasty, rest: Rest) -> None:
    hasty.answered = 0
    async with asyncio.timeout(20):
        with pytest.raises(Unreachable):
            await rest.sessions()
    assert hasty.requests == [b"GET"] * 2


@pytest.mark.field_case("30")
async def test_a_command_goes_again_by_its_own_schedule(
    hasty: Hasty, rest: Rest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "BASE_MS", 1)
    async with asyncio.timeout(20):
        await rest.sessions()
        await rest.command(Placed, "POST", "/v1/groups/g:1/transfer", "id", {"user_id": "bob"})
    assert hasty.requests == [b"GET", b"POST", b"POST"]


def session(name: str, seq: int, at: int) -> dict[str, object]:
    return {"session_id": f"d:alice:{name}", "head": {"seq": seq, "at": at}}


@pytest.mark.field_case("21")
async def test_all_sessions_are_there_once_while_the_list_moves() -> None:
    pages = {
        None: {"sessions": [session("a", 9, 90), session("b", 8, 80)], "next": "1"},
        "1": {"sessions": [session("c", 7, 70), session("b", 8, 80)], "next": "2"},
        "2": {"sessions": [], "next": "3"},
        "3": {"sessions": [session("d", 3, 100), session("a", 8, 85), session("c", 8, 95)], "next": None},
    }
    asked: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.params.get("before"))
        return httpx2.Response(200, json=pages[asked[-1]])

    rest = Rest("http://server", Tokens("token"), httpx2.MockTransport(answer))
    found = await rest.all_sessions()
    assert [(one.session_id[-1], one.head.seq) for one in found if one.head] == [("d", 3), ("c", 8), ("a", 9), ("b", 8)]
    assert asked == [None, "1", "2", "3"]


async def test_the_watermarks_of_a_peer_who_blocks_the_user_are_absent() -> None:
    shown = {"d:alice:bob": {}, "d:alice:carol": {"delivered_seq": 2, "read_seq": 0}}
    listed = [
        {"session_id": name, "head": {"seq": 3}, "peer": {"user_id": name[8:], **marks}}
        for name, marks in shown.items()
    ]
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"sessions": listed, "next": None}))
    rest = Rest("http://server", Tokens("token"), transport)
    peers = [one.peer for one in (await rest.sessions()).sessions if one.peer]
    assert [(one.delivered_seq, one.read_seq) for one in peers] == [(None, None), (2, 0)]
    # Zero moves no status: what was shown does not go back.
    told = [marks async for marks in watermarks(rest, set(shown))]
    assert told == [("d:alice:bob", 0, 0), ("d:alice:carol", 2, 0)]
