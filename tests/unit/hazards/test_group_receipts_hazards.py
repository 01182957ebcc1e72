"""Hazards at receipts of groups: removals that race with claims, crashes before telling, and how often is told."""

import asyncio
from itertools import pairwise

import pytest

from tests.faults.drawn import LogFaults, ProduceFault
from tests.simulation.virtual_time import simulated
from tests.unit.hazards.owners import produces_to, writes_of
from tests.unit.hazards.pipeline import Pipeline, pipeline
from tests.unit.hazards.test_group_hazards import act, create, say
from tests.unit.persister.builders import GROUP
from tidings.store.rows import ReadRow
from tidings.topics import DEAD_LETTERS, DELIVERIES, PERSISTER, RECEIPTS
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, Watermark
from tidings.wire.inbound_pb2 import AddMembers, Command, DissolveGroup, RemoveMember

LARGE = 2


async def marks(line: Pipeline, user_id: str) -> tuple[int, int]:
    """Delivered and read, as stored."""
    row = (await line.store.receipts([(GROUP, user_id)])).get((GROUP, user_id))
    return (row.delivered_seq, row.read_seq) if row else (0, 0)


def deliveries(line: Pipeline) -> list[Delivery]:
    return [Delivery.FromString(record.value or b"") for record in line.records(DELIVERIES)]


def watermarks(line: Pipeline) -> list[Watermark]:
    return [one.watermark for one in deliveries(line) if one.HasField("watermark")]


def counts(line: Pipeline) -> list[GroupCounts]:
    return [one.group_counts for one in deliveries(line) if one.HasField("group_counts")]


def last_counts(line: Pipeline) -> dict[tuple[str, int], tuple[int, int]]:
    """What authors were told last of each of their messages."""
    told = ((one.recipient_id, count) for one in counts(line) for count in one.counts)
    return {(author, count.seq): (count.delivered, count.read) for author, count in told}


async def stored(line: Pipeline, *sent: Command) -> None:
    """These commands are stored, and receipts has seen them."""
    line.publish(*sent)
    await line.settled(PERSISTER, RECEIPTS)


async def claimed(line: Pipeline, user_id: str, delivered_seq: int = 0, read_seq: int = 0) -> None:
    line.say(user_id, delivered_seq, read_seq, GROUP)
    await line.settled(RECEIPTS)


@simulated
async def test_members_have_watermarks_and_whoever_is_not_in_has_none_and_is_no_poison() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob", "carl"), say("m1"), say("m2"), act("r", RemoveMember(user_id="carl")))
        for user_id in ("bob", "carl", "mallory"):
            line.say(user_id, 3, 2, GROUP)
        line.say("bob", 3, 2, "g:ffffffffffffffff")
        await line.settled(RECEIPTS)
        assert [await marks(line, user_id) for user_id in ("bob", "carl", "mallory")] == [(3, 2), (0, 0), (0, 0)]
        assert [(row.session_id, row.user_id) for row in await line.store.receipt_page(GROUP, "carl", 9)] == []
        assert not await line.store.receipt_page("g:ffffffffffffffff", "", 9)
        assert not line.records(DEAD_LETTERS)


@simulated
async def test_who_is_removed_or_dissolved_with_the_group_claims_in_vain_though_known_as_member() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob", "carl"), *(say(f"m{number}") for number in range(8)))
        await claimed(line, "bob", 2)
        await claimed(line, "carl", 2)
        await stored(line, act("r", RemoveMember(user_id="bob")))
        await claimed(line, "bob", 5)
        assert await marks(line, "bob") == (2, 0)
        await stored(line, act("a", AddMembers(user_ids=["bob"])))
        await claimed(line, "bob", 6)
        assert await marks(line, "bob") == (6, 0)
        await stored(line, act("d", DissolveGroup()))
        await claimed(line, "carl", 7)
        assert await marks(line, "carl") == (2, 0)


@pytest.mark.promise("G10")
@pytest.mark.parametrize("has_crew", [False, True])
@simulated
async def test_who_is_removed_while_a_claim_above_the_head_is_looked_at_is_told_of_nothing_later(
    has_crew: bool,
) -> None:
    async with pipeline() as line:
        line.persister()
        owner = line.receipts()
        await stored(line, create("bob", "carl"), say("m1"), say("m2"))
        if has_crew:
            await claimed(line, "carl", 3, 3)
        owner.pause_before(lambda call, _: call == "segments")
        line.say("bob", 0, 2**53 - 1, GROUP)
        await owner.paused()
        line.publish(act("r", RemoveMember(user_id="bob")), *(say(f"later{number}", "alice") for number in range(5)))
        await line.settled(PERSISTER)
        owner.resume()
        await line.settled(PERSISTER, RECEIPTS)
        assert max(await marks(line, "bob")) <= 4
        assert not [mark for mark in watermarks(line) if mark.user_id == "bob" and mark.read_seq > 4]


@simulated
async def test_who_joined_after_the_members_were_read_is_believed_before_the_message_is_seen() -> None:
    async with pipeline() as line:
        persister = line.persister()
        line.receipts()
        await stored(line, create("bob"), say("m1"))
        await claimed(line, "bob", 1)
        persister.pause_before(produces_to("messages.persisted"))
        line.publish(act("a", AddMembers(user_ids=["dora"])))
        await persister.paused()
        await claimed(line, "dora", 3)
        assert await marks(line, "dora") == (3, 0)


@simulated
async def test_the_own_devices_are_told_of_a_watermark_and_authors_of_counts() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob", "carl"), say("m1", "alice"), say("m2", "bob"), say("m3", "alice"))
        await claimed(line, "carl", 4, 3)
        await claimed(line, "bob", 3)
        assert {(one.user_id, *one.recipient_ids) for one in watermarks(line)} == {("carl", "carl"), ("bob", "bob")}
        assert last_counts(line) == {("alice", 2): (2, 1), ("bob", 3): (1, 1), ("alice", 4): (1, 0)}


@simulated
async def test_many_watermarks_make_one_record_for_each_author_in_half_a_second() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        members = [f"user{number:02}" for number in range(40)]
        await stored(line, create(*members), say("m1", "alice"), say("m2", "user00"))
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


@simulated
async def test_counts_leave_out_who_has_left_and_an_author_who_left_is_told_nothing() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob", "carl", "dora"), say("m1", "alice"), say("m2", "bob"))
        await claimed(line, "carl", 3, 3)
        await stored(line, act("r1", RemoveMember(user_id="carl")), act("r2", RemoveMember(user_id="bob")))
        told_before = len(counts(line))
        await claimed(line, "dora", 3, 3)
        assert [one.recipient_id for one in counts(line)[told_before:]] == ["alice"]
        assert last_counts(line)["alice", 2] == (1, 1)


@simulated
async def test_above_the_line_only_reads_are_kept_and_who_has_read_counts_as_having_received() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        group = (act("create", create("bob", "carl").create_group, write_max=LARGE), say("m1", "alice"), say("m2"))
        await stored(line, *group)
        await claimed(line, "carl", 3)
        assert await marks(line, "carl") == (0, 0)
        await claimed(line, "carl", 3, 2)
        assert await marks(line, "carl") == (2, 2)
        await claimed(line, "carl", 0, 3)
        assert await marks(line, "carl") == (3, 3)
        assert [(one.user_id, *one.recipient_ids) for one in watermarks(line)] == [("carl", "carl")] * 2
        assert last_counts(line) == {("alice", 2): (1, 1), ("bob", 3): (1, 1)}


@simulated
async def test_no_read_of_a_large_group_is_lost_by_a_crash_however_soon_it_follows_another() -> None:
    async with pipeline() as line:
        line.persister()
        first = line.receipts()
        await stored(line, act("create", create("bob", "carl").create_group, write_max=LARGE), say("m1"), say("m2"))
        await claimed(line, "bob", 0, 1)
        await claimed(line, "bob", 0, 3)
        first.kill()
        line.receipts()
        await line.settled(RECEIPTS)
        assert await marks(line, "bob") == (3, 3)


@simulated
async def test_after_a_switch_the_new_way_holds_for_receipts_too() -> None:
    async with pipeline() as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob"), say("m1", "alice"))
        await claimed(line, "bob", 2)
        assert last_counts(line) == {("alice", 2): (1, 0)}
        await stored(line, act("a", AddMembers(user_ids=["dora"]), write_max=LARGE), say("m2"))
        await claimed(line, "bob", 4)
        assert await marks(line, "bob") == (2, 0)
        await stored(line, act("r", RemoveMember(user_id="dora"), write_max=LARGE + 1), say("m3", "alice"))
        await claimed(line, "bob", 6)
        assert await marks(line, "bob") == (6, 0)
        assert last_counts(line)["alice", 6] == (1, 0)


@simulated
async def test_h1_a_watermark_that_was_stored_but_not_told_is_told_by_the_next_owner_with_its_counts() -> None:
    async with pipeline() as line:
        line.persister()
        first = line.receipts()
        await stored(line, create("bob", "carl"), say("m1", "alice"))
        first.pause_before(produces_to(DELIVERIES))
        line.say("bob", 2, 2, GROUP)
        await first.paused()
        first.kill()
        line.receipts()
        await line.settled(RECEIPTS)
        assert [one.read_seq for one in watermarks(line)] == [2]
        line.publish(say("m2", "alice"))
        await line.settled(PERSISTER, RECEIPTS)
        await claimed(line, "bob", 3, 3)
        assert last_counts(line)["alice", 3] == (1, 1)


@simulated
async def test_h26_a_zombies_older_read_of_a_group_that_is_written_late_moves_nothing_back() -> None:
    async with pipeline() as line:
        line.persister()
        zombie = line.receipts()
        await stored(line, create("bob"), *(say(f"m{number}") for number in range(6)))
        zombie.pause_before(writes_of(ReadRow))
        line.say("bob", 2, 2, GROUP)
        await zombie.paused()
        zombie.expire()
        line.receipts()
        await claimed(line, "bob", 5, 5)
        zombie.pause_before(writes_of(ReadRow))
        zombie.resume()
        await asyncio.sleep(5)
        assert await marks(line, "bob") == (5, 5)


@pytest.mark.parametrize("table", ["members_as_of", "groups_as_of"])
@simulated
async def test_tables_that_do_not_answer_hold_a_claim_up_and_lose_none(table: str) -> None:
    async with pipeline() as line:
        line.persister()
        owner = line.receipts()
        await stored(line, create("bob"), say("m1", "alice"))
        owner.pause_before(lambda call, _: call == table)
        line.say("bob", 2, 2, GROUP)
        await owner.paused()
        line.store.stall()
        owner.resume()
        await asyncio.sleep(5)
        assert not watermarks(line)
        line.store.heal()
        await line.settled(RECEIPTS)
        assert await marks(line, "bob") == (2, 2)
        assert last_counts(line) == {("alice", 2): (1, 1)}


@simulated
async def test_counts_that_the_tables_hold_up_are_told_when_they_answer_again_and_hold_up_nothing() -> None:
    async with pipeline() as line:
        line.persister()
        owner = line.receipts()
        await stored(line, create("bob"), say("m1", "alice"))
        line.say("bob", 2, 2, GROUP)
        await line.until(lambda: bool(watermarks(line)))
        owner.pause_before(lambda call, _: call == "receipts")
        line.publish(act("a", AddMembers(user_ids=["dora"])))  # her watermarks have to be read
        await owner.paused()
        line.store.stall()
        owner.resume()
        await asyncio.sleep(2)
        assert not line.lags(RECEIPTS)
        assert not counts(line)
        line.store.heal()
        await asyncio.sleep(2)
        assert last_counts(line) == {("alice", 2): (1, 1)}


@simulated
async def test_counts_whose_record_is_lost_on_the_way_to_the_log_are_told_again() -> None:
    faults = LogFaults()
    async with pipeline(log_faults=faults) as line:
        line.persister()
        line.receipts()
        await stored(line, create("bob"), say("m1", "alice"))
        line.say("bob", 2, 2, GROUP)
        await line.until(lambda: bool(watermarks(line)))
        faults.script_produce(ProduceFault.LOST)
        await asyncio.sleep(5)
        assert last_counts(line) == {("alice", 2): (1, 1)}
