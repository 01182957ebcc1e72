"""The receipts' round: merge, write, tell. Broker and round gather for 250 ms, so that many acks make one write."""

from collections.abc import Collection, Mapping

from services.receipts.heads import Heads
from services.receipts.merge import Claim, Merged, Watermarks, is_member, rows_of, sent_row, told
from tidings import ids, metrics
from tidings.broker.base import NewRecord, Producer, Record, TopicPartition
from tidings.codec import decode_persisted, decode_receipt
from tidings.errors import PoisonRecord, StoreUnavailable
from tidings.policy.ordered_writes import OrderedWrites
from tidings.policy.outbox import Outbox
from tidings.runtime.dead_letters import put_aside
from tidings.runtime.round import Round
from tidings.store import history
from tidings.store.base import Store, TaggedRow
from tidings.topics import DELIVERIES, MESSAGES_PERSISTED
from tidings.wire.deliveries_pb2 import Delivery, Watermark
from tidings.wire.persisted_pb2 import Persisted

_WATERMARKS_IN_MEMORY = 200_000

Place = tuple[str, str]


class ReceiptsStage:
    """Keeps watermarks and tells who is concerned."""

    name = "receipts"

    def __init__(self, store: Store, producer: Producer, epoch: int, user_partitions: int) -> None:
        """`epoch` is that of the topics; `user_partitions` the U of the deployment."""
        self._store = store
        self._producer = producer
        self._epoch = epoch
        self._user_partitions = user_partitions
        self._heads = Heads()
        # What this process has written and told: only that may be skipped, never what was merely read (law 5).
        self._told: dict[Place, Watermarks] = {}
        self._drafts: dict[Place, tuple[int, Watermarks]] = {}

    def decode(self, record: Record) -> Claim | Persisted:
        """See Stage. receipts.inbound lies before any promise: poison goes aside."""
        if record.topic == MESSAGES_PERSISTED:
            return decode_persisted(record.value)
        receipt = decode_receipt(record.value)
        if not is_member(receipt.session_id, receipt.user_id):
            raise PoisonRecord("the user is no member of the session")
        return Claim(receipt.session_id, receipt.user_id, receipt.delivered_seq, receipt.read_seq, record.at_ms)

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing: heads come with the records or from the tables."""

    async def run(self, work: Round[Claim | Persisted]) -> None:
        """One round: nothing is told before a quorum has it."""
        tags: dict[Place, int] = {}
        merged, claims = Merged(), self._gather(work, tags)
        outbox = self._persisted_and_poison(work, merged, tags)
        heads = await self._known_heads(claims)
        work.must_be_ours()
        for claim in claims:
            place = (claim.session_id, claim.user_id)
            merged.claim(claim, heads[claim.session_id], self._told.get(place))
        counts = await self._read_counts(merged)
        await work.write(self._store, self._writes(merged, counts, tags))
        self._tell(outbox, work, merged, tags)
        await work.emit(self._producer, outbox)
        self._drafts = {place: (tags[place], marks) for place, marks in merged.moved.items()}

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """See Stage."""
        numbers = {partition.partition for partition in partitions}
        for place, (tag, marks) in self._drafts.items():
            if tag in numbers:
                self._told[place] = marks
                metrics.WATERMARKS.inc()
        self._drafts = {}
        while len(self._told) > _WATERMARKS_IN_MEMORY:
            del self._told[next(iter(self._told))]

    def forget(self) -> None:
        """See Stage. Heads stay: the log's counts never change."""
        self._told.clear()
        self._drafts = {}

    # -- gather ------------------------------------------------------------------------------------

    def _gather(self, work: Round[Claim | Persisted], tags: dict[Place, int]) -> list[Claim]:
        claims = []
        for partition, arrivals in work.arrivals.items():
            for arrival in arrivals:
                if isinstance(arrival.content, Claim):
                    tags[arrival.content.session_id, arrival.content.user_id] = partition.partition
                    claims.append(arrival.content)
        return claims

    def _persisted_and_poison(self, work: Round[Claim | Persisted], merged: Merged, tags: dict[Place, int]) -> Outbox:
        outbox = Outbox()
        for partition, arrivals in work.arrivals.items():
            marks = work.marks[partition]
            for arrival in arrivals:
                content = arrival.content
                if isinstance(content, PoisonRecord):
                    put_aside(outbox, self.name, self._epoch, arrival.record, content)
                elif isinstance(content, Persisted):
                    self._heads.see(content.message)
                    if not marks.is_repeat(content.source):
                        marks.advance(content.source)
                        merged.message(content.message)
                        tags[content.message.session_id, content.message.sender_id] = partition.partition
        return outbox

    # -- what only the tables know -----------------------------------------------------------------

    async def _known_heads(self, claims: Collection[Claim]) -> dict[str, int]:
        """A claim above the known head is checked against the tables: an ack can overtake the record (H25)."""
        heads = {claim.session_id: self._heads.head(claim.session_id) for claim in claims}
        unknown = {
            claim.session_id for claim in claims if max(claim.delivered_seq, claim.read_seq) > heads[claim.session_id]
        }
        stored = await history.heads(self._store, unknown) if unknown else {}
        for session_id, message in stored.items():
            self._heads.learn(session_id, message.seq, message.count)
            heads[session_id] = max(heads[session_id], message.seq)
        return heads

    async def _read_counts(self, merged: Merged) -> dict[Place, int]:
        """The count of messages up to each read watermark that rose."""
        reads = {place: marks.read_seq for place, marks in merged.moved.items() if self._has_read_on(place, marks)}
        counts = {place: self._heads.count_at(place[0], seq) for place, seq in reads.items()}
        wanted: dict[str, set[int]] = {}
        for place, count in counts.items():
            if count is None:
                wanted.setdefault(place[0], set()).add(reads[place])
        rows = await history.rows_at(self._store, wanted) if wanted else {}
        for (session_id, seq), row in rows.items():
            self._heads.learn(session_id, seq, row.count)
        found = {place: self._heads.count_at(place[0], seq) for place, seq in reads.items()}
        if None in found.values():
            raise StoreUnavailable("a message at or below the head of its session was not found")
        return {place: count for place, count in found.items() if count is not None}

    def _has_read_on(self, place: Place, marks: Watermarks) -> bool:
        known = self._told.get(place)
        return marks.read_seq > (known.read_seq if known is not None else 0)

    # -- write -------------------------------------------------------------------------------------

    def _writes(self, merged: Merged, counts: Mapping[Place, int], tags: Mapping[Place, int]) -> OrderedWrites:
        """No order among the rows is needed: each column is its own maximum."""
        writes = OrderedWrites()
        for place, marks in merged.moved.items():
            for row in rows_of(place, marks, self._told.get(place), counts.get(place, 0)):
                writes.beside(TaggedRow(tags[place], row))
        for place, sent in merged.sent.items():
            writes.beside(TaggedRow(tags[place], sent_row(place, sent)))
        return writes

    # -- tell --------------------------------------------------------------------------------------

    def _tell(self, outbox: Outbox, work: Round[Claim | Persisted], merged: Merged, tags: Mapping[Place, int]) -> None:
        for place, marks in merged.moved.items():
            if not work.is_confirmed(tags[place]):
                continue
            by_partition: dict[int, list[str]] = {}
            for user_id in told(place[0]):
                by_partition.setdefault(ids.partition_of(user_id, self._user_partitions), []).append(user_id)
            for number, users in by_partition.items():
                record = NewRecord(_watermark(place, marks, users).SerializeToString())
                outbox.add(tags[place], TopicPartition(DELIVERIES, number), record)


def _watermark(place: Place, marks: Watermarks, recipient_ids: list[str]) -> Delivery:
    watermark = Watermark(
        session_id=place[0],
        user_id=place[1],
        delivered_seq=marks.delivered_seq,
        read_seq=marks.read_seq,
        at_ms=marks.read_at,
        recipient_ids=recipient_ids,
    )
    return Delivery(watermark=watermark)
