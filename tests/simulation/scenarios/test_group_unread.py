"""Unread of groups is arithmetic over watermarks: held against a recount from the raw rows, whatever members did."""

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.gateway.reads.sessions import unread
from tests.simulation.scenario import Scenario, running
from tests.simulation.scenarios.groups import act, create, say
from tests.simulation.virtual_time import run
from tests.unit.persister.builders import GROUP
from tidings.codec import COUNTABLE_KINDS
from tidings.store import session_tails
from tidings.store.rows import NEWEST, MemberRow, MessageRow, ReceiptRow
from tidings.topics import PERSISTER, RECEIPTS
from tidings.wire.inbound_pb2 import AddMembers, ChangeGroup, ChangeMember, Command, RemoveMember

USERS = ("bob", "carl", "dora")


@dataclass
class Said:
    """What a plain account of the devices' claims comes to."""

    read: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))
    delivered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USERS, 0))


# (user, action, number): `read` and `got` claim that seq, a device each; the others are commands.
STEP = st.tuples(
    st.sampled_from(USERS), st.sampled_from(["say", "rename", "join", "leave", "read", "got"]), st.integers(1, 14)
)
REJOIN = [("bob", "say", 1), ("carl", "read", 2), ("carl", "leave", 1), ("bob", "say", 1), ("carl", "join", 1)]
OUT_OF_ORDER = [("bob", "say", 1), ("bob", "say", 1), ("carl", "read", 4), ("carl", "read", 2), ("carl", "got", 3)]
OWN = [("bob", "say", 1), ("carl", "say", 1), ("bob", "say", 1)]
SYSTEM = [("carl", "say", 1), ("bob", "rename", 1)]


@pytest.mark.promise("G9")
@settings(max_examples=25, deadline=None)
@given(rounds=st.lists(st.lists(STEP, min_size=1, max_size=4), min_size=1, max_size=7))
@example(rounds=[[step] for step in REJOIN] + [[("bob", "say", 1)], [("carl", "read", 3)]])
@example(rounds=[[step] for step in OUT_OF_ORDER])
@example(rounds=[OUT_OF_ORDER[:2], OUT_OF_ORDER[2:]])
@example(rounds=[OWN])
@example(rounds=[SYSTEM])
def test_unread_is_a_recount_and_watermarks_never_go_back(rounds: list[list[tuple[str, str, int]]]) -> None:
    run(lambda: _scenario(rounds))


async def _scenario(rounds: list[list[tuple[str, str, int]]]) -> None:
    async with running("persister", "receipts") as line:
        await line.seen(create("bob", "carl"), act("admin", ChangeMember(user_id="bob", role="admin")))
        said, number = Said(), 0
        before: dict[str, ReceiptRow] = {}
        for steps in rounds:
            for who, what, _ in steps:
                number += 1
                if what not in {"read", "got"}:
                    line.publish(_command(who, what, f"c{number}"))
            await line.settled(PERSISTER, RECEIPTS)
            await _claims(line, said, steps)
            for user_id in USERS:
                before[user_id] = await _check(line, said, user_id, before.get(user_id))


def _command(who: str, what: str, client_msg_id: str) -> Command:
    if what == "say":
        return say(client_msg_id, who)
    if what == "rename":
        return act(client_msg_id, ChangeGroup(name=client_msg_id), who)
    if what == "join":
        return act(client_msg_id, AddMembers(user_ids=[who]))
    return act(client_msg_id, RemoveMember(user_id=who), who)


async def _claims(line: Scenario, said: Said, steps: list[tuple[str, str, int]]) -> None:
    """Several devices at once; claims of a non-member count as nothing, beyond the head counts as the head."""
    head = (await session_tails.heads(line.store, [GROUP]))[GROUP].seq
    members = await line.store.members_as_of(GROUP, NEWEST, USERS)
    for who, what, seq in steps:
        if what in {"read", "got"}:
            line.say(who, seq if what == "got" else 0, seq if what == "read" else 0, GROUP)
            if who in members and not members[who].left_seq:
                said.delivered[who] = max(said.delivered[who], min(seq, head))
                if what == "read":
                    said.read[who] = max(said.read[who], min(seq, head))
    await line.settled(RECEIPTS)


async def _check(line: Scenario, said: Said, user_id: str, before: ReceiptRow | None) -> ReceiptRow:
    stored = (await line.store.receipts([(GROUP, user_id)])).get((GROUP, user_id)) or ReceiptRow(GROUP, user_id)
    assert stored.read_seq == said.read[user_id]
    assert max(stored.delivered_seq, stored.read_seq) == said.delivered[user_id]
    if before is not None:
        assert (stored.read_seq, stored.read_count) >= (before.read_seq, before.read_count)
        assert stored.delivered_seq >= before.delivered_seq
        assert (stored.sent_seq, stored.sent_count) >= (before.sent_seq, before.sent_count)
    member = (await line.store.members_as_of(GROUP, NEWEST, [user_id])).get(user_id)
    if member is not None and not member.left_seq:
        head = (await session_tails.heads(line.store, [GROUP]))[GROUP]
        assert unread(head, stored, member.joined_count) == _recount(line, said, member)
    return stored


def _recount(line: Scenario, said: Said, member: MemberRow) -> int:
    """G9, message by message."""
    rows = [row for row in line.rows(MessageRow) if row.kind in COUNTABLE_KINDS]
    own = max((row.seq for row in rows if row.sender_id == member.user_id), default=0)
    return sum(row.seq > max(said.read[member.user_id], own, member.joined_seq - 1) for row in rows)
