"""Receipts sends no lower watermark than before, also as another owner of the partition (G8)."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.simulation.scenario import Scenario, post, running
from tests.simulation.scenarios.groups import create, say, watermarks
from tests.simulation.virtual_time import run
from tests.unit.persister.builders import GROUP, SESSION
from tidings.topics import PERSISTER, RECEIPTS

HEAD = 8
# Above the session time-out of the owner that died.
_TAKEN_OVER_S = 20
# (user, delivered, read), or None: the process dies and another takes over.
CLAIM = st.tuples(st.sampled_from(["alice", "bob"]), st.integers(0, HEAD + 2), st.integers(0, HEAD)).filter(
    lambda claim: claim[1] + claim[2] > 0
)
STEPS = st.lists(st.one_of(CLAIM, st.none()), min_size=1, max_size=8)
LOWER_AFTER_A_RESTART = [("bob", 8, 8), None, ("bob", 3, 0), ("bob", 0, 4), ("bob", 9, 0)]


@pytest.mark.promise("G8")
@pytest.mark.parametrize("session_id", [SESSION, GROUP])
def test_new_owner_sends_no_lower_watermark(session_id: str) -> None:
    @settings(max_examples=15, deadline=None)
    @given(steps=STEPS)
    @example(steps=LOWER_AFTER_A_RESTART)
    def holds(steps: list[tuple[str, int, int] | None]) -> None:
        run(lambda: _scenario(session_id, steps))

    holds()


async def _scenario(session_id: str, steps: list[tuple[str, int, int] | None]) -> None:
    async with running() as line:
        owner = line.start("persister", "receipts")
        if session_id == GROUP:
            line.publish(create("bob"), *(say(f"m{number}", "alice") for number in range(HEAD - 1)))
        else:
            line.publish(*(post(f"m{number}") for number in range(HEAD)))
        await line.settled(PERSISTER, RECEIPTS)
        for step in steps:
            if step is None:
                owner.kill()
                owner = line.start("receipts")
                await asyncio.sleep(_TAKEN_OVER_S)
                continue
            await line.claimed(*step, session_id)
            await _stored_is_sent(line, session_id, step[0])
        for user_id in ("alice", "bob"):
            sent = [(one.delivered_seq, one.read_seq) for one in watermarks(line) if one.user_id == user_id]
            for before, after in pairwise(sent):
                assert before == (min(before[0], after[0]), min(before[1], after[1])), f"{user_id}: {sent}"


async def _stored_is_sent(line: Scenario, session_id: str, user_id: str) -> None:
    row = (await line.store.receipts([(session_id, user_id)]))[session_id, user_id]
    last = [one for one in watermarks(line) if one.user_id == user_id][-1]
    assert (last.delivered_seq, last.read_seq) == (max(row.delivered_seq, row.read_seq), row.read_seq)
    assert not last.read_seq or last.at_ms == row.read_at
