"""Appends all records of the gateway to Kafka, with one producer that keeps the order of each partition."""

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

# Below the 250 ms that the receipts service gathers next.
GATHER_S = 0.1
_GATHERED_PLACES = 50_000
# Users whose block lists are being read, each with a task. Receipts of others are gathered until a task has ended.
_LISTS_AWAITED = 5_000
_K = TypeVar("_K")
_OUTCOME_UNKNOWN = "Kafka did not confirm the message, so the outcome is unknown; retry with the same client_msg_id"


@dataclass(frozen=True, slots=True)
class GatewayIdentity:
    """The ordinal (= push partition) and the epoch (= offset of the start record)."""

    ordinal: int
    epoch: int


def unavailable() -> Refused:
    """The refusal of a command that Kafka does not confirm."""
    return Refused("unavailable", _OUTCOME_UNKNOWN)


class Publisher:
    """Passes records to the producer. The outcome of an unconfirmed record is unknown and never *failed* (law 8)."""

    def __init__(
        self,
        producer: Producer,
        identity: GatewayIdentity,
        sizes: TopicSizes,
        stamps: Stamps,
        hidden: HiddenReceipts | None = None,
    ) -> None:
        """The producer must be started."""
        self._producer = producer
        self._identity = identity
        self._sizes = sizes
        self._stamps = stamps
        self._unconfirmed: set[asyncio.Future[int]] = set()
        self._gathered: dict[tuple[str, str], Receipt] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._hidden = hidden or HiddenReceipts(None)
        # For each user whose block list is being read: the task, and the receipts that wait for it by session.
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._unmarked: dict[str, dict[str, Receipt]] = {}
        self._is_leaving = False

    def command(self, command: Command, connection_id: str, ref: str | None, on_unknown: Callable[[], None]) -> None:
        """Publish a command with its stamps and origin. The answer goes to `connection_id`.

        Raises Refused(`unavailable`) if the producer's queue is full. Calls `on_unknown` if Kafka does not confirm it.
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
            else:
                metrics.COMMANDS.labels("confirmed").inc()

        self._send(MESSAGES_INBOUND, partition, record).add_done_callback(look)

    async def watermark(self, receipt: Receipt) -> int:
        """Publish a user's watermark, and wait until Kafka has confirmed it. Safe to repeat.

        Raises Refused(`unavailable`) if the producer's queue is full, and BrokerUnavailable.
        """
        await self._hidden.mark_all([receipt])
        return await asyncio.shield(self._append_watermark(receipt))

    def _append_watermark(self, receipt: Receipt) -> asyncio.Future[int]:
        partition = ids.partition_of(receipt.session_id, self._sizes.session_partitions)
        return self._send(RECEIPTS_INBOUND, partition, NewRecord(receipt.SerializeToString()))

    def watermark_soon(self, receipt: Receipt) -> None:
        """Publish within GATHER_S, merged with later watermarks of the user in the session.

        Clients ack every delivery, so one record per ack would be a third of all appends. Raises Refused(`unavailable`)
        if too many are gathered.
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
        """Let the receipt wait for its user's block list, together with the user's other receipts."""
        _merge(self._unmarked.setdefault(receipt.user_id, {}), receipt.session_id, receipt)
        if receipt.user_id not in self._looking:
            self._looking[receipt.user_id] = asyncio.create_task(self._look(receipt.user_id))

    async def _look(self, user_id: str) -> None:
        try:
            first = dict(self._unmarked[user_id])
            await self._hidden.mark_all(first.values())
            for session_id, receipt in self._unmarked[user_id].items():
                if session_id not in first:  # added meanwhile; hidden if the list is still not cached
                    self._hidden.mark(receipt)
        finally:
            self._looking.pop(user_id, None)
            for receipt in self._unmarked.pop(user_id, {}).values():
                self._publish_or_gather(receipt)

    def _publish_or_gather(self, receipt: Receipt) -> None:
        try:
            self._append_watermark(receipt).add_done_callback(partial(self._gather_again, receipt))
        except Refused:
            # The producer's queue is full, so the receipt is gathered again.
            with contextlib.suppress(Refused):
                self.watermark_soon(receipt)

    def _gather_again(self, receipt: Receipt, done: asyncio.Future[int]) -> None:
        """Gather a receipt again that Kafka did not confirm, because a connected client does not repeat it."""
        if done.cancelled() or done.exception() is None or self._is_leaving:
            return
        with contextlib.suppress(Refused):
            self.watermark_soon(receipt)

    def presence(self, user_id: str, device_id: str, connection_id: str, here_since_ms: int | None) -> None:
        """Publish `here` with the wall time of the sign-in, or `gone` (None).

        A lost `here` is repeated until `live` comes; a lost `gone` ends with the epoch.
        """
        key = PresenceKey(user_id=user_id, device_id=device_id, gateway=self._identity.ordinal)
        value = Presence(
            gateway_epoch=self._identity.epoch,
            connection_id=connection_id,
            state=Presence.STATE_GONE if here_since_ms is None else Presence.STATE_HERE,
            since_ms=here_since_ms or 0,
        )
        record = NewRecord(value.SerializeToString(), key.SerializeToString())
        partition = ids.partition_of(user_id, self._sizes.user_partitions)
        with contextlib.suppress(Refused):
            self._send(PRESENCE, partition, record)

    async def flush(self, timeout_s: float) -> None:
        """Before the process ends: wait until every record is confirmed or unknown, at most `timeout_s`.

        Half of that time is for block lists. A receipt whose list is not read by then is published as hidden.
        """
        self._is_leaving = True
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        self._publish_gathered()
        if self._looking:
            await asyncio.wait(self._looking.values(), timeout=timeout_s / 2)
        for _ in range(2):  # a second try for receipts that found the queue full
            self._publish_unread()
            if self._unconfirmed:
                await asyncio.wait(self._unconfirmed, timeout=max(0, deadline_s - loop.time()))

    def _publish_unread(self) -> None:
        """Publish all remaining receipts, hidden if no block list is cached."""
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
        # Marks the exception as retrieved, so that asyncio does not log it.
        if not done.cancelled():
            done.exception()


def _merge(known: dict[_K, Receipt], place: _K, receipt: Receipt) -> None:
    """Add a receipt to those of the same place, as the maxima of both."""
    merged = known.setdefault(place, receipt)
    merged.delivered_seq = max(merged.delivered_seq, receipt.delivered_seq)
    merged.read_seq = max(merged.read_seq, receipt.read_seq)


async def announce_gateway(producer: Producer, ordinal: int) -> GatewayIdentity:
    """Write the start record. Its offset is the epoch of this gateway. Raises BrokerUnavailable."""
    event = GatewayEvent(gateway=ordinal, state=GatewayEvent.STATE_STARTED)
    return GatewayIdentity(ordinal, await producer.produce(GATEWAYS, 0, [_gateway_record(event)]))


async def say_goodbye(producer: Producer, identity: GatewayIdentity) -> None:
    """Write the goodbye record, which ends the epoch. Raises BrokerUnavailable."""
    event = GatewayEvent(gateway=identity.ordinal, state=GatewayEvent.STATE_GOODBYE, gateway_epoch=identity.epoch)
    await producer.produce(GATEWAYS, 0, [_gateway_record(event)])


def _gateway_record(event: GatewayEvent) -> NewRecord:
    return NewRecord(event.SerializeToString(), str(event.gateway).encode())
