"""The list of sessions: what a call reads, what moves, and that nothing that is kept shows in what is answered."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.identity import Identity
from services.gateway.push.router import PushRouter
from services.gateway.reads.inbox import InboxReads
from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.session_list import MAX_ROWS_BEHIND, SessionLists
from services.gateway.reads.session_order import SessionOrders
from services.gateway.reads.sessions import SessionReads
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.pending_calls import PendingCalls
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from tests.contract.store.making import bucket, group, inbox_row, member, message, segment, write_confirmed
from tidings import metrics, topics
from tidings.broker.memory import MemoryBroker
from tidings.errors import Refused, StoreUnavailable
from tidings.store.base import SessionSegment, UserBucket
from tidings.store.memory import MemoryStore
from tidings.store.rows import (
    MODE_READ,
    MODE_WRITE,
    BucketRow,
    InboxRow,
    MessageRow,
    Row,
    SessionLeftRow,
    SessionModeRow,
    UserSessionRow,
)
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Origin, Stamps
from tidings.wire.push_pb2 import Push, SendAck

SIZES = TopicSizes(1, 1, 1)
READ_GROUP = "g:0123456789abcdef0123456789abcdef"


@dataclass
class FakeClock:
    now_ms: int = 1_000

    def wall_ms(self) -> int:
        return self.now_ms

    def monotonic_ms(self) -> int:
        return self.now_ms


async def at_once() -> None:
    """No delay beyond that of the memory store."""


class WatchedStore(MemoryStore):
    """Notes of which sessions heads were read; `delay` stands before and behind what a list reads.

    `delay_sessions` stands before the sessions of the user alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heads_read: list[str] = []
        self.delay: Callable[[], Awaitable[None]] = at_once
        self.delay_sessions: Callable[[], Awaitable[None]] = at_once

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        await self.delay_sessions()
        await self.delay()
        found = await super().user_sessions(user_id)
        await self.delay()
        return found

    async def newest_inbox_rows(
        self, buckets: Collection[UserBucket], limit: int
    ) -> Mapping[UserBucket, Sequence[InboxRow]]:
        await self.delay()
        found = await super().newest_inbox_rows(buckets, limit)
        await self.delay()
        return found

    async def inbox_buckets(self, user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        await self.delay()
        found = await super().inbox_buckets(user_ids, limit)
        await self.delay()
        return found

    async def inbox_rows(self, bucket: UserBucket, first: int, last: int) -> Sequence[InboxRow]:
        await self.delay()
        found = await super().inbox_rows(bucket, first, last)
        await self.delay()
        return found

    async def newest_messages(
        self, segments: Collection[SessionSegment], limit: int
    ) -> Mapping[SessionSegment, Sequence[MessageRow]]:
        self.heads_read += [name for name, _ in segments]
        await self.delay()
        found = await super().newest_messages(segments, limit)
        await self.delay()
        return found


@dataclass
class World:
    """What fanout and persister have written of bob."""

    store: WatchedStore = field(default_factory=WatchedStore)
    orders: SessionOrders = field(default_factory=SessionOrders)
    clock: FakeClock = field(default_factory=FakeClock)
    seqs: dict[str, int] = field(default_factory=dict)
    last_at: int = 100
    inbox_tail: int = 0
    bucket: int = -1

    def __post_init__(self) -> None:
        self.lists = self.anew(self.orders)

    def anew(self, orders: SessionOrders) -> SessionLists:
        """The lists of a gateway."""
        messages, memberships = MessageReads(self.store, self.clock, 0), Memberships(self.store)
        sessions = SessionReads(self.store, messages, memberships)
        return SessionLists(self.store, InboxReads(self.store, messages, 8), sessions, orders, self.clock)

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
        row = inbox_row("bob", self.inbox_tail)
        row = replace(row, bucket=self.bucket, session_id=name, seq=head.seq, at=head.at)
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
        """All names, from a gateway that knows of no order."""
        answer = orjson.loads(await self.anew(SessionOrders()).page("bob", 50, None))
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


def outcomes() -> dict[str, float]:
    return {name: metrics.SESSION_LISTS.labels(name)._value.get() for name in ("kept", "read")}


async def test_first_call_reads_all_heads_and_later_calls_their_page() -> None:
    world = await world_with(30)
    before = outcomes()
    newest_first = friends(30)[::-1]
    assert await world.page(5) == (newest_first[:5], (await world.page(5))[1])
    assert await world.heads_of(lambda: world.page(5)) == sorted(newest_first[:5])
    world.store.calls.clear()
    await world.page(5)
    assert world.store.calls == {
        "user_sessions": 1,
        "inbox_buckets": 1,
        "inbox_rows": 1,
        "segments": 1,
        "newest_messages": 1,
        "receipts": 1,
    }
    assert {name: count - before[name] for name, count in outcomes().items()} == {"kept": 3, "read": 1}


async def test_new_message_moves_its_session_without_a_further_read() -> None:
    world = await world_with(10)
    await world.page()
    await world.say(friends(10)[4])
    world.store.calls.clear()
    names, _ = await world.page(3)
    assert names == [friends(10)[4], friends(10)[9], friends(10)[8]]
    assert (world.store.calls["inbox_rows"], world.store.calls["inbox_buckets"]) == (1, 1)
    assert len(world.store.heads_read) == 13


async def test_expected_heads_are_read_beside_the_sessions() -> None:
    world = await world_with(10)
    await world.page()
    world.store.heads_read.clear()

    async def until_heads_are_read() -> None:
        while not world.store.heads_read:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)

    world.store.delay_sessions = until_heads_are_read
    async with asyncio.timeout(10):
        assert (await world.page(3))[0] == friends(10)[:-4:-1]
    assert len(world.store.heads_read) == 3


async def test_left_session_makes_room_on_its_page() -> None:
    world = await world_with(6)
    await world.join("g:team")
    await world.names()
    await world.leave("g:team")
    assert (await world.page(2))[0] == friends(6)[:-3:-1]
    assert await world.pages(2) == friends(6)[::-1]


async def test_added_again_member_sees_nothing_of_the_absence() -> None:
    world = await world_with(2)
    await world.join("g:team")
    await world.names()
    await world.leave("g:team")
    await world.store_message("g:team")

    async def join_behind_the_heads() -> None:
        while "g:team" not in world.store.heads_read:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
        if not joined:
            joined.append(world.seqs["g:team"] + 1)
            await world.join("g:team")

    joined: list[int] = []
    world.store.heads_read.clear()
    world.store.delay_sessions = join_behind_the_heads
    async with asyncio.timeout(10):
        answer = orjson.loads(await world.lists.page("bob", 50, None))
    assert joined
    assert [one["session_id"] for one in answer["sessions"]] == friends(2)[::-1]
    world.store.delay_sessions = at_once
    assert await world.names() == ["g:team", *friends(2)[::-1]]


async def test_single_session_hides_messages_of_an_absence() -> None:
    world = await world_with(0)
    await world.join("g:team")
    await world.leave("g:team")
    await world.store_message("g:team")
    turns = 0

    async def join_behind_the_head() -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            await world.join("g:team")

    sessions = SessionReads(world.store, MessageReads(world.store, world.clock, 0), Memberships(world.store))
    world.store.delay = join_behind_the_head
    shown = orjson.loads(await sessions.session("bob", "g:team"))
    # The head of before is read again: the joining is the first message that the member may see.
    assert shown["head"]["seq"] == shown["joined_seq"] == world.seqs["g:team"]
    assert turns > 2


async def test_the_inbox_is_followed_into_its_next_bucket() -> None:
    world = await world_with(5)
    await world.page()
    await world.say(friends(5)[1])
    await world.open_bucket()
    await world.say(friends(5)[0])
    before = outcomes()
    assert (await world.page(2))[0] == friends(5)[:2]
    await world.say(friends(5)[2])
    assert (await world.page(2))[0] == [friends(5)[2], friends(5)[0]]
    assert {name: count - before[name] for name, count in outcomes().items()} == {"kept": 2, "read": 0}


@pytest.mark.promise("G9")
async def test_shown_heads_are_fresh_before_the_inbox_row() -> None:
    world = await world_with(3)
    await world.page()
    await world.say(friends(3)[0], is_in_inbox=False)
    (shown, *_) = orjson.loads(await world.lists.page("bob", 50, None))["sessions"]
    assert (shown["session_id"], shown["head"]["seq"], shown["unread"]) == (friends(3)[0], 2, 2)
    assert (await world.page(1))[0] == [friends(3)[0]]


async def test_sent_message_is_on_top_before_its_inbox_row() -> None:
    world = await world_with(10)
    await world.page()
    at = await world.store_message(friends(10)[0])
    assert (await world.page(1))[0] == [friends(10)[9]]
    world.orders.move("bob", {friends(10)[0]: at})
    assert (await world.page(1))[0] == [friends(10)[0]]


async def test_a_group_in_read_diffusion_moves_without_an_inbox() -> None:
    world = await world_with(5)
    await world.join(READ_GROUP, mode=MODE_READ)
    await world.say(friends(5)[0])
    assert (await world.page(1))[0] == [friends(5)[0]]
    await world.say(READ_GROUP, is_in_inbox=False)
    assert (await world.page(1))[0] == [READ_GROUP]
    await write_confirmed(world.store, [SessionModeRow("bob", READ_GROUP, MODE_WRITE, world.seqs[READ_GROUP] + 1)])
    await world.say(READ_GROUP)
    await world.page(1)
    names, following = await world.page(1)
    assert names == [READ_GROUP]
    assert await world.heads_of(lambda: world.page(1, following)) == [friends(5)[0]]


async def test_new_session_gets_a_head_and_a_left_session_is_gone() -> None:
    world = await world_with(3)
    await world.join("g:team")
    await world.names()
    await world.leave("g:team")
    assert (await world.page(1))[0] == [friends(3)[2]]
    await world.join("g:crew")
    assert await world.names() == ["g:crew", *friends(3)[::-1]]
    await world.join("g:team")
    assert (await world.page(2))[0] == ["g:team", "g:crew"]
    assert await world.heads_of(lambda: world.page(1)) == ["g:team"]


async def test_pages_hold_each_unmoved_session_once_while_others_move() -> None:
    world = await world_with(20)
    moving = {friends(20)[number] for number in (3, 9, 15)}
    seen: list[str] = []
    names, following = await world.page(4)
    seen += names
    for name in sorted(moving):
        assert following is not None
        await world.say(name)
        names, following = await world.page(4, following)
        seen += names
    while following is not None:
        names, following = await world.page(4, following)
        seen += names
    still = [name for name in friends(20)[::-1] if name not in moving]
    assert [name for name in seen if name not in moving] == still


async def test_page_ends_by_the_order_not_by_its_heads() -> None:
    world = await world_with(6)
    await world.page()
    newest_first = friends(6)[::-1]
    await world.say(newest_first[2], is_in_inbox=False)
    names, following = await world.page(3)
    assert names == [newest_first[2], newest_first[0], newest_first[1]]
    assert (await world.page(3, following))[0] == newest_first[3:]


async def test_sessions_of_equal_time_are_paged_by_name() -> None:
    world = World()
    for name in friends(6):
        world.last_at = 100
        await world.join(name)
    await world.names()
    assert await world.pages(2) == friends(6)[::-1]


async def test_forged_cursor_is_refused() -> None:
    with pytest.raises(Refused, match="unchanged"):
        await (await world_with(1)).page(5, "??")


async def test_user_without_sessions_has_an_empty_list() -> None:
    world = World()
    for _ in range(2):
        assert await world.page() == ([], None)


async def test_missing_inbox_rows_cause_a_read_of_all_heads() -> None:
    world = await world_with(4)
    await world.page()
    world.inbox_tail += 1  # it is in the inbox, and can be read no more
    await world.store_message(friends(4)[1])
    await world.say(friends(4)[0])
    assert (await world.page(2))[0] == [friends(4)[0], friends(4)[1]]
    assert await world.heads_of(lambda: world.page(1)) == [friends(4)[0]]


async def test_absence_of_more_than_a_page_causes_a_read_of_all_heads() -> None:
    world = await world_with(3)
    await world.page()
    for _ in range(MAX_ROWS_BEHIND + 1):
        world.inbox_tail += 1
        await write_confirmed(world.store, [replace(inbox_row("bob", world.inbox_tail), session_id=friends(3)[0])])
    assert await world.heads_of(lambda: world.page(1)) == friends(3)
    assert await world.heads_of(lambda: world.page(1)) == [friends(3)[2]]


async def test_a_session_whose_head_cannot_be_read_is_left_out_alone() -> None:
    world = await world_with(3)
    await write_confirmed(world.store, [UserSessionRow("bob", "d:bob:lost", 1, 0, 0, MODE_WRITE)])
    for _ in range(2):
        assert await world.names() == friends(3)[::-1]


async def test_message_during_the_read_of_all_heads_moves_its_session() -> None:
    world = await world_with(3)
    turns = 0

    async def say_behind_the_heads() -> None:
        nonlocal turns
        turns += bool(world.store.heads_read)
        if turns == 2:
            await world.say(friends(3)[0])

    world.store.delay = say_behind_the_heads
    assert (await world.page(1))[0] == [friends(3)[2]]
    assert (await world.page(1))[0] == [friends(3)[0]]


async def test_failed_reads_keep_the_order() -> None:
    world = await world_with(3)
    await world.page()
    await world.say(friends(3)[0])
    world.store.faults.script_failed_reads(1)
    with pytest.raises(StoreUnavailable):
        await world.page()
    assert (await world.page(1))[0] == friends(3)[:1]


# -- by way of the router --------------------------------------------------------------------------


async def nowhere(_event: MutableMapping[str, Any]) -> None:
    """What is sent to a connection."""


async def test_ack_moves_the_session_of_a_socket_or_rest_sender() -> None:
    world = await world_with(9)
    await world.names()
    broker = MemoryBroker()
    await broker.admin().create_topics(topics.declared(SIZES), 1)
    publisher = Publisher(broker.producer("g"), GatewayIdentity(0, 7), SIZES, Stamps(rules=1))
    rules = ConnectionRules(lambda _token, _wall_ms: Identity("bob", 10**12))
    registry, waiting = ConnectionRegistry(rules, publisher, world.clock, "0-7"), PendingCalls(1)
    memberships = Memberships(world.store)
    sessions = SessionReads(world.store, MessageReads(world.store, world.clock, 0), memberships)
    lives = LiveAnswers(registry, world.store, memberships, sessions, world.clock)
    router = PushRouter(registry, waiting, AckLatency(), lives, world.orders, 7, world.clock)
    link = registry.open(nowhere)
    link.connection.received('{"type":"hello","token":"t","device_id":"d"}', 0, 10**12)
    registry.sign_in(link)
    for name, origin in ((friends(9)[2], link.connection.connection_id), (friends(9)[1], waiting.open("bob").name)):
        at_ms = await world.store_message(name)
        ack = SendAck(origin=Origin(connection_id=origin), client_msg_id="m", session_id=name, seq=2, at_ms=at_ms)
        router.take(Push(gateway_epoch=7, send_ack=ack).SerializeToString())
        assert (await world.page(1))[0] == [name]
    registry.close(link)
    await publisher.flush(1)


# -- in any turns ----------------------------------------------------------------------------------


async def _in_turns(seed: int) -> None:
    """Calls of one user and everything that moves a list, all at once; whenever they rest, the list is right."""
    chance = random.Random(seed)
    world = World(orders=SessionOrders(max_sessions=9))
    names = [*friends(4), READ_GROUP, "g:team"]
    for name in names:
        await world.join(name, mode=MODE_READ if name == READ_GROUP else MODE_WRITE)

    async def some_time() -> None:
        for _ in range(chance.choice((0, 0, 1, 2, 4, 8, 16))):
            await asyncio.sleep(0)

    async def move() -> None:
        for name in chance.choices(names, k=5):
            await some_time()
            await world.say(name, is_in_inbox=name != READ_GROUP)
            if chance.randrange(3) == 0:
                await world.open_bucket()
        await world.leave("g:team")
        await some_time()
        await world.join("g:team")

    async def ask() -> None:
        for _ in range(chance.randrange(4)):
            await some_time()
            await world.page(1)
            if chance.randrange(20) == 0:
                world.orders.keep("carol", 1, dict.fromkeys(friends(6), 1), 0)

    for _ in range(4):
        world.store.delay = some_time
        await asyncio.gather(move(), *(ask() for _ in range(3)))
        world.store.delay = at_once
        assert await world.pages() == await world.what_the_heads_say()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_session_list_matches_heads_under_any_interleaving(seed: int) -> None:
    asyncio.run(_in_turns(seed))
