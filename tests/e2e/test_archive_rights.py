"""Archived messages and uploads have the same rights as hot ones."""

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest

from cli.seeding.plan import PlannedSession, SeedSizes
from deploy.local.stack import Stack
from tests.e2e import archiving
from tests.e2e.archiving import directory_of
from tests.e2e.histories import check_history, sdk_of
from tests.e2e.raw import call, rest_of
from tests.e2e.tables import tables_of
from tests.e2e.uploads import message, photo, upload
from tidings.store import history

SIZES = SeedSizes(months=6, sessions=2, groups=2, messages=600, users=12)
_PAGE = 50


async def answers(stack: Stack, user_id: str, session_id: str, seq: int, at_ms: int) -> dict[str, tuple[int, Any]]:
    """All that a user is answered about a session around a seq and a time."""
    session, messages = f"/v1/sessions/{session_id}", f"/v1/sessions/{session_id}/messages"
    paths = [
        session,
        messages,
        *(f"{messages}?after_seq={one}&limit=5" for one in (0, seq - 3, seq, seq + 3)),
        *(f"{messages}?before_seq={one}&limit=5" for one in (1, seq - 3, seq, seq + 1, seq + 3)),
        *(f"{messages}?at={one}&limit=5" for one in (0, at_ms - 1, at_ms, at_ms + 1)),
        *(f"{messages}/{one}/receipts" for one in (1, seq - 1, seq, seq + 1)),
    ]
    async with rest_of(stack, user_id) as http:
        found = [await http.get(path) for path in paths]
    return {path: (one.status_code, one.json()) for path, one in zip(paths, found, strict=True)}


@pytest.mark.promise("G10")
async def test_cold_history_has_the_rights_of_the_hot_one(stack: Stack, tmp_path: Path) -> None:
    async with tables_of(stack) as store, archiving.cold_rows(stack, tmp_path) as cold:
        plan, rows = await archiving.seeded(stack, SIZES, store)
        group = next(one for one in plan.sessions if one.is_group)
        name, before = group.session_id, rows[group.session_id]
        joined = next(row for row in before if b'"members_added"' in row.body or group.joining.encode() in row.body)
        removed = next(row for row in before if row.seq > joined.seq and row.kind == joined.kind)
        users = (group.members[0], group.members[1], group.joining, group.leaving, f"stranger-{uuid.uuid4().hex[:6]}")
        hot = [await answers(stack, user_id, name, joined.seq, joined.at) for user_id in users]
        await archiving.run(stack, hot_days=30)
        directory = await directory_of(store, name)
        assert all(one.cold is not None for one in directory if one.first_seq <= removed.seq)
        for user_id, wanted in zip(users, hot, strict=True):
            assert await answers(stack, user_id, name, joined.seq, joined.at) == wanted
        await _check_rights(stack, group, joined.seq, hot)
        async with sdk_of(stack, group.joining) as rest:
            await check_history(rest, before[joined.seq - 1 :], _PAGE)
        late = f"late-{uuid.uuid4().hex[:6]}"
        async with rest_of(stack, group.members[0]) as http:
            await call(http, "PATCH", f"/v1/groups/{name}", settings={"share_history": True})
            await call(http, "POST", f"/v1/groups/{name}/members", user_ids=[late])
        everything = await history.read_range(store, name, 1, 2**40, 2**40, cold=cold)
        assert everything[: len(before)] == before
        for user_id in (late, group.joining):
            async with sdk_of(stack, user_id, 1) as rest:
                await check_history(rest, everything, _PAGE)


async def _check_rights(
    stack: Stack, group: PlannedSession, joined_seq: int, found: list[dict[str, tuple[int, Any]]]
) -> None:
    owner, member, joining, leaving, stranger = found
    messages = f"/v1/sessions/{group.session_id}/messages"
    for one in (owner, member):
        assert one[f"{messages}?at=0&limit=5"][1]["messages"][0]["seq"] == 1
    for _, body in joining.values():
        assert all(message["seq"] >= joined_seq for message in body.get("messages", ()))
    assert joining[f"{messages}?at=0&limit=5"][1]["messages"][0]["seq"] == joined_seq
    assert joining[f"{messages}?before_seq={joined_seq}&limit=5"][1]["messages"] == []
    for seq in (1, joined_seq - 1):
        assert owner[f"{messages}/{seq}/receipts"][0] == 200
        assert joining[f"{messages}/{seq}/receipts"][1]["code"] == "message_not_found"
    for one in (leaving, stranger):
        assert {(status, body["code"]) for status, body in one.values()} == {(404, "session_not_found")}


@pytest.mark.promise("G10")
async def test_uploads_of_cold_messages_stay_for_members(stack: Stack) -> None:
    run = uuid.uuid4().hex[:8]
    alice, bob, carol, dave = (f"{name}-{run}" for name in ("alice", "bob", "carol", "dave"))
    async with (
        tables_of(stack) as store,
        rest_of(stack, alice) as a,
        rest_of(stack, bob, 1) as b,
        rest_of(stack, carol) as c,
        rest_of(stack, dave) as d,
    ):
        image = await upload(a, photo())
        made = await call(a, "POST", "/v1/groups", name="Team", members=[bob, dave])
        name = made["session_id"]
        await call(a, "POST", "/v1/messages", **message({"session_id": name}, image, "image"))
        await call(a, "POST", f"/v1/groups/{name}/members", user_ids=[carol])
        await call(a, "DELETE", f"/v1/groups/{name}/members/{dave}")
        # The archiver takes what is older than its start.
        await asyncio.sleep(0.1)
        await archiving.run(stack, hot_days=0)
        assert all(one.cold is not None for one in await directory_of(store, name))
        for url in (image["url"], image["thumb_url"]):
            assert [(await one.get(url)).status_code for one in (a, b, c, d)] == [200, 200, 404, 404]
        async with sdk_of(stack, bob) as rest:
            page = await rest.history(name)
        assert image["url"] in [one.body.get("url") for one in page.messages]
