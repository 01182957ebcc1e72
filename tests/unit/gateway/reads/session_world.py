"""A user's sessions as persister and fanout write them, and the list that the gateway makes of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from services.gateway.reads.build import build_reads
from services.gateway.reads.session_list import SessionLists
from services.gateway.reads.session_order import SessionOrders
from tests.builders import bucket, group, inbox_row, member, message, segment, write_confirmed
from tests.fakes.clock import FakeClock
from tests.faults.store import FaultyStore
from tidings.store.rows import MODE_WRITE, MessageRow, Row, SessionLeftRow, UserSessionRow

READ_GROUP = "g:0123456789abcdef0123456789abcdef"


async def at_once() -> None:
    """No delay beyond that of the memory store."""


class WatchedStore(FaultyStore):
    """Notes of which sessions heads were read; `delay` stands before and behind what a list reads.

    `delay_sessions` stands before the sessions of the user alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heads_read: list[str] = []
        self.delay: Callable[[], Awaitable[None]] = at_once
        self.delay_sessions: Callable[[], Awaitable[None]] = at_once
        for call in ("user_sessions", "newest_inbox_rows", "inbox_buckets", "inbox_rows", "newest_messages"):
            setattr(self, call, self._delayed(call, getattr(self, call)))

    def _delayed(self, call: str, read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def delayed(*asked: Any) -> Any:
            if call == "user_sessions":
                await self.delay_sessions()
            if call == "newest_messages":
                self.heads_read += [name for name, _ in asked[0]]
            await self.delay()
            found = await read(*asked)
            await self.delay()
            return found

        return delayed


@dataclass
class World:
    """What fanout and persister have written of bob."""

    store: WatchedStore = field(default_factory=WatchedStore)
    orders: SessionOrders = field(default_factory=SessionOrders)
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_000))
    seqs: dict[str, int] = field(default_factory=dict)
    last_at: int = 100
    inbox_tail: int = 0
    bucket: int = -1

    def __post_init__(self) -> None:
        self.lists = self.lists_of_gateway(self.orders)

    def lists_of_gateway(self, orders: SessionOrders) -> SessionLists:
        """The lists of a gateway."""
        reads = build_reads(self.store, self.clock)
        return SessionLists(self.store, reads.inbox, reads.sessions, orders, self.clock)

    async def join(self, *names: str, mode: int = MODE_WRITE) -> None:
        """Bob is in these sessions from their next message on."""
        for name in names:
            seq = self.seqs.get(name, 0) + 1
            if name.startswith("g:"):
                await write_confirmed(self.store, [group(name, seq), member(name, "bob", seq, seq)])
            await self.say(name)
            await write_confirmed(self.store, [UserSessionRow("bob", name, seq, seq - 1, 0, mode)])

    async def leave(self, name: str) -> None:
        """The last message of this session for bob."""
        seq = self.seqs[name] + 1
        await write_confirmed(self.store, [member(name, "bob", seq, 1, seq)])
        await self.say(name)
        await write_confirmed(self.store, [SessionLeftRow("bob", name, seq)])

    async def say(self, name: str, *, is_in_inbox: bool = True) -> None:
        """The next message of a session; fanout has come to it, or not yet, or it goes by read diffusion."""
        await self.store_message(name)
        if is_in_inbox:
            await self.deliver(name)

    async def store_message(self, name: str) -> int:
        """What the persister does; the `at`."""
        seq = self.seqs[name] = self.seqs.get(name, 0) + 1
        self.last_at += 1
        rows: list[Row] = [segment(name, 1, 1)] if seq == 1 else []
        await write_confirmed(self.store, [*rows, replace(message(name, seq), at=self.last_at)])
        return self.last_at

    async def open_bucket(self) -> None:
        """What fanout does before the first row and where a bucket is full."""
        self.bucket += 1
        await write_confirmed(self.store, [bucket("bob", self.bucket, self.inbox_tail + 1)])

    async def deliver(self, name: str) -> None:
        """What fanout does for the newest message of a session."""
        if self.bucket < 0:
            await self.open_bucket()
        self.inbox_tail += 1
        head = next(one for one in self.store.rows("messages")[::-1] if _is(one, name, self.seqs[name]))
        assert isinstance(head, MessageRow)
        row = inbox_row("bob", self.inbox_tail, self.bucket, session_id=name, seq=head.seq, at=head.at)
        await write_confirmed(self.store, [row])

    async def page(self, limit: int = 50, before: str | None = None) -> tuple[list[str], str | None]:
        """The names on a page, and `next`."""
        answer = orjson.loads(await self.lists.page("bob", limit, before))
        return [one["session_id"] for one in answer["sessions"]], answer.get("next")

    async def names(self) -> list[str]:
        """All names, on one page."""
        return (await self.page())[0]

    async def pages(self, limit: int = 1) -> list[str]:
        """All names, page by page: only on pages that are small the kept order shows."""
        seen: list[str] = []
        following: str | None = ""
        while following is not None:
            names, following = await self.page(limit, following or None)
            seen += names
        return seen

    async def what_the_heads_say(self) -> list[str]:
        """All names, from a gateway without a cached order."""
        answer = orjson.loads(await self.lists_of_gateway(SessionOrders()).page("bob", 50, None))
        return [one["session_id"] for one in answer["sessions"]]

    async def heads_of(self, what: Callable[[], Awaitable[Any]]) -> list[str]:
        """Of which sessions a call reads the heads."""
        self.store.heads_read.clear()
        await what()
        return sorted(self.store.heads_read)


def _is(one: object, name: str, seq: int) -> bool:
    return isinstance(one, MessageRow) and (one.session_id, one.seq) == (name, seq)


def friends(count: int) -> list[str]:
    return [f"d:bob:user{number:03d}" for number in range(count)]


async def world_with(count: int) -> World:
    world = World()
    await world.join(*friends(count))
    return world
