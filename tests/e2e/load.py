"""A steady flow of messages between pairs of users. What it receives is checked against the tables."""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from benchmarks.verify import verify
from deploy.local.stack import Stack
from tests.e2e.phone import Phone, connected
from tests.e2e.tables import tables_of
from tests.waiting import becomes, until
from tidings.ids import direct_session
from tidings_client import Message

PAIRS = 20
RATE_PER_S = 100


@dataclass
class Pair:
    """Two users, the second with two devices at different gateways. Times are those of time.perf_counter."""

    phones: list[Phone]
    session_id: str
    senders: dict[str, str] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    acked_at: dict[str, float] = field(default_factory=dict)
    delivered_at: dict[str, float] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)
    breaches: list[str] = field(default_factory=list)

    async def send(self, number: int, due: float) -> None:
        """One message, alternately from either side."""
        sender, receiver = self.phones[number % 2], self.phones[1 - number % 2]
        sent = await sender.client.send(f"message {number} " + "x" * 500, to=receiver.user_id)
        self.due[sent.client_msg_id] = due
        self.senders[sent.client_msg_id] = sender.user_id

    def on_acked(self, client_msg_id: str, seq: int) -> None:
        """The same message may be acked again, but never under another seq."""
        if self.acked.setdefault(client_msg_id, seq) != seq:
            self.breaches.append(f"{client_msg_id} acked as {self.acked[client_msg_id]} and as {seq}")
        self.acked_at.setdefault(client_msg_id, time.perf_counter())

    def on_message(self, user_id: str, message: Message) -> None:
        """Delivered to a user that did not write it."""
        if message.sender_id != user_id:
            self.delivered_at.setdefault(message.client_msg_id, time.perf_counter())

    def is_settled(self) -> bool:
        """Every message acked, and handled by every device."""
        return len(self.acked) == len(self.due) and all(phone.cursor >= len(self.due) for phone in self.phones)

    def delivered_seqs(self) -> dict[tuple[str, str], int]:
        """How far each user's delivered watermark has to come: to the last message of the other."""
        return {
            (self.session_id, phone.user_id): max(
                seq for name, seq in self.acked.items() if self.senders[name] != phone.user_id
            )
            for phone in self.phones[:2]
        }

    def acked_within(self, since: float, until: float) -> list[str]:
        """The messages scheduled after the one time and acked before the other."""
        return [name for name, at in self.acked_at.items() if self.due[name] >= since and at < until]

    def flows_since(self, since: float) -> tuple[float, float] | None:
        """When a message scheduled after that time was first acked, and first delivered; None before both."""
        later = [name for name, due in self.due.items() if due >= since]
        acked = [self.acked_at[name] for name in later if name in self.acked_at]
        delivered = [self.delivered_at[name] for name in later if name in self.delivered_at]
        return (min(acked), min(delivered)) if acked and delivered else None


@dataclass(frozen=True)
class Healed:
    """Seconds from the heal: to the first ack and delivery of any later message, and until every session flowed."""

    first_ack_s: float
    first_delivery_s: float
    everywhere_s: float


class Load:
    """The pairs of one test; no other test writes to these users."""

    def __init__(self, stack: Stack) -> None:
        run = uuid.uuid4().hex[:6]
        self._pairs = [_pair(stack, f"{run}-a{number}", f"{run}-b{number}") for number in range(PAIRS)]
        self._stack = stack
        self._is_flowing = True

    @property
    def sent(self) -> int:
        """Messages so far."""
        return sum(len(pair.due) for pair in self._pairs)

    async def run(self) -> None:
        """Connect every user, then send at the rate."""
        async with connected(self._phones()):
            await self._send()
            await asyncio.Event().wait()

    async def _send(self) -> None:
        start = time.perf_counter()
        for number in itertools.count():
            due = start + number / RATE_PER_S
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if not self._is_flowing:  # asked after the wait: nothing may be sent once the check has begun
                return
            await self._pairs[number % PAIRS].send(number // PAIRS, due)

    async def flows(self, since: float | None = None) -> Healed:
        """Wait until every session has stored and delivered a message scheduled since then (now)."""
        since = time.perf_counter() if since is None else since
        await until(lambda: all(pair.flows_since(since) for pair in self._pairs), "every session flows again")
        times = [flow for pair in self._pairs if (flow := pair.flows_since(since))]
        acks, deliveries = zip(*times, strict=True)
        return Healed(min(acks) - since, min(deliveries) - since, max(*acks, *deliveries) - since)

    def acked_within(self, since: float, until: float) -> list[str]:
        """The messages scheduled after the one time and acked before the other."""
        return [name for pair in self._pairs for name in pair.acked_within(since, until)]

    async def settle_and_check(self) -> None:
        """Stop sending, let everything arrive, and compare with the tables: AssertionError names each breach."""
        self._is_flowing = False
        with suppress(AssertionError):  # what is missing then, the check names
            await until(lambda: all(pair.is_settled() for pair in self._pairs), "everything has arrived")
        assert [reason for phone in self._phones() for reason in phone.failed] == []
        assert [breach for pair in self._pairs for breach in pair.breaches] == []
        async with tables_of(self._stack) as store:
            for devices in (slice(0, 2), slice(2, 3)):
                result = await verify(store, self._results(devices))
                assert result["breaches"] == []
                assert (result["messages"], result["acked"]) == (self.sent, self.sent)

    async def watermarks_arrive(self) -> None:
        """Wait until the tables say that everything is delivered; AssertionError if they never do, or say more."""
        wanted = {place: seq for pair in self._pairs for place, seq in pair.delivered_seqs().items()}
        async with tables_of(self._stack) as store:

            async def stored() -> dict[tuple[str, str], int]:
                return {place: row.delivered_seq for place, row in (await store.receipts(wanted)).items()}

            await becomes(stored, wanted)

    def _results(self, devices: slice) -> dict[str, Any]:
        phones = [phone for pair in self._pairs for phone in pair.phones[devices]]
        seen = {phone.user_id: {"cursor": phone.cursor, "seen": phone.shown} for phone in phones}
        return {"acked": {pair.session_id: pair.acked for pair in self._pairs}, "devices": seen}

    def _phones(self) -> list[Phone]:
        return [phone for pair in self._pairs for phone in pair.phones]


@asynccontextmanager
async def flowing(stack: Stack) -> AsyncIterator[Load]:
    """A load in which every session flows."""
    load = Load(stack)
    running = asyncio.create_task(load.run())
    try:
        await _while_running(running, load.flows())
        yield load
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _while_running(running: asyncio.Task[None], what: Any) -> None:
    waiting = asyncio.ensure_future(what)
    await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        running.result()
    await waiting


def _pair(stack: Stack, first: str, second: str) -> Pair:
    phones = [Phone(stack, first), Phone(stack, second, ordinal=1), Phone(stack, second, "laptop")]
    pair = Pair(phones, direct_session(first, second))
    for phone in phones:
        phone.on_acked = pair.on_acked
        phone.on_message = partial(pair.on_message, phone.user_id)
    return pair
