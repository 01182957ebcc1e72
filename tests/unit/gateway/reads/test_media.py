"""The users that may fetch an upload, and those that may refer to it."""

from dataclasses import replace

import pytest

from services.gateway.reads import media
from services.gateway.reads.media import MediaReads
from services.gateway.reads.membership import Memberships
from tests.builders import group, member, session
from tidings.errors import Refused
from tidings.store.base import TaggedRow
from tidings.store.media_rows import MediaRefRow, MediaRow
from tidings.store.memory import MemoryStore
from tidings.store.rows import Row, UserSessionRow

ID = "0" * 32
GROUP = "g:team"


def upload(media_id: str = ID, owner_id: str = "alice", removing_at: int = 0) -> MediaRow:
    return MediaRow(media_id, owner_id, f"1/{media_id}/a", "image/png", "a", 3, b"s" * 32, 6, 4, 2, 1, removing_at)


async def reads(*rows: Row, uploads: tuple[MediaRow, ...] = (upload(),)) -> MediaReads:
    store = MemoryStore()
    for one in uploads:
        await store.add_media(one)
    await store.write([TaggedRow(0, row) for row in rows])
    return MediaReads(store, Memberships(store))


async def may_fetch(there: MediaReads, user_id: str, media_id: str = ID) -> bool:
    """Any refusal but `media_not_found` fails the test."""
    try:
        await there.readable(user_id, media_id)
    except Refused as refused:
        if refused.code != "media_not_found":
            raise
        return False
    return True


@pytest.mark.promise("G10")
@pytest.mark.parametrize(
    ("user_id", "rows", "may"),
    [
        ("alice", [], True),
        ("bob", [], False),
        ("bob", [MediaRefRow(ID, "d:alice:bob", 1)], True),
        ("carol", [MediaRefRow(ID, "d:alice:bob", 1)], False),
        ("bob", [MediaRefRow(ID, GROUP, 7), group(GROUP, 9), member(GROUP, "bob", 2, joined_seq=2)], True),
        ("bob", [MediaRefRow(ID, GROUP, 7), group(GROUP, 9), member(GROUP, "bob", 7, joined_seq=7)], True),
        ("bob", [MediaRefRow(ID, GROUP, 7), group(GROUP, 9), member(GROUP, "bob", 8, joined_seq=8)], False),
        (
            "bob",
            [
                MediaRefRow(ID, GROUP, 7),
                replace(group(GROUP, 9), settings='{"share_history":true}'),
                member(GROUP, "bob", 8, joined_seq=8),
            ],
            True,
        ),
        # Sent again after the joining.
        (
            "bob",
            [
                MediaRefRow(ID, GROUP, 7),
                MediaRefRow(ID, GROUP, 9),
                group(GROUP, 9),
                member(GROUP, "bob", 8, joined_seq=8),
            ],
            True,
        ),
        (
            "bob",
            [MediaRefRow(ID, GROUP, 7), group(GROUP, 9), member(GROUP, "bob", 8, joined_seq=2, left_seq=8)],
            False,
        ),
        ("bob", [MediaRefRow(ID, GROUP, 7), group(GROUP, 9)], False),
        (
            "bob",
            [MediaRefRow(ID, GROUP, 7), group(GROUP, 9, member_count=0), member(GROUP, "bob", 2, joined_seq=2)],
            False,
        ),
    ],
)
async def test_upload_is_fetched_by_members_that_may_read_it(user_id: str, rows: list[Row], may: bool) -> None:
    assert await may_fetch(await reads(*rows), user_id) == may


async def test_upload_in_many_sessions_is_found_by_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "SESSIONS_READ", 3)
    rows = [MediaRefRow(ID, f"g:{number}", 7) for number in range(9)]
    mine: list[Row] = [group("g:8", 9), member("g:8", "bob", 2, joined_seq=2), UserSessionRow("bob", "g:8", 2, 0, 0, 1)]
    there = await reads(*rows, *mine)
    assert await may_fetch(there, "bob")
    assert not await may_fetch(there, "carol")


async def many_sessions(monkeypatch: pytest.MonkeyPatch) -> tuple[MediaReads, MemoryStore]:
    """An upload in 9 groups, and bob in 30, of which only the first has it."""
    monkeypatch.setattr(media, "SESSIONS_READ", 3)
    names = ["g:1", *(f"g:{number}" for number in range(20, 49))]
    rows: list[Row] = [MediaRefRow(ID, f"g:{number}", 7) for number in range(9)]
    for name in names:
        rows += [group(name, 9), member(name, "bob", 2, joined_seq=2), UserSessionRow("bob", name, 2, 0, 0, 1)]
    store = MemoryStore()
    await store.add_media(upload())
    await store.write([TaggedRow(0, row) for row in rows])
    return MediaReads(store, Memberships(store)), store


async def test_search_stops_at_the_first_session_with_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    there, store = await many_sessions(monkeypatch)
    assert await may_fetch(there, "bob")
    assert store.calls["media_refs_in"] == 1
    for _ in range(5):
        assert await may_fetch(there, "bob")
    assert (store.calls["user_sessions"], store.calls["media_refs_in"]) == (1, 6)


@pytest.mark.promise("G10")
async def test_remembered_session_gives_no_right_after_a_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    there, store = await many_sessions(monkeypatch)
    assert await may_fetch(there, "bob")
    await store.write(
        [TaggedRow(0, group("g:1", 10)), TaggedRow(0, member("g:1", "bob", 10, joined_seq=2, left_seq=10))]
    )
    assert not await may_fetch(there, "bob")


async def test_remembered_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "REMEMBERED", 2)
    there, store = await many_sessions(monkeypatch)
    for number in range(1, 4):
        await store.add_media(upload(f"{number}" * 32))
        await store.write([TaggedRow(0, MediaRefRow(f"{number}" * 32, f"g:{one}", 7)) for one in range(9)])
        assert await may_fetch(there, "bob", f"{number}" * 32)
    assert len(there._found_in) == 2


@pytest.mark.parametrize("media_id", ["1" * 32, "", "x" * 32, "0" * 31, "../" * 11])
async def test_missing_and_malformed_ids_are_not_found(media_id: str) -> None:
    assert not await may_fetch(await reads(), "alice", media_id)


@pytest.mark.parametrize(
    ("uploads", "is_owned"),
    [((upload(),), True), ((), False), ((upload(owner_id="bob"),), False), ((upload(removing_at=5),), False)],
)
async def test_own_uploads_may_be_referred_to(uploads: tuple[MediaRow, ...], is_owned: bool) -> None:
    there = await reads(uploads=uploads)
    if is_owned:
        assert set(await there.owned("alice", [ID])) == {ID}
    else:
        with pytest.raises(Refused, match="media_not_found"):
            await there.owned("alice", [ID])


@pytest.mark.parametrize(("purged_seq", "may"), [(6, True), (7, False), (9, False)])
async def test_upload_of_a_purged_message_is_not_fetched(purged_seq: int, may: bool) -> None:
    store = MemoryStore()
    await store.add_media(upload())
    await store.write([TaggedRow(0, row) for row in (MediaRefRow(ID, "d:alice:bob", 7), *session("d:alice:bob", 9))])
    store.purge("d:alice:bob", purged_seq, purged_seq)
    there = MediaReads(store, Memberships(store))
    assert await may_fetch(there, "bob") == may
    assert await may_fetch(there, "alice")
