"""Following `next`: sessions that move between pages are missed by no client, through whichever gateway."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.gateway.reads.session_cursor import (
    NOTHING_SHOWN,
    PARTS,
    Cursor,
    Place,
    Rest,
    added,
    decoded,
    encoded,
    rest_of,
)
from services.gateway.reads.session_order import SessionOrders
from tests.unit.gateway.reads.session_world import READ_GROUP, World, friends, world_with
from tidings.store.rows import MODE_READ, MODE_WRITE

NAMES = st.sampled_from(friends(40))


async def followed(world: World, limit: int, between: list[list[str]]) -> list[str]:
    """All names, page by page; before page i + 2 each of between[i] gets a message."""
    moves = iter(between)
    seen, following = await world.page(limit)
    while following is not None:
        for name in next(moves, []):
            await world.say(name)
        names, following = await world.page(limit, following)
        seen += names
    return seen


@pytest.mark.field_case("21")
async def test_session_that_moves_between_pages_is_listed() -> None:
    world = await world_with(120)
    place_80 = friends(120)[::-1][79]
    seen = await followed(world, 50, [[place_80]])
    assert set(seen) == set(friends(120))
    assert Counter(seen).total() <= 120 + 2 * -(-120 // PARTS) + 2


async def test_list_that_rests_is_shown_once() -> None:
    world = await world_with(120)
    assert await followed(world, 50, []) == friends(120)[::-1]
    await world.say(friends(120)[7])
    assert Counter(await followed(world, 50, [])) == Counter(friends(120))


async def test_move_after_the_last_page_costs_no_other_page() -> None:
    world = await world_with(4)
    _, following = await world.page(2)
    _, following = await world.page(2, following)
    assert following is None


async def test_everything_may_move_before_each_page() -> None:
    world = await world_with(30)
    chance = random.Random(5)
    seen = await followed(world, 7, [chance.sample(friends(30), 30) for _ in range(20)])
    assert set(seen) == set(friends(30))
    assert len(seen) <= 2 * 30


async def _moved(seed: int, limit: int) -> None:
    """Sessions move by the inbox, by read diffusion, by what the user sends; members leave and join between pages.

    Each page comes from one of two gateways, or from one that has just started.
    """
    chance = random.Random(seed)
    world = await world_with(24)
    await world.join(READ_GROUP, mode=MODE_READ)
    await world.join("g:team", "g:crew", mode=MODE_WRITE)
    gateways = [SessionOrders(), SessionOrders()]
    stay = {*friends(24), READ_GROUP, "g:crew"}
    seen: set[str] = set()
    following: str | None = None
    for pages in range(200):
        orders = chance.choice([*gateways, SessionOrders()])
        world.lists = world.lists_of_gateway(orders)
        names, following = await world.page(limit, following)
        seen |= {*names}
        if following is None:
            break
        for name in chance.sample(sorted(stay), chance.randrange(6)):
            late = chance.randrange(3) == 0
            await world.say(name, is_in_inbox=name != READ_GROUP and not late)
            if late:
                chance.choice(gateways).move("bob", {name: world.last_at})
        if pages == 1:
            await world.leave("g:team")
        if pages == 2:
            await world.join("g:team")
    assert following is None, seed
    assert stay <= seen, (seed, stay - seen)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_moves_between_pages_cause_no_missing_session(seed: int, limit: int) -> None:
    asyncio.run(_moved(seed, limit))


@given(st.lists(NAMES, unique=True), st.lists(NAMES, unique=True))
def test_rest_holds_all_that_was_not_shown(shown: list[str], listed: list[str]) -> None:
    rest = rest_of(added(NOTHING_SHOWN, shown), listed)
    missing = set(listed) - set(shown)
    assert all(rest is not None and rest.holds(name) for name in missing)
    if set(shown) == set(listed):
        assert rest is None


SUMS = st.lists(st.integers(0, 2**32 - 1), min_size=PARTS, max_size=PARTS).map(tuple)
PLACES = st.builds(Place, st.integers(-(2**63), 2**63 - 1), NAMES, SUMS)
RESTS = st.builds(Rest, st.frozensets(st.integers(0, PARTS - 1)), NAMES | st.just(""))


@given(PLACES | RESTS)
def test_cursor_is_decoded_as_it_was_encoded(cursor: Cursor) -> None:
    text = encoded(cursor)
    assert decoded(text) == cursor
    assert len(text) <= 560


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")), PLACES.map(encoded), st.integers(0, 400))
def test_forged_cursor_is_no_cursor(text: str, real: str, cut: int) -> None:
    for changed in (text, real[:cut] + text, real + "=", real + " ", text + real):
        if changed != real:
            cursor = decoded(changed)
            assert cursor is None or encoded(cursor) == changed


async def test_page_of_what_moved_is_cut_at_its_limit_as_well() -> None:
    world = await world_with(30)
    following: str | None = None
    sizes = []
    for _ in range(100):
        names, following = await world.page(3, following)
        sizes.append(len(names))
        if following is None:
            break
        for name in friends(30):
            await world.say(name)
    assert max(sizes) == 3
    assert following is None
