"""Receipts: watermarks never go back, and none is lost because two records raced."""

import asyncio

import pytest

from tests.faults.drawn import WriteFault
from tests.simulation.scenario import Scenario, post, produces_to, scenario, writes_of
from tests.simulation.scenarios.groups import create, marks
from tests.unit.persister.builders import GROUP, SESSION
from tidings.store.rows import DeliveredRow, ReadRow
from tidings.topics import MESSAGES_PERSISTED, PERSISTER, RECEIPTS

BOB = (SESSION, "bob")


@pytest.mark.hazard("H25")
@scenario()
async def test_watermark_that_overtakes_its_message_is_kept(line: Scenario) -> None:
    persister = line.start("persister", stop_before=produces_to(MESSAGES_PERSISTED))
    line.publish(post("m1"), post("m2"))
    await persister.stopped()
    line.start("receipts")
    await line.claimed("bob", delivered_seq=2, read_seq=1)
    assert await marks(line, "bob", SESSION) == (2, 1)


@pytest.mark.hazard("H26")
@pytest.mark.parametrize(("session_id", "kind"), [(SESSION, DeliveredRow), (SESSION, ReadRow), (GROUP, ReadRow)])
@scenario("persister")
async def test_late_watermark_of_a_zombie_moves_nothing_back(line: Scenario, session_id: str, kind: type) -> None:
    zombie = line.start("receipts")
    await line.seen(create("bob"), *(post(f"m{number}", session_id=session_id) for number in range(6)))
    zombie.stop_before(writes_of(kind))
    line.say("bob", 2, 2, session_id)
    await zombie.stopped()
    zombie.expire()
    line.start("receipts")
    await line.claimed("bob", 5, 5, session_id)
    zombie.stop_before(writes_of(kind))  # it writes the old one, and not the newer one that it reads next
    zombie.resume()
    await asyncio.sleep(5)
    assert await marks(line, "bob", session_id) == (5, 5)


@pytest.mark.hazard("H26")
@scenario("persister")
async def test_late_write_of_a_watermark_moves_nothing_back(line: Scenario) -> None:
    line.publish(*(post(f"m{number}") for number in range(6)))
    line.start("receipts")
    await line.settled(PERSISTER, RECEIPTS)
    line.store_faults.script_write(WriteFault.LATE)
    line.say("bob", delivered_seq=2)
    await line.until(lambda: line.store.calls["write"] > 3)
    await line.claimed("bob", delivered_seq=5)
    line.store.land_late()
    assert await marks(line, "bob", SESSION) == (5, 0)


@scenario("persister")
async def test_lower_claim_of_another_device_moves_nothing_back(line: Scenario) -> None:
    line.publish(*(post(f"m{number}") for number in range(6)))
    line.start("receipts")
    await line.settled(PERSISTER, RECEIPTS)
    line.say("bob", delivered_seq=5)
    await line.claimed("bob", delivered_seq=2)
    assert await marks(line, "bob", SESSION) == (5, 0)


@scenario("persister", "receipts")
async def test_watermark_below_the_counts_in_memory_is_kept(line: Scenario) -> None:
    """Memory keeps the newest counts of a session; an older one that is read from the tables does not stay in it."""
    await line.seen(*(post(f"m{number}") for number in range(40)))
    await line.claimed("bob", delivered_seq=3, read_seq=2)
    assert await marks(line, "bob", SESSION) == (3, 2)


@pytest.mark.promise("G8")
@scenario("persister")
async def test_time_of_reading_stays_when_it_is_claimed_again(line: Scenario) -> None:
    line.publish(*(post(f"m{number}") for number in range(3)))
    first = line.start("receipts")
    await line.settled(PERSISTER, RECEIPTS)
    await line.claimed("bob", delivered_seq=2, read_seq=2)
    before = (await line.store.receipts([BOB]))[BOB]
    first.kill()
    line.start("receipts")
    await asyncio.sleep(3_600)
    # As clients do on each new connection, and one of two devices may be behind.
    for seq in (1, 2):
        await line.claimed("bob", delivered_seq=seq, read_seq=seq)
    assert (await line.store.receipts([BOB]))[BOB] == before
    await line.claimed("bob", delivered_seq=3, read_seq=3)
    after = (await line.store.receipts([BOB]))[BOB]
    assert (after.read_seq, after.read_at >= before.read_at + 3_600_000) == (3, True)
