"""A plan is sent to sessions without messages, or to those that hold a part of it."""

import pytest

from cli.seeding.existing import refuse_other_messages, unfinish
from cli.seeding.plan import SeedPlan, SeedSizes
from tests.stored_rows import message_row
from tidings import ids
from tidings.clock import SystemClock
from tidings.errors import ConfigurationError
from tidings.ids import DAY_MS
from tidings.runtime.settings import LimitSettings
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.memory_archive import MemoryArchiveTables
from tidings.store.segment_rows import ArchivedShardRow, SegmentRow

NOW_MS = 1_796_085_600_000


def plan(now_ms: int = NOW_MS) -> SeedPlan:
    return SeedPlan(SeedSizes(months=4, sessions=5, groups=0, messages=50, users=9), LimitSettings(), now_ms)


@pytest.fixture
async def store() -> MemoryStore:
    """Tables with the first message of one session of the plan."""
    store = MemoryStore(SystemClock())
    session = plan().sessions[3]
    first = next(plan().messages_of(session))
    row = message_row(1, session.session_id, client_msg_id=first.command.client_msg_id, at=first.at_ms)
    await store.write([TaggedRow(0, SegmentRow(session.session_id, 1, 1, 202608, 0, 1)), TaggedRow(0, row)])
    return store


async def test_plan_is_accepted_where_nothing_is_stored() -> None:
    await refuse_other_messages(MemoryStore(SystemClock()), plan())


async def test_plan_is_accepted_where_a_part_of_it_is_stored(store: MemoryStore) -> None:
    await refuse_other_messages(store, plan())


async def test_plan_of_another_day_is_refused(store: MemoryStore) -> None:
    with pytest.raises(ConfigurationError, match="--prefix"):
        await refuse_other_messages(store, plan(NOW_MS + DAY_MS))


async def test_finished_months_of_the_plan_are_looked_at_again() -> None:
    tables = MemoryArchiveTables(MemoryStore())
    months = (ids.month_of(plan().starts_at_ms - 32 * DAY_MS), ids.month_of(plan().starts_at_ms), 209912)
    for month in months:
        await tables.add_archived_shard(ArchivedShardRow(month, 3, 1, 2, 3, 4))
    await unfinish(tables, plan())
    assert [row.month for row in await tables.archived_shards()] == [months[0]]
