"""Counts of large groups: what their members' coming and going costs, and what is sent of members that come back."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.simulation.scenario import Scenario, held_up, produces_to, scenario
from tests.simulation.scenarios.groups import act, claimed, counts, create, last_counts, marks, say, watermarks
from tests.unit.persister.builders import GROUP
from tidings.store.base import TaggedRow
from tidings.store.rows import MODE_READ
from tidings.topics import MESSAGES_PERSISTED, PERSISTER, RECEIPTS
from tidings.wire.inbound_pb2 import AddMembers, Command, DissolveGroup, RemoveMember

# All groups of these tests are in read diffusion.
LINE = 2
CREW = ("member_page", "receipt_page")


def large(*members: str) -> Command:
    return act("create", create(*members).create_group, write_max=LINE)


def join(client_msg_id: str, *members: str) -> Command:
    return act(client_msg_id, AddMembers(user_ids=members), write_max=LINE)


def leave(client_msg_id: str, member: str) -> Command:
    return act(client_msg_id, RemoveMember(user_id=member), write_max=LINE)


def member_reads(line: Scenario) -> list[int]:
    return [line.store.calls[name] for name in CREW]


@scenario("persister", "receipts")
async def test_changing_members_are_counted_with_one_read_of_the_group(line: Scenario) -> None:
    members = [f"user{number:02}" for number in range(40)]
    await line.seen(large(*members), say("m", "alice"))
    await claimed(line, "user00", 0, 2)
    assert last_counts(line) == {("alice", 2): (1, 1)}
    before = member_reads(line)
    for number in range(1, 30):
        change = (join(f"j{number}", f"new{number:02}"), leave(f"l{number}", members[number]))
        await line.seen(*change, say(f"m{number}", "alice"))
        await claimed(line, f"new{number:02}", 0, 2 + 3 * number)
        await claimed(line, members[number], 0, 2 + 3 * number)
        wanted = [("alice", 2 + 3 * earlier) for earlier in range(number + 1)]
        assert last_counts(line) == dict.fromkeys(wanted, (1, 1))
    assert member_reads(line) == before == [1, 1]


@pytest.mark.field_case("22")
@scenario("persister", "receipts")
async def test_returning_member_counts_from_the_second_joining(line: Scenario) -> None:
    await line.seen(large("bob", "carl", "dora"), say("m1", "alice"))
    await claimed(line, "carl", 0, 2)
    await line.seen(leave("l", "carl"))
    await claimed(line, "bob", 0, 2)
    assert last_counts(line) == {("alice", 2): (1, 1)}
    await line.seen(join("j", "carl"), say("m2", "alice"))
    await claimed(line, "dora", 0, 5)
    assert last_counts(line) == {("alice", 2): (2, 2), ("alice", 5): (1, 1)}
    await claimed(line, "carl", 0, 5)
    assert last_counts(line) == {("alice", 2): (2, 2), ("alice", 5): (2, 2)}
    assert member_reads(line) == [1, 1]


@scenario("persister", "receipts")
async def test_read_that_overtakes_its_joining_is_counted_later(line: Scenario) -> None:
    persister, _ = line.owners
    await line.seen(large("bob", "carl"), say("m1", "alice"))
    await claimed(line, "bob", 0, 2)
    persister.stop_before(produces_to(MESSAGES_PERSISTED))
    line.publish(join("j", "dora"), say("m2", "alice"))
    await persister.stopped()
    await claimed(line, "dora", 0, 4)
    assert await marks(line, "dora") == (4, 4)
    assert last_counts(line) == {("alice", 2): (1, 1)}
    persister.resume()
    await line.settled(PERSISTER, RECEIPTS)
    await claimed(line, "carl", 0, 4)
    assert last_counts(line) == {("alice", 2): (2, 2), ("alice", 4): (2, 2)}


@scenario("persister", "receipts")
async def test_dissolved_group_gets_no_counts(line: Scenario) -> None:
    await line.seen(large("bob", "carl"), say("m1", "alice"))
    line.say("bob", 0, 2, GROUP)
    await line.until(lambda: bool(watermarks(line)))
    await line.seen(act("d", DissolveGroup(), write_max=LINE))
    await claimed(line, "carl", 0, 2)
    assert not counts(line)
    assert await marks(line, "carl") == (0, 0)


@scenario("persister")
async def test_replay_ends_at_the_same_counts(line: Scenario) -> None:
    first = line.start("receipts")
    await line.seen(large("bob", "carl", "dora"), say("m1", "alice"), leave("l1", "dora"))
    await claimed(line, "bob", 0, 2)
    await line.seen(join("j", "dora"), leave("l2", "bob"), say("m2", "alice"))
    await claimed(line, "carl", 0, 6)
    await claimed(line, "dora", 0, 6)
    assert last_counts(line) == {("alice", 2): (1, 1), ("alice", 6): (2, 2)}
    first.kill()
    wanted = len(counts(line))
    line.rewind(RECEIPTS)
    line.start("receipts")
    await line.settled(RECEIPTS)
    assert len(counts(line)) > wanted
    assert last_counts(line) == {("alice", 2): (1, 1), ("alice", 6): (2, 2)}


@scenario("persister")
async def test_late_repeat_restores_no_former_member(line: Scenario) -> None:
    first = line.start("receipts")
    await line.seen(large("bob", "carl"), say("m1", "alice"))
    await claimed(line, "bob", 0, 2)
    await line.seen(leave("l", "bob"))
    first.kill()
    said = line.records(MESSAGES_PERSISTED)[1]
    line.append(MESSAGES_PERSISTED, 0, said.value or b"")
    line.start("receipts")
    await line.settled(RECEIPTS)
    await claimed(line, "carl", 0, 2)
    assert last_counts(line) == {("alice", 2): (1, 1)}


@pytest.mark.parametrize("table", CREW)
@scenario("persister", "receipts")
async def test_watermarks_continue_while_a_large_group_is_read(line: Scenario, table: str) -> None:
    await line.seen(large("bob", "carl", "dora"), say("m1", "alice"))
    answers = held_up(line.store, table)
    await claimed(line, "bob", 0, 2)
    await line.seen(leave("l", "dora"), join("j", "eve"))
    await claimed(line, "carl", 0, 2)
    await claimed(line, "eve", 0, 2)
    assert [one.user_id for one in watermarks(line)] == ["bob", "carl", "eve"]
    assert not counts(line)
    answers.set()
    await asyncio.sleep(1)
    assert last_counts(line) == {("alice", 2): (2, 2)}


@scenario("persister", "receipts")
async def test_switch_to_read_diffusion_keeps_delivered_counts(line: Scenario) -> None:
    await line.seen(create("bob", "carl", write_max=3), say("m1", "alice"))
    await claimed(line, "bob", 2)
    assert last_counts(line) == {("alice", 2): (1, 0)}
    await line.seen(act("a", AddMembers(user_ids=["dora"]), write_max=3), say("m2", "alice"))
    await claimed(line, "bob", 4)
    await claimed(line, "dora", 0, 4)
    assert (await line.store.groups_as_of({GROUP: 9}))[GROUP].mode == MODE_READ
    assert last_counts(line) == {("alice", 2): (1, 0), ("alice", 4): (1, 1)}


@scenario("persister", "receipts")
async def test_counts_due_in_a_dropped_round_are_still_sent(line: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    await line.seen(large("bob", "carl"), say("m", "alice"))
    line.say("bob", 0, 2, GROUP)
    while await marks(line, "bob") != (2, 2):  # noqa: ASYNC110 - simulated time
        await asyncio.sleep(0.02)
    write = line.store.write

    async def late(rows: Sequence[TaggedRow]) -> frozenset[int]:
        """Above half the session time-out: nothing is said after it."""
        monkeypatch.setattr(line.store, "write", write)
        confirmed = await write(rows)
        await asyncio.sleep(5)
        return confirmed

    monkeypatch.setattr(line.store, "write", late)
    line.say("carl", 0, 1, GROUP)
    await asyncio.sleep(30)
    await line.settled(RECEIPTS)
    assert last_counts(line) == {("alice", 2): (1, 1)}
