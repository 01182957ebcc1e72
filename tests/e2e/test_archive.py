"""Six months of messages on the real servers: archived under kills and while users write, and read across the line."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.seeding.plan import PlannedSession, SeedPlan, SeedSizes
from deploy.local.probes import service_health
from deploy.local.stack import Stack
from tests.e2e import archiving
from tests.e2e.archiving import Messages, directory_of, rows_by_segment
from tests.e2e.histories import check_history, sdk_of
from tests.e2e.tables import tables_of
from tests.e2e.writing import writing
from tests.raw_tables import RawTables
from tidings.clock import SystemClock
from tidings.ids import DAY_MS
from tidings.store import history
from tidings.store.cassandra import CassandraStore
from tidings.store.rows import MessageRow

SIZES = SeedSizes(months=6, sessions=52, groups=8, messages=4_000, users=40)
HOT_DAYS = 90
KILLS = 30
# Slow, so that 30 archivers which live for up to so long do not move everything.
MESSAGES_PER_S = 60
_LIVE_S = 2.5
# Rounds of two kills after which more was cold than before.
LEAST_MOVING = 4
# Points of a life from 0 to 1 before which an archiver is killed while it connects.
_CONNECTING = 0.2
_LOOK_S = 0.05
_OBJECT_BYTES = 65_536
_PAGES = (200, 37)
# Runs without kills, until one has left no shard to another.
_LAST_RUNS = 5


@pytest.mark.timeout(600)
async def test_history_is_whole_after_kills_of_archivers(stack: Stack, figures: list[str], tmp_path: Path) -> None:
    chance = random.Random(14)
    async with tables_of(stack) as store, archiving.raw_tables(stack) as raw:
        began_s = time.monotonic()
        plan, before = await archiving.seeded(stack, SIZES, store)
        seeded_s = time.monotonic()
        cutoff_ms = SystemClock().wall_ms() - HOT_DAYS * DAY_MS
        written = _written_sessions(plan, cutoff_ms)
        async with writing(stack, written) as said:
            kills, moving = await _kill_archivers(stack, store, raw, chance, plan)
            await _finish(stack)
        archived_s = time.monotonic()
        after = await _rows_after(stack, store, plan, tmp_path)
        for session in plan.sessions:
            name = session.session_id
            assert after[name][: len(before[name])] == before[name]
            _check_written(after[name][len(before[name]) :], said.get(name, []))
        cold = await _check_places(raw, store, before, cutoff_ms)
    await archiving.verify(stack)
    await _check_histories(stack, plan, after)
    assert kills == KILLS
    # The kills were spread over the work.
    assert moving >= LEAST_MOVING, moving
    sent = sum(map(len, said.values()))
    assert sent >= len(written)
    figures.append(
        f"{plan.commands_total} messages of {len(plan.sessions)} sessions, {kills} archivers killed, {sent} messages"
        f" meanwhile; {cold} messages are cold and every history is as sent"
        f" (seeding {seeded_s - began_s:.0f} s, archiving {archived_s - seeded_s:.0f} s,"
        f" reading {time.monotonic() - archived_s:.0f} s)"
    )


# -- archivers -------------------------------------------------------------------------------------


async def _kill_archivers(
    stack: Stack, store: CassandraStore, raw: RawTables, chance: random.Random, plan: SeedPlan
) -> tuple[int, int]:
    """Two at once, again and again. Returns how many were killed, and after how many rounds more was cold."""
    kills = moving = idle = 0
    cold = await _cold_segments(store, plan)
    while kills < KILLS:
        live_s = _LIVE_S * (1 + idle)  # on a slow machine nothing would ever move within the shortest life
        ends = await asyncio.gather(*(_killed(stack, raw, number, chance.random(), live_s) for number in range(2)))
        assert any(ends), f"all is archived after {kills} kills; the archivers are too fast for this test"
        kills += sum(ends)
        await raw.expire_claims()
        before, cold = cold, await _cold_segments(store, plan)
        moving += cold > before
        idle = 0 if cold > before else idle + 1
    return kills, moving


async def _killed(stack: Stack, raw: RawTables, number: int, point: float, live_s: float) -> bool:
    """One archiver, killed at a point of its life from 0 to 1. False: it had ended before.

    Some are killed while they connect, and most while they move messages.
    """
    rules = {"hot_days": HOT_DAYS, "object_bytes": _OBJECT_BYTES, "messages_per_s": MESSAGES_PER_S}
    process = await archiving.archiver(stack, number, **rules)
    port = stack.ports.admin("persister", 5 + number)
    try:
        while process.returncode is None and await asyncio.to_thread(service_health, port) != "ready":  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        while point > _CONNECTING and process.returncode is None and not await raw.claims():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        await asyncio.sleep(live_s * point)
    finally:
        is_killed = process.returncode is None
        if is_killed:
            process.kill()
        ended = await archiving.ended(process)
    assert is_killed or ended.code == 0, ended.said
    return is_killed


async def _finish(stack: Stack) -> None:
    """Two archivers at once, until one has seen every shard."""
    rules = {"hot_days": HOT_DAYS, "object_bytes": _OBJECT_BYTES}
    for _ in range(_LAST_RUNS):
        ends = await asyncio.gather(*(archiving.archive(stack, "run", **rules) for _ in range(2)))
        for ended in ends:
            assert ended.code == 0, ended.said
        if any("left to other archivers" not in ended.said for ended in ends):
            return
    raise AssertionError(f"shards were left in {_LAST_RUNS} runs: {ends}")


async def _cold_segments(store: CassandraStore, plan: SeedPlan) -> int:
    found = await store.segments([one.session_id for one in plan.sessions], 1_000)
    return sum(row.cold is not None for rows in found.values() for row in rows)


# -- what was written ---------------------------------------------------------------------------------------


def _written_sessions(plan: SeedPlan, cutoff_ms: int) -> list[PlannedSession]:
    """Sessions that the archiver closes meanwhile, busy ones, and groups."""
    direct = [one for one in plan.sessions if not one.is_group]
    quiet = [one for one in direct if plan.starts_at_ms + (one.last_day + 1) * DAY_MS < cutoff_ms]
    busy = [one for one in direct if one.last_day == plan.days - 1]
    groups = [one for one in plan.sessions if one.is_group]
    return [*quiet[:4], *busy[:2], *groups[:2]]


def _check_written(rows: Sequence[MessageRow], said: Sequence[dict[str, Any]]) -> None:
    found = [
        {
            "seq": row.seq,
            "at": row.at,
            "message_id": str(row.message_id),
            "client_msg_id": row.client_msg_id,
            "body": json.loads(row.body),
            "reply_to": row.reply_to,
            "mentions": list(row.mentions or ()),
        }
        for row in rows
    ]
    assert found == [{name: one.get(name, []) for name in found[0]} for one in said]


# -- where everything is ---------------------------------------------------------------------------


async def _rows_after(stack: Stack, store: CassandraStore, plan: SeedPlan, folder: Path) -> Messages:
    async with archiving.cold_rows(stack, folder) as cold:
        return {
            one.session_id: await history.read_range(store, one.session_id, 1, 2**40, 2**40, cold=cold)
            for one in plan.sessions
        }


async def _check_places(raw: RawTables, store: CassandraStore, before: Messages, cutoff_ms: int) -> int:
    """What is older than the cutoff is cold, and Cassandra has nothing else. Returns the number of cold messages."""
    latest_cutoff_ms = SystemClock().wall_ms() - HOT_DAYS * DAY_MS
    hot = await raw.hot_seqs()
    cold_messages = 0
    for session_id, rows in before.items():
        directory = {row.segment: row for row in await directory_of(store, session_id)}
        for name, some in rows_by_segment(rows).items():
            there, stored = hot.get(name, set()), {row.seq for row in some}
            if some[-1].at < cutoff_ms:
                assert directory[name.segment].cold is not None, name
                # The newest message of a session stays for its preview.
                assert there <= ({rows[-1].seq} & stored), name
                cold_messages += len(some)
            elif some[-1].at >= latest_cutoff_ms:
                assert directory[name.segment].cold is None, name
                assert stored <= there, name
        if rows[-1].at < cutoff_ms and len(directory) == len(rows_by_segment(rows)):
            newest = rows_by_segment(rows).popitem()[0]
            assert hot[newest] == {rows[-1].seq}, newest
    return cold_messages


async def _check_histories(stack: Stack, plan: SeedPlan, rows: Messages) -> None:
    """Every session as its first member reads it."""
    for number, session in enumerate(plan.sessions):
        async with sdk_of(stack, session.members[0], number % stack.counts.gateways) as rest:
            for page in _PAGES:
                await check_history(rest, rows[session.session_id], page)
