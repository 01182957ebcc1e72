"""Uploads, their references from messages, and the daily usage of a user."""

import asyncio
from dataclasses import replace

import pytest

from tests.builders import write_confirmed
from tidings.store.base import Store
from tidings.store.media_rows import MediaRefRow, MediaRow, MediaUsageRow

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _upload(media_id: str, owner_id: str = "alice") -> MediaRow:
    return MediaRow(
        media_id, owner_id, f"{media_id}/1", "image/png", "a.png", 3, b"s" * 32, 640, 480, 2, 1_764_000_000_000
    )


async def test_uploads_are_stored_and_missing_ones_left_out(store: Store, name: str) -> None:
    row = _upload(name)
    assert await store.add_media(row) == row
    assert await store.media([name, f"{name}-none"]) == {name: row}


async def test_uploads_of_one_id_at_once_keep_one_row(store: Store, name: str) -> None:
    rows = [replace(_upload(name), object_key=f"{name}/{number}") for number in range(8)]
    stored = await asyncio.gather(*map(store.add_media, rows))
    assert set(stored) == set((await store.media([name])).values())


async def test_mark_changes_only_from_the_seen_one(store: Store, name: str) -> None:
    row = _upload(name)
    await store.add_media(row)
    assert not await store.drop_media(name, 5)
    assert await store.media([name]) == {name: row}
    assert await store.mark_media(name, 5, 0)
    assert not await store.mark_media(name, 6, 0)
    assert await store.media([name]) == {name: replace(row, removing_at=5)}
    assert await store.mark_media(name, 0, 5)
    assert await store.mark_media(name, 7, 0)
    assert not await store.drop_media(name, 6)
    assert name in await store.media([name])
    assert await store.drop_media(name, 7)
    assert not await store.media([name])
    assert not await store.drop_media(name, 7)


async def test_mark_of_a_missing_upload_stores_nothing(store: Store, name: str) -> None:
    assert not await store.mark_media(name, 5, 0)
    assert not await store.media([name])


async def test_refs_are_the_newest_of_each_session(store: Store, name: str) -> None:
    sessions = [f"g:{number:03}" for number in range(250)]
    await write_confirmed(store, [MediaRefRow(name, one, seq) for one in sessions for seq in (4, 9)])
    await write_confirmed(store, [MediaRefRow(name, one, 7) for one in sessions])
    await write_confirmed(store, [MediaRefRow(f"{name}-other", "g:300", 11)])
    expected = [MediaRefRow(name, one, 9) for one in sessions]
    assert await store.media_refs(name, 1_000) == expected
    assert await store.media_refs(name, 3) == expected[:3]
    found = await store.media_refs_in(name, [*sessions[7:], "g:300", "g:none"])
    assert sorted(found, key=lambda row: row.session_id) == expected[7:]


async def test_usage_is_summed_per_user_and_day(store: Store, name: str) -> None:
    assert await store.media_usage(name, 20_000) == 0
    rows = [MediaUsageRow(name, 20_000, "a", 2**33), MediaUsageRow(name, 20_000, "b", 5)]
    await write_confirmed(store, [*rows, rows[1], MediaUsageRow(name, 20_001, "c", 7)])
    assert await store.media_usage(name, 20_000) == 2**33 + 5
    assert await store.media_usage(name, 20_001) == 7


async def test_usage_of_one_upload_never_falls(store: Store, name: str) -> None:
    for size in (5, 9, 7):
        await write_confirmed(store, [MediaUsageRow(name, 20_000, "a", size)])
    assert await store.media_usage(name, 20_000) == 9
