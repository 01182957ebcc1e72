"""Keeps `Presences` up to date from Kafka, in a task of its own next to deliver's rounds."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from services.fanout.presence import Connection, Gateways, Presences
from tidings import metrics
from tidings.broker.base import Reader, Record, TopicPartition
from tidings.errors import BrokerUnavailable
from tidings.logging import logger
from tidings.topics import GATEWAYS, PRESENCE
from tidings.wire.gateways_pb2 import GatewayEvent
from tidings.wire.presence_pb2 import Presence, PresenceKey

_POLL_MS = 500
_POLL_RECORDS = 2_000
_RETRY_S = 0.5
_CAUGHT_UP_S = 20.0
# Connections that wait for `live`. When one is dropped, its gateway repeats `here` after 5 s.
_MOST_PENDING = 20_000

_GATEWAYS = TopicPartition(GATEWAYS, 0)


@dataclass(frozen=True, slots=True)
class PendingConnection:
    """A connection that waits for `live`, and the older connections of its device that it replaces."""

    partition: int
    connection: Connection
    replaces: tuple[Connection, ...]


class PresenceReader:
    """Reads `gateways` and the presence of the assigned user partitions, without a consumer group."""

    def __init__(self, reader: Reader, request_round: Callable[[], None]) -> None:
        """`request_round` is called when a connection waits for `live`, which deliver's next round sends."""
        self._reader = reader
        self.request_round = request_round
        self.gateways = Gateways()
        self.presences = Presences(self.gateways)
        self.pending: deque[PendingConnection] = deque(maxlen=_MOST_PENDING)
        # The end offset of each partition when it was assigned. Connections below it do not wait for `live`.
        self._history_ends: dict[TopicPartition, int] = {}
        self._followed: Collection[int] = ()
        # The preparations of both workers call `_assign`, and each replaces the assignment.
        self._assigning = asyncio.Lock()
        self._progress = asyncio.Event()
        self._log = logger("tidings.fanout.presence")

    async def run(self, stopping: asyncio.Event) -> None:
        """Read until `stopping` is set."""
        while not stopping.is_set():
            try:
                records = await self._reader.poll(_POLL_RECORDS, _POLL_MS)
            except BrokerUnavailable as error:
                self._log.warning("presence is not readable", reason=str(error))
                await asyncio.sleep(_RETRY_S)
                continue
            for record in records:
                self._apply(record)
            metrics.USERS_PRESENT.set(len(self.presences))
            self._progress.set()

    async def follow(self, partitions: Collection[int]) -> None:
        """Read these user partitions, and return when they have been read to the end.

        Raises BrokerUnavailable when that takes longer than 20 s; the caller may try again.
        """
        async with self._assigning:
            ends = await self._assign(partitions)
        await self._read_to(ends)

    async def know_gateways(self) -> None:
        """Return when every gateway that has started by now was read. Raises BrokerUnavailable as `follow` does."""
        async with self._assigning:
            ends = await self._assign(self._followed)
        await self._read_to({_GATEWAYS: ends[_GATEWAYS]})

    async def _assign(self, partitions: Collection[int]) -> dict[TopicPartition, int]:
        """Read these partitions from now on. Returns the current end offset of each."""
        wanted = {TopicPartition(PRESENCE, number) for number in partitions} | {_GATEWAYS}
        fresh = wanted - self._history_ends.keys()
        ends = await self._reader.end_offsets(wanted)
        begins = await self._reader.beginning_offsets(fresh) if fresh else {}
        self._history_ends = {place: ends[place] if place in fresh else self._history_ends[place] for place in wanted}
        # Without an await in between, because a dropped partition must be read from its beginning next time.
        self._followed = partitions
        self.presences.keep_only(partitions)
        self._reader.assign({place: begins.get(place, -1) for place in wanted})
        return dict(ends)

    async def _read_to(self, ends: dict[TopicPartition, int]) -> None:
        try:
            await asyncio.wait_for(self._caught_up(ends), _CAUGHT_UP_S)
        except TimeoutError:
            raise BrokerUnavailable("presence was not read to its end in time") from None

    async def _caught_up(self, ends: dict[TopicPartition, int]) -> None:
        while any(self._reader.position(place) < end for place, end in ends.items()):
            self._progress.clear()
            await self._progress.wait()

    def _apply(self, record: Record) -> None:
        # Presence is a hint: a record that cannot be read costs at most a push.
        try:
            if record.topic == GATEWAYS:
                event = GatewayEvent.FromString(record.value or b"")
                self.gateways.apply(event, record.offset)
                self.presences.void(event.gateway)
            elif record.key and record.value:
                self._presence(record, PresenceKey.FromString(record.key), Presence.FromString(record.value))
        except DecodeError as error:
            self._log.error("presence record skipped", topic=record.topic, offset=record.offset, reason=str(error))

    def _presence(self, record: Record, key: PresenceKey, value: Presence) -> None:
        if value.state == Presence.STATE_GONE:
            self.presences.gone(key, value)
        elif value.state == Presence.STATE_HERE:
            connection, older = self.presences.here(key, value, record.partition)
            if record.offset >= self._history_ends.get(TopicPartition(record.topic, record.partition), 0):
                self.pending.append(PendingConnection(record.partition, connection, tuple(older)))
                self.request_round()
