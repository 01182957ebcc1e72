"""Deliver's round: from `deliveries` into inboxes and to connections."""

from collections.abc import Collection, Iterator, Mapping
from itertools import chain, islice

from services.fanout.inbox import MOST_BUCKET_ROWS, InboxTail, membership_rows, place
from services.fanout.presence_reader import PendingConnection, PresenceReader
from services.fanout.pushes import Pushes
from tidings import metrics
from tidings.broker.base import Record, TopicPartition
from tidings.codec import decode_delivery
from tidings.errors import StoreUnavailable
from tidings.ids import Position
from tidings.runtime.hints import HintSender
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.partition_state import PartitionState
from tidings.runtime.round import Round
from tidings.store import history
from tidings.store.base import Store
from tidings.topics import DELIVERIES
from tidings.wire.deliveries_pb2 import Delivery, InboxItem
from tidings.wire.push_pb2 import Live, Push, Replaced

_TAILS_IN_MEMORY = 200_000
# A gateway that comes back brings thousands; they must not make the rounds of the others long.
_PENDING_IN_ROUND = 500


class DeliverStage:
    """Numbers inboxes, writes them, and tells whoever is connected."""

    name = "deliver"

    def __init__(self, store: Store, hints: HintSender, presence: PresenceReader, epoch: int) -> None:
        """`epoch` is that of the topics, part of every coordinate."""
        self._store = store
        self._hints = hints
        self._presence = presence
        self._epoch = epoch
        self._tails: PartitionState[str, InboxTail, InboxTail] = PartitionState(
            finish=lambda tail: tail, most=_TAILS_IN_MEMORY
        )
        # Up to which offset a partition's records were pushed: a repeated round does not push again.
        self._pushed: dict[int, int] = {}
        self._unconfirmed: set[int] = set()

    def decode(self, record: Record) -> Delivery:
        """See Stage."""
        return decode_delivery(record.value)

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """A partition is ready only when its presence has been read to the end."""
        await self._presence.follow({partition.partition for partition in partitions})

    async def run(self, work: Round[Delivery]) -> None:
        """One round, from deliveries to inbox rows and pushes."""
        # 1. Drop repeats: at or below the mark, the rows are in the inboxes already (law 4).
        items = [(record, item) for _, record, item in work.fresh(_item_of, lambda item: item.source)]
        # 2. Load the tails of inboxes that are not cached, as of what is confirmed (law 5).
        waiting = tuple(islice(self._presence.pending, _PENDING_IN_ROUND))
        await self._load(work, {user_id: record.partition for record, item in items for user_id in item.recipient_ids})
        # 3. Send `live` to connections that wait for it: up to the tail all is in the inbox, the rest will be pushed.
        await self._answer_pending(work, waiting)
        # 4. Place: each recipient's next inbox_seq, the rows in their order, and the pushes.
        writes = OrderedWrites()
        self._tails.begin()
        messages = self._place(items, writes).records()
        metrics.PUSHES.labels("write").inc(len(messages))
        # 5. Push. Hints may run before the writes, because the message itself is stored (law 11).
        for gateway, push in chain(messages, self._ephemeral(work)):
            self._hints.send(gateway, push)
        self._unconfirmed.update(partition.partition for partition in work.arrivals)
        # 6. Write. Until all rows are confirmed, the round is not, and will be repeated with the same inbox_seqs.
        await work.write(self._store, writes)

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """See Stage."""
        self._tails.confirm(partitions)
        self._unconfirmed.difference_update(partition.partition for partition in partitions)
        if self._presence.pending and (partitions or not self._unconfirmed):
            self._presence.wake()

    def forget(self) -> None:
        """See Stage."""
        self._tails.forget()
        self._pushed.clear()
        self._unconfirmed.clear()

    # -- load ------------------------------------------------------------------------------------

    async def _load(self, work: Round[Delivery], wanted: Mapping[str, int]) -> None:
        """Tails of users (and their partitions) who are not in memory, as of what is confirmed (law 5)."""
        missing: dict[str, Position] = {}
        for user_id, number in wanted.items():
            position = work.positions.get(TopicPartition(DELIVERIES, number))
            if user_id not in self._tails and position is not None:
                missing[user_id] = position
        if missing:
            loaded = await history.inbox_tails_below(self._store, missing, work.ensure_still_assigned)
            # Taken back and given again meanwhile, a partition has another past: none of it may enter the cache.
            work.ensure_still_assigned()
            self._tails.learn({user_id: _tail_of(tail) for user_id, tail in loaded.items()})

    # -- pending connections ----------------------------------------------------------------------

    async def _answer_pending(self, work: Round[Delivery], waiting: Collection[PendingConnection]) -> None:
        """`live`: all up to the tail is in the inbox, all after it will be pushed."""
        try:
            await self._load(work, {pending.connection.user_id: pending.partition for pending in waiting})
        except StoreUnavailable:
            # A hint never holds up the truth (law 11): they say `here` again after 5 s.
            metrics.HINTS.labels(self.name, "lost").inc(len(waiting))
            # What was in memory may have been forgotten meanwhile.
            work.ensure_still_assigned()
        for pending in waiting:
            self._presence.pending.popleft()
            if pending.partition in self._unconfirmed:
                # Its inbox is behind what was pushed before it came; later.
                self._presence.pending.append(pending)
            elif TopicPartition(DELIVERIES, pending.partition) in work.positions:
                self._send_live(pending)

    def _send_live(self, pending: PendingConnection) -> None:
        new, tail = pending.connection, self._tails.get(pending.connection.user_id)
        if not self._presence.presences.is_known(new):
            return  # it has left, or was replaced itself, before it was greeted
        if tail is not None:
            live = Live(user_id=new.user_id, connection_id=new.connection_id, inbox_seq=tail.inbox_seq)
            self._hints.send(new.gateway, Push(gateway_epoch=new.gateway_epoch, live=live))
        for old in pending.replaces:
            replaced = Replaced(user_id=old.user_id, device_id=old.device_id, connection_id=old.connection_id)
            self._hints.send(old.gateway, Push(gateway_epoch=old.gateway_epoch, replaced=replaced))

    # -- place and push --------------------------------------------------------------------------

    def _place(self, items: list[tuple[Record, InboxItem]], writes: OrderedWrites) -> Pushes:
        pushes = Pushes(self._presence.presences)
        for record, item in items:
            draft = self._tails.drafts(record.partition)
            for user_id in item.recipient_ids:
                draft.setdefault(user_id, self._tails[user_id])
            placed = place(item, record, self._epoch, draft, writes)
            for row in membership_rows(item, record.partition):
                writes.append_unordered(row)
            metrics.INBOX_ROWS.inc(len(placed))
            if self._is_first_push(record):
                pushes.add(item, placed, record.partition)
        return pushes

    def _is_first_push(self, record: Record) -> bool:
        if record.offset <= self._pushed.get(record.partition, -1):
            return False
        self._pushed[record.partition] = record.offset
        return True

    def _ephemeral(self, work: Round[Delivery]) -> Iterator[tuple[int, Push]]:
        """Receipts: no coordinates, nothing stored; a repeat is harmless since watermarks are maxima."""
        for arrivals in work.arrivals.values():
            for arrival in arrivals:
                delivery = arrival.content
                assert isinstance(delivery, Delivery)  # poison exists only before the ack
                if delivery.HasField("watermark"):
                    for gateway, epoch in self._gateways_of(delivery.watermark.recipient_ids):
                        yield gateway, Push(gateway_epoch=epoch, watermark=delivery.watermark)
                elif delivery.HasField("group_counts"):
                    for gateway, epoch in self._gateways_of([delivery.group_counts.recipient_id]):
                        yield gateway, Push(gateway_epoch=epoch, group_counts=delivery.group_counts)

    def _gateways_of(self, user_ids: Collection[str]) -> set[tuple[int, int]]:
        return {gateway for user_id in user_ids for gateway in self._presence.presences.gateways_of(user_id)}


def _item_of(delivery: Delivery) -> InboxItem | None:
    return delivery.inbox_item if delivery.HasField("inbox_item") else None


def _tail_of(tail: history.InboxEnd | None) -> InboxTail:
    if tail is None:
        return InboxTail()
    bucket, row = tail.bucket, tail.row
    if row is None:
        # Every number that the bucket can have held counts as given.
        last = bucket.first_inbox_seq + MOST_BUCKET_ROWS - 1
        return InboxTail(last, bucket.bucket, bucket.first_inbox_seq, None)
    return InboxTail(row.inbox_seq, bucket.bucket, bucket.first_inbox_seq, row.delivery_at)
