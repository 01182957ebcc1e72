"""Hazards at receipts: watermarks never go back, and none is lost because two records raced."""

import asyncio

import pytest

from tests.faults.drawn import StoreFaults, WriteFault
from tests.simulation.virtual_time import simulated
from tests.unit.hazards.owners import produces_to, writes_of
from tests.unit.hazards.pipeline import SESSION, Pipeline, pipeline, post
from tidings.store.rows import DeliveredRow, ReadRow
from tidings.topics import MESSAGES_PERSISTED, PERSISTER, RECEIPTS

BOB = (SESSION, "bob")


async def watermarks(line: Pipeline) -> tuple[int, int]:
    """Delivered and read, as stored for bob."""
    row = (await line.store.receipts([BOB]))[BOB]
    return row.delivered_seq, row.read_seq


@pytest.mark.hazard("H25")
@simulated
async def test_h25_a_watermark_that_overtakes_its_message_is_checked_against_the_tables_and_kept() -> None:
    async with pipeline() as line:
        persister = line.persister()
        persister.pause_before(produces_to(MESSAGES_PERSISTED))
        line.publish(post("m1"), post("m2"))
        await persister.paused()
        line.receipts()
        line.say("bob", delivered_seq=2, read_seq=1)
        await line.settled(RECEIPTS)
        assert await watermarks(line) == (2, 1)


@pytest.mark.hazard("H26")
@pytest.mark.parametrize("kind", [DeliveredRow, ReadRow])
@simulated
async def test_h26_a_zombies_older_watermark_that_is_written_late_moves_nothing_back(kind: type) -> None:
    async with pipeline() as line:
        line.persister()
        line.publish(*(post(f"m{number}") for number in range(6)))
        zombie = line.receipts()
        await line.settled(PERSISTER, RECEIPTS)
        zombie.pause_before(writes_of(kind))
        line.say("bob", delivered_seq=2, read_seq=2)
        await zombie.paused()
        zombie.expire()
        line.receipts()
        line.say("bob", delivered_seq=5, read_seq=5)
        await line.settled(RECEIPTS)
        zombie.pause_before(writes_of(kind))  # it writes the old one, and not the newer one that it reads next
        zombie.resume()
        await asyncio.sleep(5)
        assert await watermarks(line) == (5, 5)


@pytest.mark.hazard("H26")
@simulated
async def test_h26_a_watermark_that_lands_after_its_retry_and_after_a_higher_one_moves_nothing_back() -> None:
    faults = StoreFaults()
    async with pipeline(store_faults=faults) as line:
        line.persister()
        line.publish(*(post(f"m{number}") for number in range(6)))
        line.receipts()
        await line.settled(PERSISTER, RECEIPTS)
        faults.script_write(WriteFault.LATE)
        line.say("bob", delivered_seq=2)
        await line.until(lambda: line.store.calls["write"] > 3)
        line.say("bob", delivered_seq=5)
        await line.settled(RECEIPTS)
        line.store.land_late()
        assert await watermarks(line) == (5, 0)


@simulated
async def test_a_lower_claim_of_another_device_in_the_same_round_moves_nothing_back() -> None:
    async with pipeline() as line:
        line.persister()
        line.publish(*(post(f"m{number}") for number in range(6)))
        line.receipts()
        await line.settled(PERSISTER, RECEIPTS)
        line.say("bob", delivered_seq=5)
        line.say("bob", delivered_seq=2)
        await line.settled(RECEIPTS)
        assert await watermarks(line) == (5, 0)


@simulated
async def test_a_watermark_below_the_counts_in_memory_is_kept_and_holds_up_nobody() -> None:
    """Memory keeps the newest counts of a session; an older one that is read from the tables does not stay in it."""
    async with pipeline() as line:
        line.persister()
        line.receipts()
        line.publish(*(post(f"m{number}") for number in range(40)))
        await line.settled(PERSISTER, RECEIPTS)
        line.say("bob", delivered_seq=3, read_seq=2)
        await line.settled(RECEIPTS)
        assert await watermarks(line) == (3, 2)


@pytest.mark.promise("G8")
@simulated
async def test_when_a_message_was_read_stays_although_it_is_said_again_after_a_restart() -> None:
    async with pipeline() as line:
        line.persister()
        line.publish(*(post(f"m{number}") for number in range(3)))
        first = line.receipts()
        await line.settled(PERSISTER, RECEIPTS)
        line.say("bob", delivered_seq=2, read_seq=2)
        await line.settled(RECEIPTS)
        before = (await line.store.receipts([BOB]))[BOB]
        first.kill()
        line.receipts()
        await asyncio.sleep(3_600)
        # As clients do on each new connection, and one of two devices may be behind.
        for seq in (1, 2):
            line.say("bob", delivered_seq=seq, read_seq=seq)
            await line.settled(RECEIPTS)
        assert (await line.store.receipts([BOB]))[BOB] == before
        line.say("bob", delivered_seq=3, read_seq=3)
        await line.settled(RECEIPTS)
        after = (await line.store.receipts([BOB]))[BOB]
        assert (after.read_seq, after.read_at >= before.read_at + 3_600_000) == (3, True)
