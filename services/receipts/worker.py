"""The receipts' round: merge, write, publish. Broker and round gather for 250 ms, so that many acks make one write.

In a group a watermark is one row per member, and only the member's own devices
receive it. Authors receive counts, 500 ms after the first change, from a round that
the stage itself requests. In read diffusion only `read_seq` is kept, and it is
written in its round as in every session (docs/adr/0015). A member that has read a
message also counts as having received it.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

from services.receipts.group_receipts import PendingCounts, changed_seqs
from services.receipts.groups import Groups
from services.receipts.heads import Heads
from services.receipts.merge import (
    Claim,
    Merged,
    UserOfSession,
    Watermarks,
    can_be_member,
    recipients_of,
    rows_of,
)
from tidings import ids, metrics
from tidings.broker.base import NewRecord, Producer, Record, TopicPartition
from tidings.codec import decode_persisted, decode_receipt
from tidings.errors import PoisonRecord, StoreUnavailable
from tidings.runtime.dead_letters import put_aside
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.outbox import Outbox
from tidings.runtime.partition_state import PartitionState
from tidings.runtime.round import Round
from tidings.store import history, session_tails
from tidings.store.base import Store, TaggedRow
from tidings.topics import DELIVERIES, MESSAGES_PERSISTED
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, SeqCount, Watermark
from tidings.wire.persisted_pb2 import Persisted

_WATERMARKS_IN_MEMORY = 200_000
# ARCHITECTURE, Stages: the counts of a session are published at most once in this time.
_COUNTS_APART_S = 0.5


class ReceiptsStage:
    """Merges, stores and publishes watermarks, and publishes the counts of groups."""

    name = "receipts"

    def __init__(
        self,
        store: Store,
        producer: Producer,
        epoch: int,
        user_partitions: int,
        request_round: Callable[[], None],
    ) -> None:
        """`epoch`: the topics' epoch. `user_partitions`: the U of the deployment.

        `request_round` is called when counts are due.
        """
        self._request_round = request_round
        self._store = store
        self._producer = producer
        self._epoch = epoch
        self._user_partitions = user_partitions
        self._heads = Heads()
        self._groups = Groups(store)
        self._pending_counts = PendingCounts(_COUNTS_APART_S)
        self._timer: asyncio.TimerHandle | None = None
        # Watermarks that this process has written and published. Only these may be skipped. Watermarks that it has
        # only read may be unconfirmed: law 5 (a replay ignores later rows).
        self._published: PartitionState[UserOfSession, Watermarks, Watermarks] = PartitionState(
            finish=lambda watermarks: watermarks, most=_WATERMARKS_IN_MEMORY
        )

    def decode(self, record: Record) -> Claim | Persisted:
        """Poison in receipts.inbound goes to dead-letters, because nothing was promised for these records yet."""
        if record.topic == MESSAGES_PERSISTED:
            return decode_persisted(record.value)
        receipt = decode_receipt(record.value)
        if not can_be_member(receipt.session_id, receipt.user_id):
            raise PoisonRecord("the user is not a member of the session")
        return Claim(
            receipt.session_id,
            receipt.user_id,
            receipt.delivered_seq,
            receipt.read_seq,
            record.at_ms,
            receipt.is_hidden_from_peer,
        )

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Read nothing: heads come with the records or from the tables."""

    async def run(self, work: Round[Claim | Persisted]) -> None:
        """One round: no watermark is published before a quorum has it."""
        self._published.begin()
        # 1. Gather the claims, and take heads and memberships from stored messages. Repeats are dropped by law 4
        #    (every stage drops what it has seen).
        source_partitions: dict[UserOfSession, int] = {}
        merged, claims = Merged(), self._gather(work, source_partitions)
        outbox = self._persisted_and_poison(work)
        # 2. Load: heads that claims pass, memberships, and the stored watermarks of users without a cached one.
        with work.timed("load"):
            heads = await self._known_heads(claims)
            claims = await self._groups.permitted(claims, heads)
            stored = await self._stored_watermarks(claims)
        work.ensure_still_assigned()
        # 3. Merge: each watermark becomes the maximum of the stored and the claimed one, up to the head.
        for claim in claims:
            pair = (claim.session_id, claim.user_id)
            merged.claim(claim, heads[claim.session_id], self._published.get(pair), stored.get(pair) or Watermarks())
        counts = await self._read_counts(merged)
        # 4. Write. A repeated or late write changes nothing, because each column keeps its maximum: law 7 (a
        #    watermark is its own write timestamp).
        await work.write(self._store, self._writes(merged, counts, source_partitions))
        # 5. Publish the stored watermarks, and the counts of groups that are due.
        self._publish_watermarks(outbox, work, merged, source_partitions)
        # Checked before the counts are removed from the pending ones, so that a dropped round does not lose them.
        work.ensure_still_assigned()
        due = self._publish_counts(outbox)
        await work.emit(self._producer, outbox)
        self._publish_later({name: counted for name, counted in due.items() if work.has_failed(counted[0])})
        # 6. The worker confirms: drafts become the cache, and it commits offset and marks.
        for pair, watermarks in merged.moved.items():
            self._published.drafts(source_partitions[pair])[pair] = watermarks

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        for source_partition, pair, before, watermarks in self._published.confirm(partitions):
            self._count(pair, source_partition, before or Watermarks(), watermarks)
            metrics.WATERMARKS.inc()
        self._wake_when_due()

    def forget(self) -> None:
        """Heads stay in memory, because the counts of the log never change."""
        self._published.forget()
        self._groups.forget()
        self._pending_counts.clear()

    # -- gather ------------------------------------------------------------------------------------

    def _gather(self, work: Round[Claim | Persisted], source_partitions: dict[UserOfSession, int]) -> list[Claim]:
        claims = []
        for partition, arrivals in work.arrivals.items():
            for arrival in arrivals:
                if isinstance(arrival.content, Claim):
                    source_partitions[arrival.content.session_id, arrival.content.user_id] = partition.partition
                    claims.append(arrival.content)
        return claims

    def _persisted_and_poison(self, work: Round[Claim | Persisted]) -> Outbox:
        outbox = Outbox()
        for arrivals in work.arrivals.values():
            for arrival in arrivals:
                content = arrival.content
                if isinstance(content, PoisonRecord):
                    put_aside(outbox, self.name, self._epoch, arrival.record, content)
                elif isinstance(content, Persisted):
                    self._heads.see(content.message)
        for _, _, persisted in work.fresh(_persisted_of, lambda persisted: persisted.source):
            self._groups.see(persisted)
        return outbox

    # -- read from the tables ----------------------------------------------------------------------

    async def _known_heads(self, claims: Collection[Claim]) -> dict[str, int]:
        """The heads by session. A claim above the cached head causes a read, as an ack can overtake a record (H25)."""
        heads = {claim.session_id: self._heads.head(claim.session_id) for claim in claims}
        unknown = {
            claim.session_id for claim in claims if max(claim.delivered_seq, claim.read_seq) > heads[claim.session_id]
        }
        stored = await session_tails.heads(self._store, unknown) if unknown else {}
        for session_id, message in stored.items():
            self._heads.learn(session_id, message.seq, message.count)
            heads[session_id] = max(heads[session_id], message.seq)
        return heads

    async def _stored_watermarks(self, claims: Collection[Claim]) -> dict[UserOfSession, Watermarks]:
        """The stored watermarks of users whose watermarks this process has not published."""
        pairs = {(claim.session_id, claim.user_id) for claim in claims}
        unknown = {pair for pair in pairs if pair not in self._published}
        stored = await self._store.receipts(unknown) if unknown else {}
        return {pair: Watermarks.of_row(row) for pair, row in stored.items()}

    async def _read_counts(self, merged: Merged) -> dict[UserOfSession, int]:
        """The count of messages up to each read watermark that rose, or that was read from the tables."""
        moved = {pair: watermarks for pair, watermarks in merged.moved.items() if self._has_read_on(pair, watermarks)}
        reads = {pair: watermarks.read_seq for pair, watermarks in moved.items()}
        counts = {
            pair: watermarks.read_count or self._heads.count_at(pair[0], watermarks.read_seq)
            for pair, watermarks in moved.items()
        }
        wanted: dict[str, set[int]] = {}
        for pair, count in counts.items():
            if count is None:
                wanted.setdefault(pair[0], set()).add(reads[pair])
        stored = await history.counts_at(self._store, wanted) if wanted else {}
        for (session_id, seq), count in stored.items():
            self._heads.learn(session_id, seq, count)
        # Taken from what was read, because memory keeps only the newest counts of a session and may not keep these.
        found = {pair: stored.get((pair[0], reads[pair])) if count is None else count for pair, count in counts.items()}
        if None in found.values():
            raise StoreUnavailable("a message at or below the head of its session was not found")
        return {pair: count for pair, count in found.items() if count is not None}

    def _has_read_on(self, pair: UserOfSession, watermarks: Watermarks) -> bool:
        published = self._published.get(pair)
        return watermarks.read_seq > (published.read_seq if published is not None else 0)

    # -- write -------------------------------------------------------------------------------------

    def _writes(
        self, merged: Merged, counts: Mapping[UserOfSession, int], source_partitions: Mapping[UserOfSession, int]
    ) -> OrderedWrites:
        """The rows need no order, because each column keeps its maximum."""
        writes = OrderedWrites()
        for pair, watermarks in merged.moved.items():
            for row in rows_of(pair, watermarks, self._published.get(pair), counts.get(pair, 0)):
                writes.append_unordered(TaggedRow(source_partitions[pair], row))
        return writes

    # -- publish -----------------------------------------------------------------------------------

    def _publish_watermarks(
        self,
        outbox: Outbox,
        work: Round[Claim | Persisted],
        merged: Merged,
        source_partitions: Mapping[UserOfSession, int],
    ) -> None:
        for pair, watermarks in merged.moved.items():
            if work.has_failed(source_partitions[pair]):
                continue
            by_partition: dict[int, list[str]] = {}
            for user_id in recipients_of(pair, is_hidden_from_peer=pair in merged.hidden):
                by_partition.setdefault(ids.partition_of(user_id, self._user_partitions), []).append(user_id)
            for number, users in by_partition.items():
                record = NewRecord(_watermark(pair, watermarks, users).SerializeToString())
                outbox.add(source_partitions[pair], TopicPartition(DELIVERIES, number), record)

    # -- counts of groups --------------------------------------------------------------------------

    def _count(self, pair: UserOfSession, source_partition: int, before: Watermarks, after: Watermarks) -> None:
        if ids.is_group_session(pair[0]):
            self._groups.raise_to(pair, after.delivered_seq, after.read_seq)
            seqs = changed_seqs((before.delivered_seq, before.read_seq), (after.delivered_seq, after.read_seq))
            self._pending_counts.add(pair[0], source_partition, seqs, asyncio.get_running_loop().time())
            if self._heads.authors(pair[0], seqs):
                self._groups.receipts(pair[0])  # begins a load, so that the group is in memory when counts are due

    def _wake_when_due(self) -> None:
        due_s = self._pending_counts.next_due_s()
        if due_s is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._request_round()

    def _publish_later(self, due: Mapping[str, tuple[int, list[int]]]) -> None:
        now_s = asyncio.get_running_loop().time()
        for session_id, (source_partition, seqs) in due.items():
            self._pending_counts.add(session_id, source_partition, seqs, now_s)

    def _publish_counts(self, outbox: Outbox) -> Mapping[str, tuple[int, list[int]]]:
        """Add the counts that are due to the outbox and return them. Counts of a group that is being read wait."""
        due = self._pending_counts.due(asyncio.get_running_loop().time())
        authors = {session_id: self._heads.authors(session_id, seqs) for session_id, (_, seqs) in due.items()}
        groups = {session_id: self._groups.receipts(session_id) for session_id, known in authors.items() if known}
        self._publish_later({session_id: due.pop(session_id) for session_id, group in groups.items() if group is None})
        for session_id, receipts in groups.items():
            if receipts is not None:
                self._add_counts(outbox, due[session_id][0], session_id, receipts.counts(authors[session_id]))
        return due

    def _add_counts(
        self, outbox: Outbox, source_partition: int, session_id: str, by_author: Mapping[str, list[SeqCount]]
    ) -> None:
        for author, counts in by_author.items():
            group_counts = GroupCounts(session_id=session_id, recipient_id=author, counts=counts)
            record = NewRecord(Delivery(group_counts=group_counts).SerializeToString())
            number = ids.partition_of(author, self._user_partitions)
            outbox.add(source_partition, TopicPartition(DELIVERIES, number), record)


def _persisted_of(content: Claim | Persisted) -> Persisted | None:
    return content if isinstance(content, Persisted) else None


def _watermark(pair: UserOfSession, watermarks: Watermarks, recipient_ids: list[str]) -> Delivery:
    watermark = Watermark(
        session_id=pair[0],
        user_id=pair[1],
        delivered_seq=watermarks.delivered_seq,
        read_seq=watermarks.read_seq,
        at_ms=watermarks.read_at,
        recipient_ids=recipient_ids,
    )
    return Delivery(watermark=watermark)
