"""Deliver's round: from the topic `deliveries` into inboxes and to connections."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, islice

from services.fanout.first_pushes import FirstPushes
from services.fanout.inbox import MOST_BUCKET_ROWS, InboxTail, membership_rows, place
from services.fanout.presence import Connection
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
from tidings.store import inbox_tails
from tidings.store.base import Store
from tidings.topics import DELIVERIES
from tidings.wire.deliveries_pb2 import Delivery, InboxItem
from tidings.wire.push_pb2 import Live, Push, Replaced

_TAILS_IN_MEMORY = 200_000
# A gateway that restarts brings thousands of connections at once. The bound keeps rounds short for all other users.
_PENDING_IN_ROUND = 500
# More than the time in which a `hello` is followed by the end of its connection, and within PROTOCOL's 5 s.
_REPLACES_AFTER_S = 1.0
_ENDS_READ_S = 0.2


class DeliverStage:
    """Numbers and writes inbox rows, and pushes messages to the connected users."""

    name = "deliver"

    def __init__(self, store: Store, hints: HintSender, presence: PresenceReader, epoch: int) -> None:
        """`epoch`: the topics' epoch, part of every coordinate."""
        self._store = store
        self._hints = hints
        self._presence = presence
        self._epoch = epoch
        self._tails: PartitionState[str, InboxTail, InboxTail] = PartitionState(
            finish=lambda tail: tail, most=_TAILS_IN_MEMORY
        )
        self._first_pushes = FirstPushes()
        self._unconfirmed: set[int] = set()

    def decode(self, record: Record) -> Delivery:
        return decode_delivery(record.value)

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Read the presence of these partitions to its end, so that no connection is missed."""
        await self._presence.follow({partition.partition for partition in partitions})

    async def run(self, work: Round[Delivery]) -> None:
        """One round, from deliveries to inbox rows and pushes."""
        # 1. Drop repeats by law 4 (every stage drops what it has seen): their rows are in the inboxes already.
        items = [(record, item) for _, record, item in work.fresh(_item_of, lambda item: item.source)]
        # 2. Load the tails of inboxes that are not cached, as of the confirmed position: law 5 (a replay
        #    ignores later rows).
        waiting = tuple(islice(self._presence.pending, _PENDING_IN_ROUND))
        with work.timed("load"):
            await self._load(
                work, {user_id: record.partition for record, item in items for user_id in item.recipient_ids}
            )
        # 3. Send `live` to pending connections. Messages up to the tail are in the inbox; later ones are pushed.
        await self._answer_pending(work, waiting)
        # 4. Place: each recipient's next inbox_seq, the rows in their order, and the pushes.
        writes = OrderedWrites()
        self._tails.begin()
        messages = self._place(items, writes).records()
        metrics.PUSHES.labels("write").inc(len(messages))
        # 5. Push. A push may come before its inbox row, because the persister has stored the message itself. The push
        #    is only a hint: law 11 (a push is a hint, the tables are the truth).
        for gateway, push in chain(messages, self._ephemeral(work)):
            self._hints.send(gateway, push)
        self._unconfirmed.update(partition.partition for partition in work.arrivals)
        # 6. Write. If a row is not confirmed, the round is repeated and gives the same inbox_seqs.
        await work.write(self._store, writes)

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        self._tails.confirm(partitions)
        self._unconfirmed.difference_update(partition.partition for partition in partitions)
        if self._presence.pending and (partitions or not self._unconfirmed):
            self._presence.request_round()

    def forget(self) -> None:
        self._tails.forget()
        self._first_pushes.forget()
        self._unconfirmed.clear()

    # -- load ------------------------------------------------------------------------------------

    async def _load(self, work: Round[Delivery], wanted: Mapping[str, int]) -> None:
        """Cache the missing tails as of the confirmed position: law 5 (a replay ignores later rows).

        `wanted`: the user partition of each user.
        """
        missing: dict[str, Position] = {}
        for user_id, number in wanted.items():
            position = work.positions.get(TopicPartition(DELIVERIES, number))
            if user_id not in self._tails and position is not None:
                missing[user_id] = position
        if missing:
            loaded = await inbox_tails.inbox_tails_below(self._store, missing, work.ensure_still_assigned)
            # A partition may have been revoked and assigned again during the read. No row of its old assignment
            # may enter the cache.
            work.ensure_still_assigned()
            self._tails.learn({user_id: _tail_of(tail) for user_id, tail in loaded.items()})

    # -- pending connections ----------------------------------------------------------------------

    async def _answer_pending(self, work: Round[Delivery], waiting: Collection[PendingConnection]) -> None:
        """Send `live`: messages up to the tail are in the inbox, and all later ones will be pushed."""
        try:
            await self._load(work, {pending.connection.user_id: pending.partition for pending in waiting})
        except StoreUnavailable:
            # `live` is only a hint, so it must not delay the round: law 11 (a push is a hint, the tables are the
            # truth). The gateway repeats `here` after 5 s.
            metrics.HINTS.labels(self.name, "lost").inc(len(waiting))
            # `forget` may have dropped the cached tails during the read.
            work.ensure_still_assigned()
        for pending in waiting:
            self._presence.pending.popleft()
            if pending.partition in self._unconfirmed:
                # The inbox rows of earlier pushes are not confirmed yet, so `live` waits for a later round.
                self._presence.pending.append(pending)
            elif TopicPartition(DELIVERIES, pending.partition) in work.positions:
                self._send_live(pending)

    def _send_live(self, pending: PendingConnection) -> None:
        new, tail = pending.connection, self._tails.get(pending.connection.user_id)
        if not self._presence.presences.is_known(new):
            return  # the connection ended or was replaced before `live` could be sent
        if tail is not None:
            live = Live(user_id=new.user_id, connection_id=new.connection_id, inbox_seq=tail.inbox_seq)
            self._hints.send(new.gateway, Push(gateway_epoch=new.gateway_epoch, live=live))
        for old in pending.replaces:
            asyncio.get_running_loop().call_later(_REPLACES_AFTER_S, self._replace_soon, old, new)

    def _replace_soon(self, old: Connection, new: Connection) -> None:
        """After a stall of this process the end of the newer connection may be read only now, after this timer."""
        asyncio.get_running_loop().call_later(_ENDS_READ_S, self._replace, old, new)

    def _replace(self, old: Connection, new: Connection) -> None:
        """Close the older connection of a device, if the newer one still exists.

        A device that gives up a connection whose `hello` is still on its way connects again at another gateway. That
        `hello` then comes last, and its end a moment later: it must not close the connection that the device uses.
        """
        if self._presence.presences.is_known(new):
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
            if self._first_pushes.take(record):
                pushes.add(item, placed, record.partition)
        return pushes

    def _ephemeral(self, work: Round[Delivery]) -> Iterator[tuple[int, Push]]:
        """Pushes of receipts. They have no coordinates and no rows; a repeat is harmless, as watermarks are maxima."""
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


def _tail_of(tail: inbox_tails.InboxEnd | None) -> InboxTail:
    if tail is None:
        return InboxTail()
    bucket, row = tail.bucket, tail.row
    if row is None:
        # All rows have expired, so every number that the bucket can have held counts as used.
        last = bucket.first_inbox_seq + MOST_BUCKET_ROWS - 1
        return InboxTail(last, bucket.bucket, bucket.first_inbox_seq, None)
    return InboxTail(row.inbox_seq, bucket.bucket, bucket.first_inbox_seq, row.delivery_at)
