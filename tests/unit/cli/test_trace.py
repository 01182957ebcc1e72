"""`tidings trace`: what it prints, and its exit codes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from cli import trace
from tests.builders import session, write_confirmed
from tests.unit.cli.shell import Shell
from tidings.broker.memory import MemoryBroker
from tidings.runtime.initialise import initialise
from tidings.store.memory import MemoryStore
from tidings.topics import TopicSizes
from tidings.tracing.log_view import log_view
from tidings.tracing.tracer import Tracer

SIZES = TopicSizes(2, 2, 2)
NO_SERVER = "1"  # no server of a test has this port, and a connection is refused


@pytest.fixture
def _servers(monkeypatch: pytest.MonkeyPatch) -> None:
    store, broker = MemoryStore(), MemoryBroker()
    asyncio.run(write_confirmed(store, session("d:alice:bob", 3)))

    @contextlib.asynccontextmanager
    async def tracing() -> AsyncIterator[Tracer]:
        await initialise(broker.admin(), SIZES, 1)
        async with log_view(broker, 0, SIZES) as log:
            yield Tracer(store, log)

    monkeypatch.setattr(trace, "tracing", tracing)


@pytest.mark.usefixtures("_servers")
def test_a_stored_message_is_printed_with_sources(shell: Shell) -> None:
    ended = shell.run("trace", "--session", "d:alice:bob", "--seq", "2")
    assert ended.code == 0, ended
    lines = ended.out.splitlines()
    assert any(line.startswith("stored ") and line.endswith("messages segment 1: hot  [tables]") for line in lines)
    assert any(line.startswith("pushed ") and line.endswith("[unknown]") for line in lines)
    assert any(
        "client_msg_id m-2 of alice: no row, because keys expire  [tables, kept 100 days]" in line for line in lines
    )


@pytest.mark.usefixtures("_servers")
@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (["5"], "the partition ends at offset 0"),
        (["--session", "d:alice:bob", "--seq", "9"], "ends at seq 3"),
        (["--sender", "alice", "--client-msg-id", "x"], "no message with this client_msg_id"),
    ],
)
def test_messages_that_are_not_there_end_with_1(shell: Shell, asked: list[str], text: str) -> None:
    ended = shell.run("trace", *asked)
    assert (ended.code, ended.err) == (1, "")
    assert text in ended.out


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ([], "name one message"),
        (["x"], "message_id is not a whole number"),
        ([str(2**63)], "message_id is not a whole number"),
        (["--session", "d:bob:alice", "--seq", "1"], "session is not"),
        (["--session", "d:alice:bob"], "name one message"),
        (["--sender", "alice"], "give sender and client_msg_id together"),
        (["5", "--seq", "1"], "stands alone"),
        (["5", "--recipient", "a b"], "user"),
    ],
)
def test_malformed_questions_end_with_2(shell: Shell, asked: list[str], problem: str) -> None:
    ended = shell.run("trace", *asked)
    assert (ended.code, ended.out) == (2, "")
    assert problem in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err


def test_without_cassandra_it_gives_up_in_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "WITHIN_S", 1.0)
    monkeypatch.setenv("TIDINGS_CASSANDRA_PORT", NO_SERVER)
    monkeypatch.setenv("TIDINGS_KAFKA_BOOTSTRAP", f"127.0.0.1:{NO_SERVER}")
    ended = shell.run("trace", "--session", "d:alice:bob", "--seq", "1")
    assert (ended.code, ended.out) == (1, "")
    assert "error: Cassandra (TIDINGS_CASSANDRA_HOSTS, _PORT) did not serve us within 1 s" in " ".join(
        ended.err.split()
    )
