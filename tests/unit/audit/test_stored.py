"""Messages that rows name: hot, cold, purged or nowhere."""

from tests.fakes.cold import FakeCold, purge
from tests.unit.audit.tables import SESSION, Tables
from tidings.audit.stored import stored_ids

MESSAGE_ID = 2**40


async def test_a_hot_message_is_stored_under_its_id(tables: Tables) -> None:
    await tables.session((1, 3))
    stored = await stored_ids(tables.store, {SESSION: {1, 3, 4}})
    assert stored.problem(SESSION, 3, MESSAGE_ID + 3) == ""
    assert stored.problem(SESSION, 3, MESSAGE_ID + 9) == f"names another message than {SESSION} seq 3 is"
    assert stored.problem(SESSION, 4, MESSAGE_ID + 4) == f"names {SESSION} seq 4, which is not stored"


async def test_a_cold_message_is_stored_as_the_directory_says(tables: Tables) -> None:
    await tables.session((1, 3), (1, 3))
    await FakeCold().take(tables.store, SESSION, 1)
    stored = await stored_ids(tables.store, {SESSION: {2, 5}})
    assert [stored.problem(SESSION, seq, MESSAGE_ID + seq) for seq in (2, 5)] == ["", ""]


async def test_a_purged_message_is_no_problem(tables: Tables) -> None:
    await tables.session((1, 3), (1, 3))
    await purge(tables.store, SESSION, 3)
    stored = await stored_ids(tables.store, {SESSION: {2, 4}})
    assert stored.problem(SESSION, 2, MESSAGE_ID + 2) == ""


async def test_a_session_that_is_not_there_has_no_message(tables: Tables) -> None:
    stored = await stored_ids(tables.store, {"d:x:y": {1}})
    assert stored.problem("d:x:y", 1, 5) == "names d:x:y seq 1, which is not stored"
