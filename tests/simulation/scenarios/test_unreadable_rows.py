"""A row that cannot be read stops the watermarks of its own partition of the log, and of no other one."""

import asyncio

import pytest

from tests.simulation.scenario import Scenario, post, running
from tests.simulation.scenarios.groups import watermarks
from tests.simulation.virtual_time import run
from tests.unit.persister.builders import SESSION
from tidings import ids
from tidings.topics import PERSISTER, RECEIPTS

# Above the session time-out of the owner that died.
_TAKEN_OVER_S = 20
# Both fail twice together, then each is repeated alone.
_SOON_S = 5.0
_HEAD = 3


def _elsewhere(partitions: int) -> str:
    """A direct session of bob's in another partition of the log."""
    names = (ids.direct_session("bob", f"carl{number}") for number in range(100))
    own = ids.partition_of(SESSION, partitions)
    return next(name for name in names if ids.partition_of(name, partitions) != own)


def _sessions_with_receipts(line: Scenario) -> set[str]:
    return {one.session_id for one in watermarks(line) if one.read_seq == 2}


@pytest.mark.parametrize("table", ["receipts", "segments", "messages"])
def test_an_unreadable_row_stops_its_own_partition(table: str) -> None:
    """Stored marks, heads, and counts are read by an owner that has seen nothing of these sessions yet."""
    run(lambda: _scenario(table))


async def _scenario(table: str) -> None:
    async with running(sessions=4) as line:
        line.start("persister")
        owner = line.start("receipts")
        other = _elsewhere(line.sizes.session_partitions)
        for name in (SESSION, other):
            sender = next(user for user in ids.direct_users(name) if user != "bob")
            line.publish(*(post(f"{name} {number}", sender=sender, session_id=name) for number in range(_HEAD)))
        await line.settled(PERSISTER, RECEIPTS)
        owner.kill()
        await asyncio.sleep(_TAKEN_OVER_S)
        unreadable = {(table, (SESSION, 1)) if table == "messages" else (table, SESSION)}
        line.store.faults.unreadable |= unreadable
        line.start("receipts")
        for name in (SESSION, other):
            line.say("bob", 0, 2, name)
        await asyncio.sleep(_SOON_S)
        assert _sessions_with_receipts(line) == {other}
        line.store.faults.unreadable -= unreadable
        await line.settled(RECEIPTS)
        assert _sessions_with_receipts(line) == {SESSION, other}
