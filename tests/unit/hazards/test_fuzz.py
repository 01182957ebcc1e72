"""Random schedules: faults of log and tables, crashes, zombies, pauses, clock jumps. The same seed is the same run.

`HAZARD_SEEDS=7` runs seed 7 alone, `HAZARD_SEEDS=0-5000` many.
"""

import asyncio
import os
import random
from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.unit.hazards.checking import check, expected_messages
from tests.unit.hazards.owners import Owner
from tests.unit.hazards.pipeline import Pipeline, pipeline, post
from tests.unit.hazards.simulation import run
from tests.unit.persister.builders import uuid7
from tidings import ids, topics
from tidings.broker.memory_faults import FaultRates as LogRates
from tidings.broker.memory_faults import Faults as LogFaults
from tidings.store.memory_faults import FaultRates as StoreRates
from tidings.store.memory_faults import Faults as StoreFaults
from tidings.store.rows import ReceiptRow
from tidings.topics import DELIVER, EXPAND, PERSISTER, RECEIPTS
from tidings.wire.inbound_pb2 import Command

STEPS = 60
SEEDS = 150
SESSIONS = ("d:alice:bob", "d:alice:alice", "d:bob:carol", "d:carol:dave")
CALLS = ("write", "produce", "commit", "answer", "newest_messages", "keys", "newest_inbox_rows")


def seeds() -> range:
    first, _, last = os.environ.get("HAZARD_SEEDS", f"0-{SEEDS - 1}").partition("-")
    return range(int(first), int(last or first) + 1)


class Schedule:
    """One run: what happens, drawn from its seed."""

    def __init__(self, line: Pipeline, chance: random.Random) -> None:
        self.line = line
        self.chance = chance
        self.makers: dict[str, Callable[[], Owner]] = {
            "persister": line.persister,
            "expand": line.expand,
            "deliver": line.deliver,
            "receipts": line.receipts,
        }
        self.members: dict[str, list[Owner]] = {stage: [make()] for stage, make in self.makers.items()}
        self.sent: list[Command] = []
        self.claims: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
        self.number = 0

    async def go(self) -> None:
        steps = (
            (self.publish, 30),
            (self.say, 6),
            (self.time_goes_by, 25),
            (self.clock_jumps, 6),
            (self.crash, 5),
            (self.session_runs_out, 4),
            (self.pause_in_mid_round, 6),
            (self.wake_up, 4),
            (self.come_back, 3),
            (self.join, 3),
            (self.stop, 2),
            (self.outage, 4),
        )
        await asyncio.sleep(0)  # the first owners have joined
        weights = [weight for _, weight in steps]
        for step in self.chance.choices([step for step, _ in steps], weights, k=STEPS):
            await step()
            for owner in self.line.owners:
                owner.check()

    # -- clients -----------------------------------------------------------------------------------

    async def publish(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            if self.sent and self.chance.random() < 0.3:
                again = self.chance.choice(self.sent[-40:])
                if self.chance.random() < 0.2:
                    again = post(again.client_msg_id, "another text", again.sender_id, again.session_id)
                self.line.publish(again)
            elif self.chance.random() < 0.03:
                self.line.append(topics.MESSAGES_INBOUND, self.chance.randrange(2), b"\xffpoison")
            else:
                self.sent.append(self.fresh())
                self.line.publish(self.sent[-1])

    def fresh(self) -> Command:
        self.number += 1
        session_id = self.chance.choice(SESSIONS)
        sender = self.chance.choice([*ids.direct_users(session_id)] * 8 + ["mallory"])
        drift_ms = self.chance.choice((0, 0, -60_000, 290_000, 310_000))
        id_time_ms = self.line.clock.wall_ms() + drift_ms
        client_msg_id = uuid7(id_time_ms, self.number) if self.chance.random() < 0.7 else f"id{self.number}"
        sent = post(
            client_msg_id,
            f"text {self.number}",
            sender,
            session_id,
            segment_messages=self.chance.choice((2, 3, 10_000)),
            bucket_rows=self.chance.choice((2, 3, 5_000)),
            recipients_per_part=self.chance.choice((1, 1_000)),
        )
        sent.origin.gateway = self.chance.randrange(2)
        return sent

    async def say(self) -> None:
        """Clients claim what they were acked."""
        for ack in self.chance.sample(self.line.acks(), k=min(3, len(self.line.acks()))):
            user_id = self.chance.choice(ids.direct_users(ack.session_id))
            is_read = self.chance.random() < 0.5
            self.line.say(user_id, ack.seq, ack.seq if is_read else 0, ack.session_id)
            claim = self.claims[ack.session_id, user_id]
            claim[0] = max(claim[0], ack.seq)
            claim[1] = max(claim[1], ack.seq if is_read else 0)

    # -- time --------------------------------------------------------------------------------------

    async def time_goes_by(self) -> None:
        await asyncio.sleep(self.chance.choice((0, 0.001, 0.02, 0.3, 1, 6)))

    async def clock_jumps(self) -> None:
        self.line.clock.jumped_ms += self.chance.choice((-360_000, -5_000, 5_000, 310_000, 660_000, 1_900_000))

    # -- processes ---------------------------------------------------------------------------------

    def any_member(self) -> tuple[str, Owner]:
        stage = self.chance.choice(sorted(self.members))
        return stage, self.chance.choice(self.members[stage])

    async def replace(self, stage: str, gone: Owner) -> None:
        self.members[stage].remove(gone)
        if not self.members[stage] or self.chance.random() < 0.3:
            await self.start(stage)

    async def start(self, stage: str) -> None:
        self.members[stage].append(self.makers[stage]())
        await asyncio.sleep(0)  # it has joined

    async def crash(self) -> None:
        stage, owner = self.any_member()
        owner.kill()
        await self.replace(stage, owner)

    async def session_runs_out(self) -> None:
        """It works on beside its successor until the end."""
        stage, owner = self.any_member()
        owner.expire()
        await self.replace(stage, owner)

    async def pause_in_mid_round(self) -> None:
        stage, owner = self.any_member()
        wanted = self.chance.choice(CALLS)
        owner.pause_before(lambda call, _what: call == wanted)
        await asyncio.sleep(self.chance.choice((0.02, 0.5)))
        owner.pause_before(lambda _call, _what: False)
        if not owner.gate.is_open:
            owner.expire()
            await self.replace(stage, owner)

    async def wake_up(self) -> None:
        """A paused process goes on where it stood, or never."""
        asleep = [owner for owner in self.line.owners if not owner.gate.is_open]
        if asleep:
            self.chance.choice(asleep).resume()

    async def come_back(self) -> None:
        """A zombie learns that its group went on without it, and joins anew."""
        zombies = [owner for owner in self.line.owners if not owner.is_member and owner.is_running]
        if zombies:
            owner = self.chance.choice(zombies)
            async with asyncio.timeout(120):
                await owner.rejoin()
            self.members[owner.stage.name].append(owner)

    async def join(self) -> None:
        stage = self.chance.choice(sorted(self.members))
        if len(self.members[stage]) < 2:
            await self.start(stage)

    async def stop(self) -> None:
        stage, owner = self.any_member()
        async with asyncio.timeout(120):
            await owner.stop()
        await self.replace(stage, owner)

    # -- servers -----------------------------------------------------------------------------------

    async def outage(self) -> None:
        server = self.chance.choice((self.line.broker, self.line.store))
        server.stall()
        await asyncio.sleep(self.chance.choice((0.5, 12)))
        server.heal()

    # -- the end -----------------------------------------------------------------------------------

    async def heal(self) -> None:
        """No more faults; zombies wake up, members are replaced, so that what was not committed is replayed."""
        self.line.broker.faults.rates = LogRates()
        self.line.store.faults.rates = StoreRates()
        for owner in self.line.owners:
            owner.gate.pause_before(lambda _call, _what: False)
            if not owner.is_member and self.chance.random() < 0.5:
                owner.resume()
        for stage, members in self.members.items():
            for owner in members:
                owner.kill()
            self.members[stage] = [self.makers[stage]()]
        self.line.broker.land_late()
        self.line.store.land_late()
        await self.line.settled(PERSISTER, EXPAND, DELIVER, RECEIPTS)

    def check_watermarks(self) -> None:
        stored = {
            (row.session_id, row.user_id): row
            for row in self.line.store.rows("receipts")
            if isinstance(row, ReceiptRow)
        }
        for place, (delivered, read) in self.claims.items():
            assert (stored[place].delivered_seq, stored[place].read_seq) == (delivered, read), place
        for session_id, messages in expected_messages(list(self.line.records(topics.MESSAGES_INBOUND))).items():
            for user_id in ids.direct_users(session_id):
                own = [message.seq for message in messages if message.sender_id == user_id]
                row = stored.get((session_id, user_id))
                assert (row.sent_seq if row else 0) == max(own, default=0)


async def one_run(seed: int) -> None:
    chance = random.Random(seed)
    trouble = chance.choice((0.0, 0.02, 0.1))
    log_faults = LogFaults(seed)
    log_rates = LogRates(
        produce_lost=trouble,
        produce_unconfirmed=trouble,
        produce_partial=trouble,
        produce_late=trouble,
        commit_lost=trouble,
        commit_failed=trouble,
        commit_unconfirmed=trouble,
        coordinator_loading=trouble,
    )
    rates = StoreRates(
        write_lost=trouble,
        write_unconfirmed=trouble,
        write_flickering=trouble,
        write_late=trouble,
        read_failed=trouble / 2,
    )
    async with pipeline(sessions=2, users=2, log_faults=log_faults, store_faults=StoreFaults(seed, rates)) as line:
        log_faults.rates = log_rates
        schedule = Schedule(line, chance)
        await schedule.go()
        await schedule.heal()
        check(line)
        schedule.check_watermarks()


@pytest.mark.promise("G1", "G2", "G3", "G4", "G6", "G8", "G9")
@pytest.mark.hazard("H1", "H2", "H3", "H17", "H22", "H27", "H28", "H29", "H36")
@pytest.mark.bad_input("B2")
@pytest.mark.parametrize("seed", seeds())
def test_no_schedule_breaks_a_promise(seed: int) -> None:
    run(lambda: one_run(seed))
