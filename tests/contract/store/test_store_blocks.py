"""Block lists: one row a user, replaced under a version."""

import asyncio

import pytest

from tidings.store.base import Store
from tidings.store.rows import COPIED_VERSION, BlockList

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_block_list_is_replaced_as_a_whole(store: Store, name: str) -> None:
    first = BlockList(name).changed({"zoe", "adam", "mia"})
    assert await store.replace_block_list(first, 0)
    assert await store.block_lists([name, "nobody"]) == {name: BlockList(name, ("adam", "mia", "zoe"), 1)}
    second = first.changed({"zoe"})
    assert await store.replace_block_list(second, 1)
    assert await store.block_lists([name]) == {name: BlockList(name, ("zoe",), 2)}


async def test_an_emptied_block_list_stays_as_one_row(store: Store, name: str) -> None:
    await store.replace_block_list(BlockList(name, ("zoe",), 1), 0)
    assert await store.replace_block_list(BlockList(name, (), 2), 1)
    assert await store.block_lists([name]) == {name: BlockList(name, (), 2)}
    assert not await store.replace_block_list(BlockList(name, ("zoe",), 1), 0)


@pytest.mark.parametrize("seen", [0, 2, COPIED_VERSION])
async def test_a_block_list_changed_meanwhile_is_not_replaced(store: Store, name: str, seen: int) -> None:
    stored = BlockList(name, ("zoe",), 1)
    await store.replace_block_list(stored, 0)
    assert not await store.replace_block_list(BlockList(name, ("mia",), seen + 1), seen)
    assert await store.block_lists([name]) == {name: stored}


async def test_a_version_that_was_never_stored_replaces_nothing(store: Store, name: str) -> None:
    assert not await store.replace_block_list(BlockList(name, ("mia",), 4), 3)
    assert await store.block_lists([name]) == {}


async def test_a_copied_block_list_is_changed_like_any_other(store: Store, name: str) -> None:
    assert await store.replace_block_list(BlockList(name, ("zoe",), COPIED_VERSION), 0)
    copied = (await store.block_lists([name]))[name]
    assert await store.replace_block_list(copied.changed({"mia", "zoe"}), COPIED_VERSION)
    assert await store.block_lists([name]) == {name: BlockList(name, ("mia", "zoe"), 1)}


async def test_one_of_concurrent_changes_takes_effect(store: Store, name: str) -> None:
    changes = [BlockList(name, (f"u{number}",), 1) for number in range(8)]
    applied = await asyncio.gather(*(store.replace_block_list(change, 0) for change in changes))
    assert applied.count(True) == 1
    assert await store.block_lists([name]) == {name: changes[applied.index(True)]}


async def test_the_longest_lists_of_many_users_are_read_at_once(store: Store, name: str) -> None:
    ids = tuple(sorted(f"{number:064d}" for number in range(1_000)))
    lists = {f"{name}-{number}": BlockList(f"{name}-{number}", ids, 1) for number in range(101)}
    assert all(await asyncio.gather(*(store.replace_block_list(one, 0) for one in lists.values())))
    assert await store.block_lists(lists) == lists
