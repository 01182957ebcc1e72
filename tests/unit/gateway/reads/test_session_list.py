"""The list of sessions: what a call reads, what moves, and that nothing that is kept shows in what is answered."""

import asyncio
import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.reads.build import build_reads
from services.gateway.reads.session_list import MAX_ROWS_BEHIND
from services.gateway.reads.session_order import SessionOrders
from tests.builders import inbox_row, write_confirmed
from tests.unit.gateway.reads.session_world import READ_GROUP, World, at_once, friends, world_with
from tests.waiting import until
from tidings import metrics
from tidings.errors import Refused, StoreUnavailable
from tidings.store.rows import MODE_READ, MODE_WRITE, SessionModeRow, UserSessionRow


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


async def test_expected_heads_are_read_together_with_the_sessions() -> None:
    world = await world_with(10)
    await world.page()
    world.store.heads_read.clear()

    async def until_heads_are_read() -> None:
        await until(lambda: world.store.heads_read)

    world.store.delay_sessions = until_heads_are_read
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
        await until(lambda: "g:team" in world.store.heads_read)
        if not joined:
            joined.append(world.seqs["g:team"] + 1)
            await world.join("g:team")

    joined: list[int] = []
    world.store.heads_read.clear()
    world.store.delay_sessions = join_behind_the_heads
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

    sessions = build_reads(world.store, world.clock).sessions
    world.store.delay = join_behind_the_head
    shown = orjson.loads(await sessions.session("bob", "g:team"))
    # The earlier head is read again: the joining is the first message that the member may see.
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
        await write_confirmed(world.store, [inbox_row("bob", world.inbox_tail, session_id=friends(3)[0])])
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


# -- in any turns ----------------------------------------------------------------------------------


async def _alternately(seed: int) -> None:
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
    asyncio.run(_alternately(seed))
