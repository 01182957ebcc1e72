"""Sessions that are cold as a whole, and sessions whose messages have reached the end of their life."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.seeding.plan import MONTH_DAYS, PlannedSession, SeedPlan, SeedSizes
from deploy.local.stack import Stack
from tests.e2e import archiving
from tests.e2e.archiving import Messages, directory_of
from tests.e2e.histories import check_history, page_at, sdk_of
from tests.e2e.raw import call, rest_of, text
from tests.e2e.recount import Account, account_of
from tests.e2e.tables import tables_of
from tidings import ids
from tidings.clock import SystemClock
from tidings.cold.reader import ColdReader
from tidings.ids import DAY_MS
from tidings.store.base import Store
from tidings.store.rows import MessageRow

SIZES = SeedSizes(months=7, sessions=30, groups=2, messages=900, users=20)
RETENTION_DAYS = 120
_PAGE = 7
_DEFAULT_PAGE = 50


async def send(stack: Stack, user_id: str, session_id: str) -> dict[str, Any]:
    async with rest_of(stack, user_id, 1) as http:
        asked = text("after a long silence", session_id=session_id, client_msg_id=uuid.uuid4().hex)
        return await call(http, "POST", "/v1/messages", **asked)


async def shown(stack: Stack, user_id: str, session_id: str) -> dict[str, Any]:
    """The session as its user sees it, alone and in the list."""
    async with rest_of(stack, user_id) as http:
        one = (await http.get(f"/v1/sessions/{session_id}")).raise_for_status().json()
        listed = (await http.get("/v1/sessions", params={"limit": 200})).raise_for_status().json()["sessions"]
    assert one in listed
    return dict(one)


# -- cold as a whole -------------------------------------------------------------------------------


async def test_session_quiet_for_six_months_lives_on(stack: Stack, tmp_path: Path) -> None:
    async with tables_of(stack) as store, archiving.cold_rows(stack, tmp_path) as cold:
        plan, rows = await archiving.seeded(stack, SIZES, store)
        session = _quiet(plan, rows)
        name, before = session.session_id, rows[session.session_id]
        await archiving.run(stack, hot_days=90)
        assert all(segment.cold is not None for segment in await directory_of(store, name))
        await _kill_persisters(stack)
        reader = _with_most_unread(session, await account_of(store, name, cold))
        writer = session.members[session.members[0] == reader]
        sent = await send(stack, writer, name)
        account = await account_of(store, name, cold)
        added = account.messages[-1]
        assert (sent["seq"], added.seq, added.count) == (before[-1].seq + 1, before[-1].seq + 1, before[-1].count + 1)
        assert account.messages[:-1] == before
        for user_id in session.members:
            assert (await shown(stack, user_id, name))["unread"] == account.unread(user_id)
        await _check_marks(stack, store, cold, reader, account)
        await _check_receipts(stack, store, cold, name)
        async with sdk_of(stack, reader) as rest:
            await check_history(rest, account.messages, _PAGE)
            for row, following in zip(account.messages, account.messages[1:], strict=False):
                assert [one.seq for one in (await page_at(rest, name, row.at, 1)).messages] == [row.seq]
                assert [one.seq for one in (await page_at(rest, name, row.at + 1, 1)).messages] == [following.seq]
            assert not (await page_at(rest, name, added.at + 1)).messages
    await archiving.verify(stack)


def _quiet(plan: SeedPlan, rows: Messages) -> PlannedSession:
    """The longest of the sessions that ended six months ago, in which both users have written."""
    ended = [one for one in plan.sessions if one.last_day < MONTH_DAYS and not one.is_group]
    spoken = [one for one in ended if len({row.sender_id for row in rows[one.session_id]}) > 1]
    return max(spoken, key=lambda one: one.messages)


def _with_most_unread(session: PlannedSession, account: Account) -> str:
    return max(session.members, key=account.unread)


async def _kill_persisters(stack: Stack) -> None:
    """So that the next ones have nothing of the session in memory."""
    for name in stack.names():
        if name.startswith("persister"):
            await asyncio.to_thread(stack.kill, name)
            await asyncio.to_thread(stack.start, name)
    await asyncio.to_thread(stack.wait_ready)


async def _check_marks(stack: Stack, store: Store, cold: ColdReader, user_id: str, account: Account) -> None:
    """Read marks at cold seqs, one after the other."""
    name = account.session_id
    async with rest_of(stack, user_id) as http:
        for row in account.messages[-account.unread(user_id) :]:
            answer = (await http.put(f"/v1/sessions/{name}/read", json={"seq": row.seq})).raise_for_status().json()
            assert answer["read_seq"] == row.seq
            now = await account_of(store, name, cold)
            assert now.read(user_id) == row.seq
            assert (await shown(stack, user_id, name))["unread"] == now.unread(user_id)
    assert now.unread(user_id) == 0


async def _check_receipts(stack: Stack, store: Store, cold: ColdReader, name: str) -> None:
    account = await account_of(store, name, cold)
    for row in account.messages[-4:]:
        async with rest_of(stack, row.sender_id) as http:
            page = (await http.get(f"/v1/sessions/{name}/messages/{row.seq}/receipts")).raise_for_status().json()
        delivered, read, members = account.receipts(row)
        assert (page["delivered"], [one["user_id"] for one in page["read"]], page["members"]) == (
            delivered,
            read,
            members,
        )


# -- the end of a life -----------------------------------------------------------------------------


async def test_ended_messages_are_gone_and_never_promised(stack: Stack, tmp_path: Path) -> None:
    async with tables_of(stack) as store, archiving.cold_rows(stack, tmp_path) as cold:
        plan, rows = await archiving.seeded(stack, SIZES, store)
        some = _sessions_of_all_kinds(plan)
        await archiving.run(stack, hot_days=30)
        for session in some:
            # The gateways have them in memory from here on.
            await _check_read(stack, session, rows[session.session_id])
        last_ms = SystemClock().wall_ms() - RETENTION_DAYS * DAY_MS
        await archiving.run(stack, hot_days=30, retention_days=RETENTION_DAYS)
        kinds = set()
        for session in some:
            before = rows[session.session_id]
            left = [row for row in before if ids.month_end_ms(ids.month_of(row.at)) > last_ms]
            kinds.add((bool(left), len(left) == len(before)))
            account = await account_of(store, session.session_id, cold) if left else None
            await _check_left(stack, session, before, left, account)
        # Some sessions are gone as a whole, others in part.
        assert {(False, False), (True, False)} <= kinds
        gone = next(one for one in some if not one.is_group and one.last_day < MONTH_DAYS)
        await _check_new_message(stack, gone, rows[gone.session_id][-1])
    assert not list(stack.media_dir.glob(f"cold/{ids.month_of(plan.starts_at_ms)}/**/*.parquet"))
    await archiving.verify(stack)


def _sessions_of_all_kinds(plan: SeedPlan) -> list[PlannedSession]:
    direct = [one for one in plan.sessions if not one.is_group]
    return [
        *[one for one in direct if one.last_day < MONTH_DAYS][:4],
        *[one for one in direct if one.last_day == plan.days - 1][:2],
        *[one for one in direct if one.first_day >= 5 * MONTH_DAYS][:2],
        *[one for one in plan.sessions if one.is_group],
    ]


async def _check_read(stack: Stack, session: PlannedSession, rows: Sequence[MessageRow]) -> None:
    for ordinal in range(stack.counts.gateways):
        async with sdk_of(stack, session.members[0], ordinal) as rest:
            await check_history(rest, rows, 100)


async def _check_left(
    stack: Stack,
    session: PlannedSession,
    before: Sequence[MessageRow],
    left: Sequence[MessageRow],
    account: Account | None,
) -> None:
    """What each gateway shows of a session of which only these messages are left."""
    name, purged_seq = session.session_id, before[-1].seq - len(left)
    if left:
        await _check_read(stack, session, left)
    async with sdk_of(stack, session.members[0]) as rest:
        seqs = [row.seq for row in left]
        for page, wanted in (
            (await rest.history(name), seqs[-_DEFAULT_PAGE:]),
            (await rest.history(name, after_seq=0), seqs[:_DEFAULT_PAGE]),
            (await rest.history(name, at=0), seqs[:_DEFAULT_PAGE]),
        ):
            assert (page.purged_seq, [one.seq for one in page.messages]) == (purged_seq, wanted)
            assert page.has_more is (len(left) > _DEFAULT_PAGE)
        below = await rest.history(name, before_seq=purged_seq + 1)
        assert (below.messages, below.has_more) == ((), False)
    one = await shown(stack, session.members[0], name)
    assert one.get("purged_seq", 0) == purged_seq
    assert one["unread"] == (account.unread(session.members[0]) if account else 0)
    if not left:
        assert one["head"] == {"seq": before[-1].seq, "at": before[-1].at}
    if purged_seq:
        async with rest_of(stack, before[0].sender_id) as http:
            answer = await http.get(f"/v1/sessions/{name}/messages/1/receipts")
        assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")


async def _check_new_message(stack: Stack, session: PlannedSession, head: MessageRow) -> None:
    writer, reader = session.members
    sent = await send(stack, writer, session.session_id)
    assert sent["seq"] == head.seq + 1
    one = await shown(stack, reader, session.session_id)
    assert (one["unread"], one["head"]["sender_id"], one["purged_seq"]) == (1, writer, head.seq)
    async with sdk_of(stack, reader) as rest:
        page = await rest.history(session.session_id)
        assert ([one.seq for one in page.messages], page.has_more) == ([head.seq + 1], False)
