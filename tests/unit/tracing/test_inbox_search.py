"""The search for a message in an inbox, over small buckets."""

from dataclasses import replace

import pytest

from tests.builders import bucket, inbox_row, write_confirmed
from tidings.store.memory import MemoryStore
from tidings.store.rows import InboxRow
from tidings.tracing.inbox_search import Missing
from tidings.tracing.inbox_search import inbox_row as find

OTHER = "d:bob:carol"


def rows(first: int, last: int, per_bucket: int = 10, every: int = 3) -> list[InboxRow]:
    """Of each `every` deliveries one is of d:alice:bob, and its seq counts these. One is delivered each second."""
    found = []
    for number in range(first, last + 1):
        is_ours = number % every == 0
        session_id, seq = ("d:alice:bob", number // every) if is_ours else (OTHER, number)
        row = inbox_row("bob", number, (number - 1) // per_bucket, session_id=session_id, seq=seq)
        found.append(replace(row, delivery_at=1_000 * number))
    return found


async def inbox(*written: InboxRow, buckets: int = 30) -> MemoryStore:
    store = MemoryStore()
    await write_confirmed(store, [bucket("bob", number, 10 * number + 1) for number in range(buckets)])
    await write_confirmed(store, written)
    return store


@pytest.mark.parametrize("seq", [1, 3, 4, 50, 99, 100])
@pytest.mark.parametrize("early_ms", [0, 50_000, 10**9])
async def test_a_row_is_found_from_any_earlier_time(seq: int, early_ms: int) -> None:
    store = await inbox(*rows(1, 300))
    found = await find(store, "bob", "d:alice:bob", seq, 3_000 * seq - early_ms)
    assert isinstance(found, InboxRow)
    assert (found.session_id, found.seq, found.inbox_seq) == ("d:alice:bob", seq, 3 * seq)


async def in_large_buckets(*written: InboxRow) -> MemoryStore:
    """More rows than a search reads one after the other."""
    store = await inbox(*written, buckets=0)
    await write_confirmed(store, [bucket("bob", number, 1_000 * number + 1) for number in range(3)])
    return store


async def test_a_later_row_of_the_session_ends_the_search() -> None:
    written = rows(1, 3_000, per_bucket=1_000)
    store = await in_large_buckets(*(row for row in written if row.seq != 50 or row.session_id == OTHER))
    assert await find(store, "bob", "d:alice:bob", 50, 0) is Missing.NOT_THERE


async def test_expired_rows_do_not_mislead_the_search() -> None:
    store = await in_large_buckets(*rows(2_900, 3_000, per_bucket=1_000))
    found = await find(store, "bob", "d:alice:bob", 970, 2_910_000)
    assert isinstance(found, InboxRow)
    assert found.inbox_seq == 2_910
    assert await find(store, "bob", "d:alice:bob", 40, 120_000) is Missing.NOT_THERE


async def test_users_without_an_inbox_and_empty_buckets_are_named() -> None:
    store = await inbox(*rows(1, 300))
    assert await find(store, "zoe", "d:alice:zoe", 1, 0) is Missing.NO_INBOX
    assert await find(await inbox(buckets=1), "bob", "d:alice:bob", 1, 0) is Missing.NOT_THERE


async def test_the_number_of_rows_read_is_bounded() -> None:
    store = await in_large_buckets(*rows(1, 3_000, per_bucket=1_000, every=10_000))
    assert await find(store, "bob", "d:alice:bob", 1, 0) is Missing.TOO_FAR
    assert await find(store, "bob", "d:alice:bob", 1, 2_000_000) is Missing.NOT_THERE


async def test_the_number_of_buckets_read_is_bounded() -> None:
    store = await inbox(*rows(1, 1_500), buckets=150)
    assert await find(store, "bob", "d:alice:bob", 30, 90_000) is Missing.TOO_FAR
    found = await find(store, "bob", "d:alice:bob", 400, 1_200_000)
    assert isinstance(found, InboxRow)
