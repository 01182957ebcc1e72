"""A device with the SDK's client behind a balancer: what it hands to its application, and what becomes of sends."""

import asyncio
import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from unittest import mock

import httpx2
import jwt

from deploy.local.stack import Stack
from tests.waiting import until
from tidings_client import (
    Client,
    Complaint,
    CursorStore,
    Event,
    Link,
    MemoryCursorStore,
    Message,
    Status,
    StatusChanged,
)
from tidings_client import client as sdk
from tidings_client.core import Core
from tidings_client.effects import Effect
from tidings_client.frames import Push, ServerFrame
from tidings_client.rest import Rest
from tidings_client.server_time import ServerTime
from tidings_client.tokens import Tokens

_CHUNK_BYTES = 65_536


class Phone:
    """One device of one user; `run` keeps it connected until it is cancelled."""

    def __init__(
        self,
        stack: Stack,
        user_id: str,
        device_id: str = "phone",
        *,
        ordinal: int = 0,
        cursors: CursorStore | None = None,
    ) -> None:
        """The first connection goes to the gateway `ordinal`, each later one to the next gateway."""
        self.user_id, self.device_id = user_id, device_id
        self.messages: list[Message] = []
        self.events: list[Event] = []
        # The seqs in the order in which the application was handed them, and those that were pushed.
        self.shown: dict[str, list[int]] = defaultdict(list)
        self.pushed: dict[str, set[int]] = defaultdict(set)
        self.failed: list[str] = []
        self.complaints: list[str] = []
        self.on_acked: Callable[[str, int], None] = lambda client_msg_id, seq: None
        self.on_message: Callable[[Message], None] = lambda message: None
        self.client: Client
        self._stack = stack
        self._cursors = cursors or MemoryCursorStore()
        self._turns = itertools.cycle([*range(ordinal, stack.counts.gateways), *range(ordinal)])

    @property
    def is_ready(self) -> bool:
        """Whether it is signed in."""
        return hasattr(self, "client") and self.client.link is Link.READY

    @property
    def cursor(self) -> int:
        """The place in the inbox that the application has handled everything up to."""
        assert isinstance(self._cursors, MemoryCursorStore)
        return self._cursors.cursor.inbox_seq if self._cursors.cursor else 0

    def statuses(self, client_msg_id: str) -> list[str]:
        """What an own message has become, one after the other."""
        changes = [event for event in self.events if isinstance(event, StatusChanged)]
        return [change.status for change in changes if change.client_msg_id == client_msg_id]

    async def run(self) -> None:
        """Connected, again and again."""
        key = self._stack.token_key_file.read_text().strip()
        claims = {"sub": self.user_id, "aud": "tidings", "iat": int(time.time()), "exp": int(time.time()) + 3_600}
        token = jwt.encode(claims, key, algorithm="HS256")
        async with self._balanced() as url:
            with mock.patch.multiple(sdk, Rest=_rest, Core=_Core):
                self.client = Client(url, token, device_id=self.device_id, cursors=self._cursors)
            assert isinstance(self.client._core, _Core)
            self.client._core.pushed = self.pushed
            async with self.client, asyncio.TaskGroup() as tasks:
                tasks.create_task(self._note_messages())
                tasks.create_task(self._note_events())

    async def _note_messages(self) -> None:
        async for message in self.client.messages(settle=False):
            self.messages.append(message)
            self.shown[message.session_id].append(message.seq)
            self.on_message(message)
            self.client.settle(message)

    async def _note_events(self) -> None:
        async for event in self.client.events():
            self.events.append(event)
            match event:
                case StatusChanged(client_msg_id=name, status=Status.SENT, seq=int(seq)):
                    self.on_acked(name, seq)
                case StatusChanged(client_msg_id=name, status=Status.FAILED, code=code, reason=reason):
                    self.failed.append(f"{name}: {code} {reason}")
                case Complaint(code=code):
                    self.complaints.append(code)

    @contextlib.asynccontextmanager
    async def _balanced(self) -> AsyncIterator[str]:
        """The URL of a balancer, which hands each new connection to the next gateway that takes it."""
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for ordinal in itertools.islice(self._turns, self._stack.counts.gateways):
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection("127.0.0.1", self._stack.ports.gateway + ordinal)
                await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
                return
        writer.close()


class _Core(Core):
    """Notes what is pushed."""

    pushed: dict[str, set[int]]

    def received(self, now_ms: int, frame: ServerFrame) -> list[Effect]:
        if isinstance(frame, Push):
            self.pushed[frame.message.session_id].add(frame.message.seq)
        return super().received(now_ms, frame)


def _rest(url: str, tokens: Tokens, *, server_time: ServerTime) -> Rest:
    """Loads no certificates, which would take 40 ms for each of many phones."""
    return Rest(url, tokens, httpx2.AsyncHTTPTransport(verify=False), server_time=server_time)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def connected(phones: Sequence[Phone]) -> AsyncIterator[None]:
    """They are connected while the block runs. Raises the error of a phone that stops."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(phone.run()) for phone in phones]
        try:
            await until(lambda: all(phone.is_ready for phone in phones), "every phone is connected")
            yield
        finally:
            for task in running:
                task.cancel()
