"""Receipts of groups: removals that race with claims, crashes before a record, and how often one is sent."""

import asyncio
from itertools import pairwise

import pytest

from tests.faults.drawn import ProduceFault
from tests.simulation.scenario import Scenario, produces_to, scenario
from tests.simulation.scenarios.groups import (
    act,
    claimed,
    counts,
    create,
    deliveries,
    last_counts,
    marks,
    say,
    watermarks,
)
from tests.unit.persister.builders import GROUP
from tidings.topics import DEAD_LETTERS, DELIVERIES, PERSISTER, RECEIPTS
from tidings.wire.inbound_pb2 import AddMembers, DissolveGroup, RemoveMember

LARGE = 2


@scenario("persister", "receipts")
async def test_group_watermarks_are_of_members_alone(line: Scenario) -> None:
    await line.seen(create("bob", "carl"), say("m1"), say("m2"), act("r", RemoveMember(user_id="carl")))
    for user_id in ("bob", "carl", "mallory"):
        line.say(user_id, 3, 2, GROUP)
    await line.claimed("bob", 3, 2, "g:ffffffffffffffff")
    assert [await marks(line, user_id) for user_id in ("bob", "carl", "mallory")] == [(3, 2), (0, 0), (0, 0)]
    assert [(row.session_id, row.user_id) for row in await line.store.receipt_page(GROUP, "carl", 9)] == []
    assert not await line.store.receipt_page("g:ffffffffffffffff", "", 9)
    assert not line.records(DEAD_LETTERS)


@scenario("persister", "receipts")
async def test_claim_of_a_former_member_changes_nothing(line: Scenario) -> None:
    await line.seen(create("bob", "carl"), *(say(f"m{number}") for number in range(8)))
    await claimed(line, "bob", 2)
    await claimed(line, "carl", 2)
    await line.seen(act("r", RemoveMember(user_id="bob")))
    await claimed(line, "bob", 5)
    assert await marks(line, "bob") == (2, 0)
    await line.seen(act("a", AddMembers(user_ids=["bob"])))
    await claimed(line, "bob", 6)
    assert await marks(line, "bob") == (6, 0)
    await line.seen(act("d", DissolveGroup()))
    await claimed(line, "carl", 7)
    assert await marks(line, "carl") == (2, 0)


@pytest.mark.promise("G10")
@pytest.mark.parametrize("has_receipts_of_group", [False, True])
@scenario("persister")
async def test_member_removed_during_a_claim_gets_nothing_later(line: Scenario, has_receipts_of_group: bool) -> None:
    owner = line.start("receipts")
    await line.seen(create("bob", "carl"), say("m1"), say("m2"))
    if has_receipts_of_group:
        await claimed(line, "carl", 3, 3)
    owner.stop_before(lambda call, _: call == "segments")
    line.say("bob", 0, 2**53 - 1, GROUP)
    await owner.stopped()
    await line.stored(act("r", RemoveMember(user_id="bob")), *(say(f"later{number}", "alice") for number in range(5)))
    owner.resume()
    await line.settled(PERSISTER, RECEIPTS)
    assert max(await marks(line, "bob")) <= 4
    assert not [mark for mark in watermarks(line) if mark.user_id == "bob" and mark.read_seq > 4]


@scenario("persister", "receipts")
async def test_claim_of_a_new_member_counts_before_its_joining_is_seen(line: Scenario) -> None:
    persister, _ = line.owners
    await line.seen(create("bob"), say("m1"))
    await claimed(line, "bob", 1)
    persister.stop_before(produces_to("messages.persisted"))
    line.publish(act("a", AddMembers(user_ids=["dora"])))
    await persister.stopped()
    await claimed(line, "dora", 3)
    assert await marks(line, "dora") == (3, 0)


@scenario("persister", "receipts")
async def test_watermarks_go_to_own_devices_and_counts_to_authors(line: Scenario) -> None:
    await line.seen(create("bob", "carl"), say("m1", "alice"), say("m2", "bob"), say("m3", "alice"))
    await claimed(line, "carl", 4, 3)
    await claimed(line, "bob", 3)
    assert {(one.user_id, *one.recipient_ids) for one in watermarks(line)} == {("carl", "carl"), ("bob", "bob")}
    assert last_counts(line) == {("alice", 2): (2, 1), ("bob", 3): (1, 1), ("alice", 4): (1, 0)}


@scenario("persister", "receipts")
async def test_author_gets_one_record_of_counts_in_half_a_second(line: Scenario) -> None:
    members = [f"user{number:02}" for number in range(40)]
    await line.seen(create(*members), say("m1", "alice"), say("m2", "user00"))
    for member in members:
        line.say(member, 3, 3, GROUP)
        await asyncio.sleep(0.02)
    await line.settled(RECEIPTS)
    for author in ("alice", "user00"):
        at_ms = [
            record.at_ms
            for record, one in zip(line.records(DELIVERIES), deliveries(line), strict=True)
            if one.group_counts.recipient_id == author
        ]
        assert at_ms
        assert all(later - earlier >= 500 for earlier, later in pairwise(at_ms))
    assert last_counts(line) == {("alice", 2): (40, 40), ("user00", 3): (39, 39)}


@scenario("persister", "receipts")
async def test_counts_leave_out_former_members_and_authors(line: Scenario) -> None:
    await line.seen(create("bob", "carl", "dora"), say("m1", "alice"), say("m2", "bob"))
    await claimed(line, "carl", 3, 3)
    await line.seen(act("r1", RemoveMember(user_id="carl")), act("r2", RemoveMember(user_id="bob")))
    counts_before = len(counts(line))
    await claimed(line, "dora", 3, 3)
    assert [one.recipient_id for one in counts(line)[counts_before:]] == ["alice"]
    assert last_counts(line)["alice", 2] == (1, 1)


@scenario("persister", "receipts")
async def test_large_group_keeps_reads_alone(line: Scenario) -> None:
    group = (act("create", create("bob", "carl").create_group, write_max=LARGE), say("m1", "alice"), say("m2"))
    await line.seen(*group)
    await claimed(line, "carl", 3)
    assert await marks(line, "carl") == (0, 0)
    await claimed(line, "carl", 3, 2)
    assert await marks(line, "carl") == (2, 2)
    await claimed(line, "carl", 0, 3)
    assert await marks(line, "carl") == (3, 3)
    assert [(one.user_id, *one.recipient_ids) for one in watermarks(line)] == [("carl", "carl")] * 2
    assert last_counts(line) == {("alice", 2): (1, 1), ("bob", 3): (1, 1)}


@scenario("persister")
async def test_crash_loses_no_read_of_a_large_group(line: Scenario) -> None:
    first = line.start("receipts")
    await line.seen(act("create", create("bob", "carl").create_group, write_max=LARGE), say("m1"), say("m2"))
    await claimed(line, "bob", 0, 1)
    await claimed(line, "bob", 0, 3)
    first.kill()
    line.start("receipts")
    await line.settled(RECEIPTS)
    assert await marks(line, "bob") == (3, 3)


@scenario("persister", "receipts")
async def test_switch_of_modes_holds_for_receipts(line: Scenario) -> None:
    await line.seen(create("bob"), say("m1", "alice"))
    await claimed(line, "bob", 2)
    assert last_counts(line) == {("alice", 2): (1, 0)}
    await line.seen(act("a", AddMembers(user_ids=["dora"]), write_max=LARGE), say("m2"))
    await claimed(line, "bob", 4)
    assert await marks(line, "bob") == (2, 0)
    await line.seen(act("r", RemoveMember(user_id="dora"), write_max=LARGE + 1), say("m3", "alice"))
    await claimed(line, "bob", 6)
    assert await marks(line, "bob") == (6, 0)
    assert last_counts(line)["alice", 6] == (1, 0)


@scenario("persister")
async def test_next_owner_sends_a_stored_watermark_and_its_counts(line: Scenario) -> None:
    first = line.start("receipts")
    await line.seen(create("bob", "carl"), say("m1", "alice"))
    first.stop_before(produces_to(DELIVERIES))
    line.say("bob", 2, 2, GROUP)
    await first.dies()
    line.start("receipts")
    await line.settled(RECEIPTS)
    assert [one.read_seq for one in watermarks(line)] == [2]
    await line.seen(say("m2", "alice"))
    await claimed(line, "bob", 3, 3)
    assert last_counts(line)["alice", 3] == (1, 1)


@pytest.mark.parametrize("table", ["members_as_of", "groups_as_of"])
@scenario("persister")
async def test_silent_tables_hold_a_claim_up_and_lose_none(line: Scenario, table: str) -> None:
    owner = line.start("receipts")
    await line.seen(create("bob"), say("m1", "alice"))
    owner.stop_before(lambda call, _: call == table)
    line.say("bob", 2, 2, GROUP)
    await owner.stopped()
    line.store.stall()
    owner.resume()
    await asyncio.sleep(5)
    assert not watermarks(line)
    line.store.heal()
    await line.settled(RECEIPTS)
    assert await marks(line, "bob") == (2, 2)
    assert last_counts(line) == {("alice", 2): (1, 1)}


@scenario("persister")
async def test_counts_held_up_by_the_tables_hold_up_nothing_else(line: Scenario) -> None:
    owner = line.start("receipts")
    await line.seen(create("bob"), say("m1", "alice"))
    line.say("bob", 2, 2, GROUP)
    await line.until(lambda: bool(watermarks(line)))
    owner.stop_before(lambda call, _: call == "receipts")
    line.publish(act("a", AddMembers(user_ids=["dora"])))  # her watermarks have to be read
    await owner.stopped()
    line.store.stall()
    owner.resume()
    await asyncio.sleep(2)
    assert not line.lags(RECEIPTS)
    assert not counts(line)
    line.store.heal()
    await asyncio.sleep(2)
    assert last_counts(line) == {("alice", 2): (1, 1)}


@scenario("persister", "receipts")
async def test_counts_lost_on_the_way_are_sent_again(line: Scenario) -> None:
    await line.seen(create("bob"), say("m1", "alice"))
    line.say("bob", 2, 2, GROUP)
    await line.until(lambda: bool(watermarks(line)))
    line.log_faults.script_produce(ProduceFault.LOST)
    await asyncio.sleep(5)
    assert last_counts(line) == {("alice", 2): (1, 1)}
