"""Calls over connections that a server or proxy closes while they are idle."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.client.gateways import Gateway
from tidings_client import Unreachable, backoff
from tidings_client.group_calls import Placed
from tidings_client.rest import Rest, http_url_of, ws_url_of
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
    gateway = Gateway(
        {"sessions": [session("a", 9, 90), session("b", 8, 80)], "next": "1"},
        {"sessions": [session("c", 7, 70), session("b", 8, 80)], "next": "2"},
        {"sessions": [], "next": "3"},
        {"sessions": [session("d", 3, 100), session("a", 8, 85), session("c", 8, 95)], "next": None},
    )
    found = await gateway.rest.all_sessions()
    assert [(one.session_id[-1], one.head.seq) for one in found if one.head] == [("d", 3), ("c", 8), ("a", 9), ("b", 8)]
    assert gateway.parameters("before") == [None, "1", "2", "3"]


@pytest.mark.parametrize("given_url", ["ws://h:1", "ws://h:1/", "ws://h:1/v1/ws", "http://h:1", "http://h:1/v1/ws"])
def test_any_address_of_the_server_will_do(given_url: str) -> None:
    assert http_url_of(given_url) == "http://h:1"
    assert ws_url_of(given_url) == "ws://h:1/v1/ws"
    assert ws_url_of("https://h/chat") == "wss://h/chat/v1/ws"
