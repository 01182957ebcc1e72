"""Everything the gateway appends to the log, on one producer that keeps the order of each partition."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from services.gateway.submit.hidden_receipts import HiddenReceipts
from tidings import ids, metrics
from tidings.broker.base import NewRecord, Producer
from tidings.errors import Backpressure, Refused
from tidings.topics import GATEWAYS, MESSAGES_INBOUND, PRESENCE, RECEIPTS_INBOUND, TopicSizes
from tidings.wire.common_pb2 import Origin, Stamps
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.inbound_pb2 import Command
from tidings.wire.presence_pb2 import Presence, PresenceKey
from tidings.wire.receipts_pb2 import Receipt

# Below the 250 ms of the receipts service, whose next stop it is.
GATHER_S = 0.1
_GATHERED_PLACES = 50_000
# Users whose block lists are waited for, each with a task; others are gathered on until one of these is through.
_LISTS_AWAITED = 5_000
_K = TypeVar("_K")
_OUTCOME_UNKNOWN = "the log did not confirm the message; its outcome is unknown, try again with the same client_msg_id"


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """Ordinal (= push partition), and epoch (= offset of the start record)."""

    ordinal: int
    epoch: int


def unavailable() -> Refused:
    """The refusal of a client whose record Kafka does not confirm."""
    return Refused("unavailable", _OUTCOME_UNKNOWN)


class Publisher:
    """Hands records to the producer. What is not confirmed is unknown, never failed (law 8)."""

    def __init__(
        self,
        producer: Producer,
        identity: GatewayIdentity,
        sizes: TopicSizes,
        stamps: Stamps,
        hidden: HiddenReceipts | None = None,
    ) -> None:
        """The producer is started."""
        self._producer = producer
        self._identity = identity
        self._sizes = sizes
        self._stamps = stamps
        self._unconfirmed: set[asyncio.Future[int]] = set()
        self._gathered: dict[tuple[str, str], Receipt] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._hidden = hidden or HiddenReceipts(None)
        # Of each user whose block list is being read: the reading task, and the receipts that wait for it, by session.
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._unmarked: dict[str, dict[str, Receipt]] = {}
        self._is_leaving = False

    def command(self, command: Command, connection_id: str, ref: str | None, on_unknown: Callable[[], None]) -> None:
        """Publish a command, which gets its stamps here, and `connection_id` as the way back of its answer.

        Raises Refused(`unavailable`) when the bound is full; `on_unknown` when the log does not confirm it.
        """
        command.stamps.CopyFrom(self._stamps)
        command.origin.CopyFrom(
            Origin(
                gateway=self._identity.ordinal,
                gateway_epoch=self._identity.epoch,
                connection_id=connection_id,
                ref=ref or "",
            )
        )
        record = NewRecord(command.SerializeToString())
        partition = ids.partition_of(command.session_id, self._sizes.session_partitions)

        def look(done: asyncio.Future[int]) -> None:
            if done.cancelled() or done.exception() is not None:
                metrics.COMMANDS.labels("unknown").inc()
                on_unknown()

        self._send(MESSAGES_INBOUND, partition, record).add_done_callback(look)
        metrics.COMMANDS.labels("published").inc()

    async def watermark(self, receipt: Receipt) -> int:
        """Publish a user's watermark; a repeat is harmless. Raises Refused(`unavailable`) when the bound is full.

        Returns when the log has it; raises BrokerUnavailable.
        """
        await self._hidden.mark_all([receipt])
        return await asyncio.shield(self._append_watermark(receipt))

    def _append_watermark(self, receipt: Receipt) -> asyncio.Future[int]:
        partition = ids.partition_of(receipt.session_id, self._sizes.session_partitions)
        return self._send(RECEIPTS_INBOUND, partition, NewRecord(receipt.SerializeToString()))

    def watermark_soon(self, receipt: Receipt) -> None:
        """Publish within GATHER_S, merged with what the user says of the session until then.

        Every delivery is acked: one record each would be a third of all appends. Raises Refused(`unavailable`)
        when the bound is full.
        """
        place = (receipt.session_id, receipt.user_id)
        _merge(self._gathered, place, receipt)
        if len(self._gathered) > _GATHERED_PLACES:
            del self._gathered[place]
            raise unavailable()
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._publish_gathered)

    def _publish_gathered(self) -> None:
        self._gathering = None
        gathered, self._gathered = self._gathered, {}
        is_room = sum(map(len, self._unmarked.values())) + len(gathered) <= _GATHERED_PLACES
        for receipt in gathered.values():
            if self._hidden.mark(receipt):
                self._publish_or_gather(receipt)
            elif is_room and (receipt.user_id in self._looking or len(self._looking) < _LISTS_AWAITED):
                self._await_list(receipt)
            else:
                with contextlib.suppress(Refused):
                    self.watermark_soon(receipt)

    def _await_list(self, receipt: Receipt) -> None:
        """Receipts of one user wait for this user's block list alone."""
        _merge(self._unmarked.setdefault(receipt.user_id, {}), receipt.session_id, receipt)
        if receipt.user_id not in self._looking:
            self._looking[receipt.user_id] = asyncio.create_task(self._look(receipt.user_id))

    async def _look(self, user_id: str) -> None:
        try:
            first = dict(self._unmarked[user_id])
            await self._hidden.mark_all(first.values())
            for session_id, receipt in self._unmarked[user_id].items():
                if session_id not in first:  # it came meanwhile; hidden where the list is still unknown
                    self._hidden.mark(receipt)
        finally:
            self._looking.pop(user_id, None)
            for receipt in self._unmarked.pop(user_id, {}).values():
                self._publish_or_gather(receipt)

    def _publish_or_gather(self, receipt: Receipt) -> None:
        try:
            self._append_watermark(receipt).add_done_callback(partial(self._gather_again, receipt))
        except Refused:
            # The bound is full now: it stays with what comes until the next time.
            with contextlib.suppress(Refused):
                self.watermark_soon(receipt)

    def _gather_again(self, receipt: Receipt, done: asyncio.Future[int]) -> None:
        """The log did not take it, and its client has no reason to say it again while it is connected."""
        if done.cancelled() or done.exception() is None or self._is_leaving:
            return
        with contextlib.suppress(Refused):
            self.watermark_soon(receipt)

    def presence(self, user_id: str, device_id: str, connection_id: str, is_here: bool) -> None:
        """Publish presence; what is lost is repeated until `live` comes, or void with this gateway's epoch."""
        key = PresenceKey(user_id=user_id, device_id=device_id, gateway=self._identity.ordinal)
        state = Presence.STATE_HERE if is_here else Presence.STATE_GONE
        value = Presence(gateway_epoch=self._identity.epoch, connection_id=connection_id, state=state)
        record = NewRecord(value.SerializeToString(), key.SerializeToString())
        partition = ids.partition_of(user_id, self._sizes.user_partitions)
        with contextlib.suppress(Refused):
            self._send(PRESENCE, partition, record)

    async def flush(self, timeout_s: float) -> None:
        """Before the end: wait until what was handed over is confirmed or unknown, `timeout_s` in all.

        Block lists get half of it; receipts whose list has not come by then are published as hidden.
        """
        self._is_leaving = True
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        self._publish_gathered()
        if self._looking:
            await asyncio.wait(self._looking.values(), timeout=timeout_s / 2)
        for _ in range(2):  # what the full bound refused gets a second try
            self._publish_unread()
            if self._unconfirmed:
                await asyncio.wait(self._unconfirmed, timeout=max(0, deadline_s - loop.time()))

    def _publish_unread(self) -> None:
        """All that is still here, hidden where no block list has come."""
        here = [*self._gathered.values(), *(one for waiting in self._unmarked.values() for one in waiting.values())]
        for looking in self._looking.values():
            looking.cancel()
        self._looking, self._unmarked, self._gathered = {}, {}, {}
        for receipt in here:
            self._hidden.mark(receipt)
            self._publish_or_gather(receipt)

    def _send(self, topic: str, partition: int, record: NewRecord) -> asyncio.Future[int]:
        try:
            confirmed = asyncio.ensure_future(self._producer.send(topic, partition, record))
        except Backpressure as error:
            raise unavailable() from error
        self._unconfirmed.add(confirmed)
        confirmed.add_done_callback(self._settle)
        return confirmed

    def _settle(self, done: asyncio.Future[int]) -> None:
        self._unconfirmed.discard(done)
        # Retrieved here, so that asyncio does not log it.
        if not done.cancelled():
            done.exception()


def _merge(known: dict[_K, Receipt], place: _K, receipt: Receipt) -> None:
    """Watermarks are maxima."""
    there = known.setdefault(place, receipt)
    there.delivered_seq = max(there.delivered_seq, receipt.delivered_seq)
    there.read_seq = max(there.read_seq, receipt.read_seq)


async def announce_gateway(producer: Producer, ordinal: int) -> GatewayIdentity:
    """Write the start record; its offset is the epoch of this gateway. Raises BrokerUnavailable."""
    event = GatewayEvent(gateway=ordinal, state=GatewayEvent.STATE_STARTED)
    return GatewayIdentity(ordinal, await producer.produce(GATEWAYS, 0, [_gateway_record(event)]))


async def say_goodbye(producer: Producer, identity: GatewayIdentity) -> None:
    """Write the goodbye record: the epoch ends. Raises BrokerUnavailable."""
    event = GatewayEvent(gateway=identity.ordinal, state=GatewayEvent.STATE_GOODBYE, gateway_epoch=identity.epoch)
    await producer.produce(GATEWAYS, 0, [_gateway_record(event)])


def _gateway_record(event: GatewayEvent) -> NewRecord:
    return NewRecord(event.SerializeToString(), str(event.gateway).encode())
