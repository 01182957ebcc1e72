"""Findings in inboxes."""

from tests.unit.audit.tables import SESSION, Tables, days_ago
from tests.unit.cold.world import NOW_MS
from tidings.ids import DAY_MS
from tidings.store.rows import BucketRow, MessageRow


def messages(tables: Tables) -> list[MessageRow]:
    return tables.world.written[SESSION]


async def test_inboxes_of_many_buckets_have_no_finding(tables: Tables) -> None:
    await tables.session((1, 90))
    await tables.session((1, 5), session_id="d:bob:carol")
    assert (await tables.audit()).said == []


async def test_a_lost_row_is_missing(tables: Tables) -> None:
    await tables.session((1, 9))
    tables.drop("inbox", ("bob", 0), 2)
    assert (await tables.audit()).texts == ["missing: inbox bob: inbox_seq 2 is lost"]


async def test_a_lost_end_of_a_bucket_is_missing(tables: Tables) -> None:
    await tables.session((1, 9))
    tables.drop("inbox", ("bob", 1), 8)
    tables.drop("inbox", ("bob", 1), 7)
    assert (await tables.audit()).texts == ["missing: inbox bob: inbox_seqs 7 to 8 are lost"]


async def test_a_lost_end_is_missing_also_before_an_empty_bucket(tables: Tables) -> None:
    await tables.session((1, 4))
    await tables.write(BucketRow("bob", 1, 5, 0, 5))
    assert (await tables.audit()).said == []
    tables.drop("inbox", ("bob", 0), 4)
    assert (await tables.audit()).texts == ["missing: inbox bob: inbox_seq 4 is lost"]


async def test_a_lost_bucket_is_missing(tables: Tables) -> None:
    await tables.session((1, 12))
    tables.store.drop_partition("inbox", ("bob", 1))
    assert (await tables.audit()).texts == ["missing: inbox bob: inbox_seqs 5 to 8 are lost"]


async def test_a_message_twice_is_doubled(tables: Tables) -> None:
    await tables.session((1, 3))
    await tables.write(*tables.inbox_rows("bob", 4, messages(tables)[1]))
    assert (await tables.audit()).texts == [
        f"doubled: inbox bob: inbox_seq 4 has {SESSION} seq 2, which an earlier row has too"
    ]


async def test_a_changed_order_is_found(tables: Tables) -> None:
    await tables.session((1, 3))
    second, third = messages(tables)[1:]
    await tables.write(*tables.inbox_rows("bob", 2, third), *tables.inbox_rows("bob", 3, second))
    assert (await tables.audit()).texts == [f"out_of_order: inbox bob: inbox_seq 3 has {SESSION} seq 2 after seq 3"]


async def test_rows_without_a_directory_are_orphaned(tables: Tables) -> None:
    await tables.session((1, 7))
    tables.drop("inbox_buckets", "bob", 1)
    assert (await tables.audit()).texts == [
        "orphaned: inbox bob bucket 1: its rows up to inbox_seq 7 are in no directory"
    ]


async def test_expired_rows_leave_no_finding(tables: Tables) -> None:
    """Rows of all ages, of which the old ones expire one after the other, also in the middle of a bucket."""
    await tables.session((1, 10))
    for number, message in enumerate(messages(tables), start=1):
        await tables.write(*tables.inbox_rows("bob", number, message, days_ago(0)))
    # One row a day.
    for number, message in enumerate(messages(tables), start=11):
        tables.world.clock.now_ms = NOW_MS + number * DAY_MS
        await tables.write(*tables.inbox_rows("dave", number - 10, message, tables.world.clock.now_ms))
    for day in range(11, 125, 3):
        tables.world.clock.now_ms = NOW_MS + day * DAY_MS
        assert (await tables.audit()).said == [], day


async def test_an_inbox_that_continues_after_months_is_sound(tables: Tables) -> None:
    await tables.session((1, 3))
    tables.world.clock.now_ms += 95 * DAY_MS
    later = messages(tables)[2]
    await tables.write(BucketRow("alice", 1, 5_001, 0, 99))
    for row in tables.inbox_rows("alice", 5_001, later, tables.world.clock.now_ms)[-1:]:
        await tables.write(row)
    assert "missing" not in (await tables.audit()).kinds
