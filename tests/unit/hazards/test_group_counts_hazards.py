"""Counts of large groups: what their members' coming and going costs, and what is told of those who come back."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.simulation.virtual_time import simulated
from tests.unit.hazards.pipeline import Pipeline, pipeline
from tests.unit.hazards.test_group_hazards import act, create, say
from tests.unit.hazards.test_group_receipts_hazards import claimed, counts, last_counts, marks, stored, watermarks
from tests.unit.persister.builders import GROUP
from tidings.store.base import Store, TaggedRow
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


def crew_reads(line: Pipeline) -> list[int]:
    return [line.store.calls[name] for name in CREW]


@simulated
async def test_members_who_come_and_go_are_counted_and_their_group_is_read_once() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        members = [f"user{number:02}" for number in range(40)]
        await stored(line, large(*members), say("m", "alice"))
        await claimed(line, "user00", 0, 2)
        assert last_counts(line) == {("alice", 2): (1, 1)}
        before = crew_reads(line)
        for number in range(1, 30):
            change = (join(f"j{number}", f"new{number:02}"), leave(f"l{number}", members[number]))
            await stored(line, *change, say(f"m{number}", "alice"))
            await claimed(line, f"new{number:02}", 0, 2 + 3 * number)
            await claimed(line, members[number], 0, 2 + 3 * number)
            told = [("alice", 2 + 3 * earlier) for earlier in range(number + 1)]
            assert last_counts(line) == dict.fromkeys(told, (1, 1))
        assert crew_reads(line) == before == [1, 1]


@pytest.mark.field_case("22")
@simulated
async def test_who_comes_back_counts_from_the_second_joining_on() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, large("bob", "carl", "dora"), say("m1", "alice"))
        await claimed(line, "carl", 0, 2)
        await stored(line, leave("l", "carl"))
        await claimed(line, "bob", 0, 2)
        assert last_counts(line) == {("alice", 2): (1, 1)}
        await stored(line, join("j", "carl"), say("m2", "alice"))
        await claimed(line, "dora", 0, 5)
        assert last_counts(line) == {("alice", 2): (2, 2), ("alice", 5): (1, 1)}
        await claimed(line, "carl", 0, 5)
        assert last_counts(line) == {("alice", 2): (2, 2), ("alice", 5): (2, 2)}
        assert crew_reads(line) == [1, 1]


@simulated
async def test_a_read_that_overtakes_the_message_of_its_joining_is_counted_when_that_has_come() -> None:
    async with pipeline() as line:
        persister = line.persister()
        line.receipts()
        await stored(line, large("bob", "carl"), say("m1", "alice"))
        await claimed(line, "bob", 0, 2)
        persister.pause_before(lambda call, target: call == "produce" and target.topic == "messages.persisted")
        line.publish(join("j", "dora"), say("m2", "alice"))
        await persister.paused()
        await claimed(line, "dora", 0, 4)
        assert await marks(line, "dora") == (4, 4)
        assert last_counts(line) == {("alice", 2): (1, 1)}
        persister.resume()
        await line.settled(PERSISTER, RECEIPTS)
        await claimed(line, "carl", 0, 4)
        assert last_counts(line) == {("alice", 2): (2, 2), ("alice", 4): (2, 2)}


@simulated
async def test_nobody_is_told_counts_of_a_group_that_is_dissolved() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, large("bob", "carl"), say("m1", "alice"))
        line.say("bob", 0, 2, GROUP)
        await line.until(lambda: bool(watermarks(line)))
        await stored(line, act("d", DissolveGroup(), write_max=LINE))
        await claimed(line, "carl", 0, 2)
        assert not counts(line)
        assert await marks(line, "carl") == (0, 0)


@simulated
async def test_the_log_read_again_ends_at_the_same_counts() -> None:
    async with pipeline() as line:
        line.persister()
        first = line.receipts()
        await stored(line, large("bob", "carl", "dora"), say("m1", "alice"), leave("l1", "dora"))
        await claimed(line, "bob", 0, 2)
        await stored(line, join("j", "dora"), leave("l2", "bob"), say("m2", "alice"))
        await claimed(line, "carl", 0, 6)
        await claimed(line, "dora", 0, 6)
        assert last_counts(line) == {("alice", 2): (1, 1), ("alice", 6): (2, 2)}
        first.kill()
        told = len(counts(line))
        line.rewind(RECEIPTS)
        line.receipts()
        await line.settled(RECEIPTS)
        assert len(counts(line)) > told
        assert last_counts(line) == {("alice", 2): (1, 1), ("alice", 6): (2, 2)}


@simulated
async def test_a_repeat_of_long_ago_takes_no_crew_back() -> None:
    async with pipeline() as line:
        line.persister()
        first = line.receipts()
        await stored(line, large("bob", "carl"), say("m1", "alice"))
        await claimed(line, "bob", 0, 2)
        await stored(line, leave("l", "bob"))
        first.kill()
        said = line.records(MESSAGES_PERSISTED)[1]
        line.append(MESSAGES_PERSISTED, 0, said.value or b"")
        line.receipts()
        await line.settled(RECEIPTS)
        await claimed(line, "carl", 0, 2)
        assert last_counts(line) == {("alice", 2): (1, 1)}


@pytest.mark.parametrize("table", CREW)
@simulated
async def test_while_a_large_group_is_read_watermarks_go_on_and_its_counts_follow(table: str) -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, large("bob", "carl", "dora"), say("m1", "alice"))
        answers = asyncio.Event()
        held_up(line.store, table, answers)
        await claimed(line, "bob", 0, 2)
        await stored(line, leave("l", "dora"), join("j", "eve"))
        await claimed(line, "carl", 0, 2)
        await claimed(line, "eve", 0, 2)
        assert [one.user_id for one in watermarks(line)] == ["bob", "carl", "eve"]
        assert not counts(line)
        answers.set()
        await asyncio.sleep(1)
        assert last_counts(line) == {("alice", 2): (2, 2)}


def held_up(store: Store, name: str, answers: asyncio.Event) -> None:
    """This read has an answer, as of its beginning, only when the event is set."""
    read = getattr(store, name)

    async def late(*args: object) -> object:
        answer = await read(*args)
        await answers.wait()
        return answer

    setattr(store, name, late)


@simulated
async def test_a_group_that_switches_to_read_diffusion_keeps_what_was_delivered_before() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob", "carl", write_max=3), say("m1", "alice"))
        await claimed(line, "bob", 2)
        assert last_counts(line) == {("alice", 2): (1, 0)}
        await stored(line, act("a", AddMembers(user_ids=["dora"]), write_max=3), say("m2", "alice"))
        await claimed(line, "bob", 4)
        await claimed(line, "dora", 0, 4)
        assert (await line.store.groups_as_of({GROUP: 9}))[GROUP].mode == MODE_READ
        assert last_counts(line) == {("alice", 2): (1, 0), ("alice", 4): (1, 1)}


@simulated
async def test_counts_that_are_due_in_a_round_that_is_dropped_are_told_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, large("bob", "carl"), say("m", "alice"))
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
