"""Unread is right at every moment, with rows landing one by one and no receipts service at all (G9).

Whatever a moment shows, unread is a recount of the messages up to the head that it shows.
"""

import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway.reads.membership import Memberships
from services.gateway.reads.messages import MessageReads
from services.gateway.reads.sessions import SessionReads
from tests.simulation.scenario import Scenario, post, running
from tests.simulation.scenarios.groups import act, create, say
from tests.simulation.virtual_time import run
from tests.unit.persister.builders import GROUP, SESSION
from tidings.clock import SystemClock
from tidings.codec import COUNTABLE_KINDS
from tidings.store.base import TaggedRow
from tidings.store.memory import MemoryStore
from tidings.store.memory_tables import partition_of
from tidings.store.rows import MessageRow, SentRow
from tidings.topics import PERSISTER
from tidings.wire.inbound_pb2 import ChangeGroup, Command

USERS = ("alice", "bob")
# Each list is one round of authors; in a group capital letters rename it.
ROUNDS = st.lists(st.text("abAB", min_size=1, max_size=5), min_size=1, max_size=5)


@pytest.mark.promise("G9")
@pytest.mark.field_case("5")
@pytest.mark.parametrize("session_id", [SESSION, GROUP])
def test_unread_is_a_recount_at_every_moment(session_id: str) -> None:
    @settings(max_examples=40, deadline=None)
    @given(rounds=ROUNDS, seed=st.integers(0, 99), segment_messages=st.sampled_from([2, 10_000]))
    @example(rounds=["a", "b", "a"], seed=0, segment_messages=10_000)
    @example(rounds=["aab", "aba"], seed=0, segment_messages=10_000)
    @example(rounds=["a", "baab"], seed=0, segment_messages=2)
    def holds(rounds: list[str], seed: int, segment_messages: int) -> None:
        run(lambda: _scenario(session_id, rounds, random.Random(seed), segment_messages))

    holds()


def _command(session_id: str, letter: str, client_msg_id: str, segment_messages: int) -> Command:
    sender = "alice" if letter in "aA" else "bob"
    if session_id == SESSION:
        return post(client_msg_id, sender=sender, segment_messages=segment_messages)
    made = act(client_msg_id, ChangeGroup(name=client_msg_id), sender) if letter in "AB" else say(client_msg_id, sender)
    made.stamps.segment_messages = segment_messages
    return made


async def _scenario(session_id: str, rounds: Sequence[str], chance: random.Random, segment_messages: int) -> None:
    async with running() as line:
        moments: list[str] = []
        _land_one_by_one(line, session_id, chance, moments)
        if session_id == GROUP:
            line.publish(create("bob"))
        line.start("persister")
        await line.settled(PERSISTER)
        for number, letters in enumerate(rounds):
            commands = (
                _command(session_id, letter, f"m{number} {place}", segment_messages)
                for place, letter in enumerate(letters)
            )
            await line.stored(*commands)
        # A member may not rename the group, so such a command stores nothing.
        stored = [letters for letters in rounds if session_id == SESSION or set(letters) - {"B"}]
        assert len(moments) >= len(stored) * 2 * len(USERS)


def _land_one_by_one(line: Scenario, session_id: str, chance: random.Random, moments: list[str]) -> None:
    """Mutations of one write land in any order, and after each both users read the session."""
    write = line.store.write

    async def one_by_one(rows: Sequence[TaggedRow]) -> frozenset[int]:
        mutations: dict[object, list[TaggedRow]] = {}
        for tagged in rows:
            mutations.setdefault(partition_of(tagged.row), []).append(tagged)
        parts = list(mutations.values())
        chance.shuffle(parts)
        for part in parts:
            assert not await write(part)
            moments.extend([await _look(line.store, session_id, user_id) for user_id in USERS])
        return frozenset()

    line.store.write = one_by_one  # type: ignore[method-assign]


async def _look(store: MemoryStore, session_id: str, user_id: str) -> str:
    memberships = Memberships(store)
    reads = SessionReads(store, MessageReads(store, SystemClock(), 0), memberships)
    if not await memberships.check_many(user_id, [session_id]):
        return "no member yet"
    shown = json.loads(await reads.session(user_id, session_id))
    head_seq = shown["head"]["seq"]
    rows = [row for row in store.rows("messages") if isinstance(row, MessageRow) and row.seq <= head_seq]
    countable = [row for row in rows if row.kind in COUNTABLE_KINDS]
    own = max((row.seq for row in countable if row.sender_id == user_id), default=0)
    right = sum(row.seq > own for row in countable)
    assert shown["unread"] == right, f"G9: {user_id} is shown {shown}, a recount says {right}"
    return f"{user_id} {head_seq}"


@pytest.mark.promise("G9")
def test_sent_watermark_is_written_before_the_message() -> None:
    run(_order)


async def _order() -> None:
    async with running() as line:
        waves: list[list[str]] = []
        write = line.store.write

        async def noted(rows: Sequence[TaggedRow]) -> frozenset[int]:
            waves.append(sorted({tagged.row.table for tagged in rows}))
            sent = [tagged.row for tagged in rows if isinstance(tagged.row, SentRow)]
            assert len(sent) == len({(row.session_id, row.user_id) for row in sent}), "one row of each sender a round"
            return await write(rows)

        line.store.write = noted  # type: ignore[method-assign]
        line.publish(post("m1"), post("m2"))
        line.start("persister")
        await line.settled(PERSISTER)
        assert "receipts" in waves[0]  # of a single sender: in the same wave as the others
        first = len(waves)
        await line.stored(post("m3"), post("m4", sender="bob"), post("m5"))
        tables = [table for wave in waves[first:] for table in wave]
        assert tables.index("receipts") < tables.index("messages")
        assert ["messages" in wave and "receipts" in wave for wave in waves[first:]] == [False, False]
        rows = await line.store.receipts([(SESSION, "alice"), (SESSION, "bob")])
        assert {name: (row.sent_seq, row.sent_count) for (_, name), row in rows.items()} == {
            "alice": (5, 5),
            "bob": (4, 4),
        }
