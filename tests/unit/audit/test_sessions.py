"""Findings in the logs of sessions."""

from dataclasses import replace

from tests.fakes.cold import purge
from tests.unit.audit.tables import SESSION, Tables
from tidings.store.base import SessionSegment
from tidings.store.segment_rows import SegmentClosedRow, SegmentRow


async def test_a_sound_session_has_no_finding(tables: Tables) -> None:
    await tables.session((60, 700), (30, 3), (1, 4))
    assert (await tables.audit()).said == []


async def test_a_deleted_message_is_missing(tables: Tables) -> None:
    await tables.session((1, 9))
    tables.drop("messages", (SESSION, 1), 4)
    assert (await tables.audit()).texts == [
        f"missing: session {SESSION} segment 1: seq 4 is not stored",
        f"orphaned: inbox alice: inbox_seq 4 names {SESSION} seq 4, which is not stored",
        f"orphaned: inbox bob: inbox_seq 4 names {SESSION} seq 4, which is not stored",
        f"orphaned: key of {SESSION} month 0 shard 0: 'm-4' of alice names {SESSION} seq 4, which is not stored",
    ]


async def test_a_hole_at_the_end_of_a_segment_is_missing(tables: Tables) -> None:
    await tables.session((1, 600), (1, 3))
    tables.drop("messages", (SESSION, 1), 600)
    tables.drop("messages", (SESSION, 1), 599)
    assert f"missing: session {SESSION} segment 1: seqs 599 to 600 are not stored" in (await tables.audit()).texts


async def test_a_lost_row_of_the_directory_is_found(tables: Tables) -> None:
    await tables.session((1, 3), (1, 3), (1, 3))
    tables.drop("segments", SESSION, 2)
    texts = (await tables.audit()).texts
    assert f"missing: session {SESSION} segment 1: seqs 4 to 6 are not stored" in texts
    assert f"orphaned: session {SESSION} segment 2: its messages up to seq 6 are in no directory" in texts


async def test_a_lost_first_row_of_the_directory_is_missing(tables: Tables) -> None:
    await tables.session((1, 3), (1, 3))
    tables.drop("segments", SESSION, 1)
    assert f"missing: session {SESSION}: seqs 1 to 3 are in no segment" in (await tables.audit()).texts


async def test_a_segment_without_rows_is_orphaned(tables: Tables) -> None:
    await tables.session((1, 3), (1, 2), (1, 3))
    for seq in (4, 5):
        tables.drop("messages", (SESSION, 2), seq)
    assert (
        f"orphaned: session {SESSION} segment 2: it has no rows; seqs 4 to 5 are lost" in (await tables.audit()).texts
    )


async def test_a_new_segment_without_rows_waits_for_its_command(tables: Tables) -> None:
    await tables.session((1, 3))
    await tables.write(SegmentRow(SESSION, 2, 4, 202611, 0, 40))
    tables.world.closing.confirmed_offset = 40
    assert (await tables.audit()).said == []
    tables.world.closing.confirmed_offset = 41
    assert (await tables.audit()).texts == [f"orphaned: session {SESSION} segment 2: it has no rows; seq 4 is lost"]


async def test_a_message_that_is_stored_twice_is_doubled(tables: Tables) -> None:
    await tables.session((1, 3), (1, 3))
    copy = replace(tables.world.written[SESSION][4], client_msg_id="m-2")
    await tables.write(copy)
    assert (await tables.audit()).texts == [f"doubled: session {SESSION}: alice sent 'm-2' as seq 2 and as seq 5"]


async def test_a_closed_segment_reaches_up_to_its_end(tables: Tables) -> None:
    await tables.session((1, 5))
    await tables.write(SegmentClosedRow(SESSION, 1, 5, 4, 1, 0, 10**8))
    assert (await tables.audit()).said == []
    tables.drop("messages", (SESSION, 1), 5)
    assert f"missing: session {SESSION} segment 1: seq 5 is not stored" in (await tables.audit()).texts


async def test_cold_segments_and_purged_messages_have_no_finding(tables: Tables) -> None:
    await tables.session((200, 5), (170, 40), (2, 7))
    await tables.world.archive(retention_days=160)
    assert tables.world.hot(SESSION) == list(range(46, 53))
    assert (await tables.audit()).said == []


async def test_a_cold_segment_of_too_few_messages_is_missing(tables: Tables) -> None:
    await tables.session((200, 5), (2, 7))
    await tables.world.archive()
    place = tables.world.directory(SESSION)[1].cold
    assert place is not None
    await tables.world.tables.set_cold(SessionSegment(SESSION, 1), place._replace(rows=4))
    assert (
        f"missing: session {SESSION} segment 1: {place.object_key} has 4 of its 5 messages"
        in (await tables.audit()).texts
    )


async def test_purged_messages_of_a_hot_segment_are_not_missing(tables: Tables) -> None:
    await tables.session((1, 3), (1, 3))
    await purge(tables.store, SESSION, 3)
    assert (await tables.audit()).said == []
