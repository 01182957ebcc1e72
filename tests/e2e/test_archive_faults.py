"""Damaged objects, and an object store that is away: what is refused, repaired, and kept."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cli.seeding.plan import PlannedSession, SeedSizes
from deploy.local.stack import Stack
from tests.e2e import archiving
from tests.e2e.archiving import Messages, directory_of
from tests.e2e.histories import check_history, sdk_of
from tests.e2e.raw import call, rest_of, text
from tests.e2e.tables import tables_of
from tests.raw_tables import RawTables
from tests.waiting import becomes
from tidings.store.base import Store
from tidings.store.rows import MessageRow

SIZES = SeedSizes(months=6, sessions=8, groups=1, messages=400, users=10)
# The fetch of an object may take 5 s, and the machine may be busy.
ANSWERED_WITHIN_S = 15.0
_PAGE = 50


class Archived(NamedTuple):
    """A session across the line, with the object of its oldest messages."""

    session: PlannedSession
    rows: list[MessageRow]
    object_file: Path

    @property
    def name(self) -> str:
        return self.session.session_id

    @property
    def user_id(self) -> str:
        return self.session.members[0]


async def archived(stack: Stack, store: Store, session: PlannedSession, rows: Messages) -> Archived:
    name = session.session_id
    directory = await directory_of(store, name)
    assert directory[0].cold is not None
    assert directory[-1].cold is None
    return Archived(session, list(rows[name]), stack.media_dir / directory[0].cold.object_key)


async def history_page(stack: Stack, one: Archived, ordinal: int = 0, **bounds: int) -> tuple[int, Any]:
    async with rest_of(stack, one.user_id, ordinal) as http:
        answer = await http.get(f"/v1/sessions/{one.name}/messages", params={"limit": 5, **bounds})
    return answer.status_code, answer.json()


async def check_refused(stack: Stack, one: Archived, ordinal: int = 0) -> None:
    """Its oldest messages are refused in time, its newest ones are read, and users write to it."""
    for bounds in ({"after_seq": 0}, {"before_seq": 4}):
        began_s = time.monotonic()
        status, answer = await history_page(stack, one, ordinal, **bounds)
        assert time.monotonic() - began_s < ANSWERED_WITHIN_S
        assert (status, answer["code"], answer["retryable"]) == (503, "unavailable", True)
        assert "archived messages" in answer["detail"]
    status, answer = await history_page(stack, one, ordinal)
    assert (status, answer["messages"][-1]["seq"]) == (200, answer["head_seq"])
    async with rest_of(stack, one.user_id, ordinal) as http:
        asked = text("meanwhile", session_id=one.name, client_msg_id=uuid.uuid4().hex)
        sent = await call(http, "POST", "/v1/messages", **asked)
    assert sent["seq"] == answer["head_seq"] + 1


async def check_read(stack: Stack, one: Archived) -> None:
    """Every gateway shows all seeded messages, and those that were sent since."""
    for ordinal in range(stack.counts.gateways):
        # An error is remembered for a second.
        await becomes(lambda ordinal=ordinal: _status(stack, one, ordinal), 200, within_s=10.0)  # type: ignore[misc]
        async with sdk_of(stack, one.user_id, ordinal) as rest:
            newer = (await rest.history(one.name, after_seq=one.rows[-1].seq)).messages
            await check_history(rest, one.rows, _PAGE, newer)


async def _status(stack: Stack, one: Archived, ordinal: int) -> int:
    return (await history_page(stack, one, ordinal, after_seq=0))[0]


def change_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


# -- damage ----------------------------------------------------------------------------------------


async def test_damage_is_found_refused_and_repaired(stack: Stack) -> None:
    async with tables_of(stack) as store:
        plan, rows = await archiving.seeded(stack, SIZES, store)
        group = next(one for one in plan.sessions if one.is_group)
        await archiving.run(stack, hot_days=90, hot_copy_days=7)
        one = await archived(stack, store, group, rows)
        await archiving.verify(stack)
        change_a_byte(one.object_file)
        await _check_found(stack, one)
        await check_refused(stack, one)
        repaired = await archiving.archive(stack, "verify", "--repair")
        assert repaired.code == 0, repaired.said
        assert "repaired" in repaired.said
        await check_read(stack, one)
        # Moved again, and without hot rows this time.
        await archiving.run(stack, hot_days=90, hot_copy_days=0)
        await check_read(stack, await archived(stack, store, group, rows))
        await archiving.verify(stack)


async def test_damage_without_a_hot_copy_stays_refused(stack: Stack) -> None:
    async with tables_of(stack) as store, archiving.raw_tables(stack) as raw:
        plan, rows = await archiving.seeded(stack, SIZES, store)
        group = next(one for one in plan.sessions if one.is_group)
        await archiving.run(stack, hot_days=90)
        one = await archived(stack, store, group, rows)
        change_a_byte(one.object_file)
        repair = await archiving.archive(stack, "verify", "--repair")
        assert repair.code == 1, repair.said
        assert "DAMAGED" in repair.said
        await _check_found(stack, one)
        await check_refused(stack, one)
        again = await archiving.archive(stack, "restore", "--session", one.name)
        assert again.code != 0, again.said
        change_a_byte(one.object_file)
        await archiving.verify(stack)
        await check_read(stack, one)
        await _check_restored(stack, store, raw, one)
        await archiving.run(stack, hot_days=90)
        await check_read(stack, await archived(stack, store, group, rows))
        await archiving.verify(stack)


async def _check_found(stack: Stack, one: Archived) -> None:
    verified = await archiving.archive(stack, "verify")
    assert verified.code == 1, verified.said
    damaged = [line for line in verified.said.splitlines() if line.startswith("DAMAGED")]
    assert damaged, verified.said
    assert all(one.object_file.name in line for line in damaged), damaged
    assert any(one.name in line for line in damaged), damaged


async def _check_restored(stack: Stack, store: Store, raw: RawTables, one: Archived) -> None:
    restored = await archiving.archive(stack, "restore", "--session", one.name)
    assert restored.code == 0, restored.said
    assert all(segment.cold is None for segment in await directory_of(store, one.name))
    hot = await raw.hot_seqs()
    there = sorted(seq for name, seqs in hot.items() if name.session_id == one.name for seq in seqs)
    assert there[: len(one.rows)] == [row.seq for row in one.rows]
    await check_read(stack, one)


# -- away ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def store_away(stack: Stack) -> Iterator[None]:
    """The folder of the archived objects is away, and none can be made in its place.

    Not the whole store, because then an archiver refuses to start, and nothing that it does is tested.
    """
    folder = stack.media_dir / "cold"
    away = folder.with_name("cold-away")
    folder.rename(away)
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


async def test_store_that_is_away_stops_only_cold_reads(stack: Stack) -> None:
    async with tables_of(stack) as store, archiving.raw_tables(stack) as raw:
        plan, rows = await archiving.seeded(stack, SIZES, store)
        await archiving.run(stack, hot_days=90)
        one = await archived(stack, store, next(one for one in plan.sessions if one.is_group), rows)
        # Every shard that the next run looks at first has some of these messages, so it fails with them in its hands.
        plan, rows = await archiving.seeded(stack, SIZES, store)
        before = archiving.seqs_by_segment(rows)
        with store_away(stack):
            for ordinal in range(stack.counts.gateways):
                await check_refused(stack, one, ordinal)
            failed = await archiving.archive(stack, "run", hot_days=90)
            assert failed.code != 0, failed.said
            assert "object store" in failed.said
            process = await archiving.archiver(stack, hot_days=90)
            assert (await archiving.ended(process)).code != 0
            hot = await raw.hot_seqs()
            assert {name: hot.get(name) for name in before} == before
            for session in plan.sessions:
                assert all(segment.cold is None for segment in await directory_of(store, session.session_id))
        await check_read(stack, one)
        await archiving.run(stack, hot_days=90)
        for session in plan.sessions:
            await check_read(stack, Archived(session, list(rows[session.session_id]), one.object_file))
        await archiving.verify(stack)
