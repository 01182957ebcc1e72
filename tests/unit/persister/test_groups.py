"""What becomes of a command in a group: rights, posts, and the mode of delivery."""

import pytest

from services.persister.decisions import Accepted, Decision, Repeated
from tests.unit.persister.builders import DAY_MS, GROUP, NOON_MS, GroupAction, Log, accepted, code, command
from tests.unit.persister.group_builders import ADMINS_SEND, EVERY_ACTION, body, group
from tidings.store.rows import MODE_READ, MODE_WRITE
from tidings.wire.inbound_pb2 import AddMembers, ChangeGroup, ChangeMember, CreateGroup, DissolveGroup, RemoveMember


def test_system_messages_are_not_countable() -> None:
    log = group("bob")
    first = accepted(log.post("bob"))
    assert (first.stored.seq, first.count) == (2, 1)
    added = log.stored(AddMembers(user_ids=["carol"]))
    assert added.count == 1
    assert [row.joined_count for row in added.entry.change.members] == [1]


# -- non-members -----------------------------------------------------------------------------------


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_group_looks_missing_or_ended_to_a_non_member(action: GroupAction) -> None:
    gone, left, removed, none = group("mallory"), group("mallory"), group("mallory"), Log()
    gone.stored(DissolveGroup())
    left.stored(RemoveMember(user_id="mallory"), "mallory")
    removed.stored(RemoveMember(user_id="mallory"))
    for log in (group("bob"), gone, left, removed, none):
        before = log.draft.seq
        refused, posted = log.act(action, "mallory"), log.post("mallory")
        assert refused == posted == none.post("mallory")
        assert code(refused) == "session_not_found"
        assert log.draft.seq == before


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_dissolved_group_refuses_every_command(action: GroupAction) -> None:
    log = group("bob", "ann")
    log.stored(DissolveGroup())
    for user in ("alice", "bob", "ann"):
        assert code(log.act(action, user)) == "session_not_found"
        assert code(log.post(user)) == "session_not_found"
    assert code(log.act(CreateGroup(name="again"))) == "conflict"


def test_repeat_of_a_stored_command_is_acked_after_lost_rights() -> None:
    log = group("bob")
    said = command("said", sender="bob", session_id=GROUP)
    first = accepted(log.take(said))
    log.stored(RemoveMember(user_id="bob"))
    assert log.take(said) == Repeated(first.stored)
    other = command("said", "another text", sender="bob", session_id=GROUP)
    assert code(log.take(other)) == "conflict"
    log.stored(DissolveGroup())
    assert log.take(said) == Repeated(first.stored)


# -- posting ---------------------------------------------------------------------------------------


def test_a_muted_member_posts_again_when_log_time_says_so() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + 1_000))
    log.at_ms = NOON_MS + 999
    assert code(log.post("bob")) == "muted"
    log.at_ms = NOON_MS + 1_000
    accepted(log.post("bob"))


def test_a_mute_of_zero_lifts_it() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    lifted = log.stored(ChangeMember(user_id="bob", muted_until_ms=0))
    assert body(lifted) == {"event": "member_changed", "user_id": "bob", "muted_until": 0}
    accepted(log.post("bob"))


def test_a_muted_member_may_still_leave() -> None:
    log = group("bob")
    log.stored(ChangeMember(user_id="bob", muted_until_ms=NOON_MS + DAY_MS))
    log.stored(RemoveMember(user_id="bob"), "bob")


def test_member_is_refused_where_only_admins_send() -> None:
    log = group("bob", "ann")
    log.stored(ADMINS_SEND)
    assert code(log.post("bob")) == "forbidden"
    accepted(log.post("ann"))
    accepted(log.post("alice"))


def test_a_reply_to_a_missing_message_is_refused_in_a_group_too() -> None:
    log = group("bob")
    assert code(log.post("bob", reply_to=2)) == "invalid_body"
    accepted(log.post("bob", reply_to=1))


def test_non_member_with_a_bad_reply_gets_session_not_found() -> None:
    assert code(group("bob").post("mallory", reply_to=99)) == "session_not_found"


# -- the way of delivery ---------------------------------------------------------------------------


def modes(decision: Decision) -> tuple[int, int, int]:
    assert isinstance(decision, Accepted), decision
    return decision.entry.change.mode, decision.entry.change.mode_from, decision.entry.change.mode_to


def test_message_of_a_mode_switch_says_so_and_goes_to_inboxes() -> None:
    log = Log()
    log.write_diffusion_max = 5
    log.stored(CreateGroup(name="crew", member_ids=["b", "c", "d", "e"]))
    assert modes(log.post()) == (MODE_WRITE, 0, 0)
    crossed = log.stored(AddMembers(user_ids=["f"]))
    assert modes(crossed) == (MODE_WRITE, MODE_WRITE, MODE_READ)
    assert body(crossed) == {
        "event": "members_added",
        "user_ids": ["f"],
        "mode": "read",
        "mode_from": "write",
        "mode_to": "read",
    }
    assert modes(log.post()) == (MODE_READ, 0, 0)
    assert modes(log.stored(RemoveMember(user_id="b"))) == (MODE_READ, 0, 0)
    back = log.stored(RemoveMember(user_id="c"))
    assert modes(back) == (MODE_WRITE, MODE_READ, MODE_WRITE)
    assert body(back) == {"event": "member_removed", "user_id": "c", "mode_from": "read", "mode_to": "write"}
    assert modes(log.post()) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(AddMembers(user_ids=["b"]))) == (MODE_WRITE, 0, 0)


def test_message_of_a_large_creation_goes_to_inboxes() -> None:
    log = Log()
    log.write_diffusion_max = 2
    made = log.stored(CreateGroup(name="crew", member_ids=["b", "c"]))
    assert modes(made) == (MODE_WRITE, MODE_WRITE, MODE_READ)
    assert {"mode_from": "write", "mode_to": "read"}.items() <= body(made).items()
    assert modes(log.stored(ChangeGroup(name="band"))) == (MODE_READ, 0, 0)
    assert modes(log.stored(DissolveGroup())) == (MODE_READ, 0, 0)


def test_the_stamped_limit_counts_for_membership_messages_only() -> None:
    log = Log()
    log.stored(CreateGroup(name="crew", member_ids=["b", "c"]))
    log.write_diffusion_max = 2
    assert modes(log.post()) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(ChangeGroup(name="band"))) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(RemoveMember(user_id="b"))) == (MODE_WRITE, 0, 0)
    assert modes(log.stored(AddMembers(user_ids=["b"]))) == (MODE_WRITE, MODE_WRITE, MODE_READ)
