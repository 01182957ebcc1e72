"""The state of a session in memory: drafts, members, and what a round must have loaded."""

import pytest

from services.persister.state import Draft
from tests.unit.persister.builders import GROUP, command, decided, group_command
from tests.unit.persister.group_builders import group
from tidings.wire.inbound_pb2 import DissolveGroup, RemoveMember, TransferGroup


def test_user_that_the_round_did_not_load_is_an_error() -> None:
    log = group("bob")
    state = log.draft.confirmed()
    state.members.clear()
    with pytest.raises(KeyError):
        decided(Draft.of(state, 0), command("m", sender="bob", session_id=GROUP), 9)


def test_memory_keeps_current_members_only() -> None:
    log = group("bob", "carl")
    log.stored(RemoveMember(user_id="bob"))
    log.draft.loaded["zoe"] = None
    state = log.draft.confirmed()
    assert state.members.keys() == {"alice", "carl"}
    ending = Draft.of(state, 0)
    decided(ending, group_command("end", DissolveGroup()), 9)
    assert not ending.confirmed().members


def test_a_draft_that_is_dropped_leaves_the_state_as_it_was() -> None:
    log = group("bob")
    state = log.draft.confirmed()
    before = (state.group, dict(state.members), state.seq)
    lost = Draft.of(state, 0)
    decided(lost, group_command("r", RemoveMember(user_id="bob")), 8)
    decided(lost, group_command("s", TransferGroup(user_id="bob")), 9)
    assert (state.group, dict(state.members), state.seq) == before
