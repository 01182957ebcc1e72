"""The receipts' round: merge, write, tell. Broker and round gather for 250 ms, so that many acks make one write.

Groups: a watermark is one row per member, and the member's own devices are told
of it; authors are told counts, 500 ms after the first one changed, by a round of
which the stage itself is the cause (`wake`). In read diffusion only `read` is
kept, written in its round as everywhere (docs/adr/0015), and who has read a
message counts as having received it, too.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping

from services.receipts.crews import Untold, changed_seqs
from services.receipts.groups import Groups
from services.receipts.heads import Heads
from services.receipts.merge import Claim, Merged, Watermarks, can_be_member, rows_of, told
from tidings import ids, metrics
from tidings.broker.base import NewRecord, Producer, Record, TopicPartition
from tidings.codec import decode_persisted, decode_receipt
from tidings.errors import PoisonRecord, StoreUnavailable
from tidings.runtime.dead_letters import put_aside
from tidings.runtime.ordered_writes import OrderedWrites
from tidings.runtime.outbox import Outbox
from tidings.runtime.partition_state import PartitionState
from tidings.runtime.round import Round
from tidings.store import history
from tidings.store.base import Store, TaggedRow
from tidings.topics import DELIVERIES, MESSAGES_PERSISTED
from tidings.wire.deliveries_pb2 import Delivery, GroupCounts, SeqCount, Watermark
from tidings.wire.persisted_pb2 import Persisted

_WATERMARKS_IN_MEMORY = 200_000
# DESIGN section 5: counts are told at most once in this time and session.
_COUNTS_APART_S = 0.5

Place = tuple[str, str]


def _nobody_wakes() -> None:
    """Until a worker is there."""


class ReceiptsStage:
    """Keeps watermarks and tells who is concerned."""

    name = "receipts"

    def __init__(self, store: Store, producer: Producer, epoch: int, user_partitions: int) -> None:
        """`epoch` is that of the topics; `user_partitions` the U of the deployment. `wake` is to be the worker's."""
        self.wake: Callable[[], None] = _nobody_wakes
        self._store = store
        self._producer = producer
        self._epoch = epoch
        self._user_partitions = user_partitions
        self._heads = Heads()
        self._groups = Groups(store)
        self._untold = Untold(_COUNTS_APART_S)
        self._timer: asyncio.TimerHandle | None = None
        # What this process has written and told: only that may be skipped, never what was merely read (law 5).
        self._told: PartitionState[Place, Watermarks, Watermarks] = PartitionState(
            finish=lambda marks: marks, most=_WATERMARKS_IN_MEMORY
        )

    def decode(self, record: Record) -> Claim | Persisted:
        """See Stage. receipts.inbound lies before any promise: poison goes aside."""
        if record.topic == MESSAGES_PERSISTED:
            return decode_persisted(record.value)
        receipt = decode_receipt(record.value)
        if not can_be_member(receipt.session_id, receipt.user_id):
            raise PoisonRecord("the user is no member of the session")
        return Claim(
            receipt.session_id,
            receipt.user_id,
            receipt.delivered_seq,
            receipt.read_seq,
            record.at_ms,
            receipt.is_hidden_from_peer,
        )

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing: heads come with the records or from the tables."""

    async def run(self, work: Round[Claim | Persisted]) -> None:
        """One round: no watermark is published before a quorum has it."""
        # 1. Gather the claims; learn heads and memberships from stored messages. Repeats are dropped (law 4).
        source_partitions: dict[Place, int] = {}
        merged, claims = Merged(), self._gather(work, source_partitions)
        outbox = self._persisted_and_poison(work)
        # 2. Load: heads that claims pass, memberships, and the stored watermarks of users without a cached one.
        heads = await self._known_heads(claims)
        claims = await self._groups.permitted(claims, heads)
        stored = await self._stored_marks(claims)
        work.ensure_still_assigned()
        # 3. Merge: each watermark becomes the maximum of what is stored and what is claimed, up to the head.
        for claim in claims:
            place = (claim.session_id, claim.user_id)
            merged.claim(claim, heads[claim.session_id], self._told.get(place), stored.get(place) or Watermarks())
        counts = await self._read_counts(merged)
        # 4. Write. Every column is its own maximum, so a repeated or late write changes nothing (law 5).
        await work.write(self._store, self._writes(merged, counts, source_partitions))
        # 5. Publish what is stored, and the counts of groups that are due.
        self._tell(outbox, work, merged, source_partitions)
        # A round that is dropped must not take the counts that are due with it.
        work.ensure_still_assigned()
        due = self._tell_counts(outbox)
        await work.emit(self._producer, outbox)
        self._tell_again({name: told for name, told in due.items() if work.has_failed(told[0])})
        # 6. The worker confirms: drafts become the cache, offset and marks are committed.
        self._told.begin()
        for place, marks in merged.moved.items():
            self._told.drafts(source_partitions[place])[place] = marks

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """See Stage."""
        for source_partition, place, before, marks in self._told.confirm(partitions):
            self._count(place, source_partition, before or Watermarks(), marks)
            metrics.WATERMARKS.inc()
        self._wake_when_due()

    def forget(self) -> None:
        """See Stage. Heads stay: the log's counts never change."""
        self._told.forget()
        self._groups.forget()
        self._untold.clear()

    # -- gather ------------------------------------------------------------------------------------

    def _gather(self, work: Round[Claim | Persisted], source_partitions: dict[Place, int]) -> list[Claim]:
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

    async def _stored_marks(self, claims: Collection[Claim]) -> dict[Place, Watermarks]:
        """What is stored of those of whom this process has told nothing."""
        places = {(claim.session_id, claim.user_id) for claim in claims}
        unknown = {place for place in places if place not in self._told}
        stored = await self._store.receipts(unknown) if unknown else {}
        return {place: Watermarks.of_row(row) for place, row in stored.items()}

    async def _read_counts(self, merged: Merged) -> dict[Place, int]:
        """The count of messages up to each read watermark that rose, or was read."""
        moved = {place: marks for place, marks in merged.moved.items() if self._has_read_on(place, marks)}
        reads = {place: marks.read_seq for place, marks in moved.items()}
        counts = {
            place: marks.read_count or self._heads.count_at(place[0], marks.read_seq) for place, marks in moved.items()
        }
        wanted: dict[str, set[int]] = {}
        for place, count in counts.items():
            if count is None:
                wanted.setdefault(place[0], set()).add(reads[place])
        rows = await history.rows_at(self._store, wanted) if wanted else {}
        for (session_id, seq), row in rows.items():
            self._heads.learn(session_id, seq, row.count)
        # Out of the rows themselves: memory keeps the newest counts of a session, and these may be older.
        found = {
            place: rows[place[0], reads[place]].count if count is None and (place[0], reads[place]) in rows else count
            for place, count in counts.items()
        }
        if None in found.values():
            raise StoreUnavailable("a message at or below the head of its session was not found")
        return {place: count for place, count in found.items() if count is not None}

    def _has_read_on(self, place: Place, marks: Watermarks) -> bool:
        known = self._told.get(place)
        return marks.read_seq > (known.read_seq if known is not None else 0)

    # -- write -------------------------------------------------------------------------------------

    def _writes(
        self, merged: Merged, counts: Mapping[Place, int], source_partitions: Mapping[Place, int]
    ) -> OrderedWrites:
        """No order among the rows is needed: each column is its own maximum."""
        writes = OrderedWrites()
        for place, marks in merged.moved.items():
            for row in rows_of(place, marks, self._told.get(place), counts.get(place, 0)):
                writes.append_unordered(TaggedRow(source_partitions[place], row))
        return writes

    # -- tell --------------------------------------------------------------------------------------

    def _tell(
        self, outbox: Outbox, work: Round[Claim | Persisted], merged: Merged, source_partitions: Mapping[Place, int]
    ) -> None:
        for place, marks in merged.moved.items():
            if work.has_failed(source_partitions[place]):
                continue
            by_partition: dict[int, list[str]] = {}
            for user_id in told(place, is_hidden_from_peer=place in merged.hidden):
                by_partition.setdefault(ids.partition_of(user_id, self._user_partitions), []).append(user_id)
            for number, users in by_partition.items():
                record = NewRecord(_watermark(place, marks, users).SerializeToString())
                outbox.add(source_partitions[place], TopicPartition(DELIVERIES, number), record)

    # -- counts of groups --------------------------------------------------------------------------

    def _count(self, place: Place, source_partition: int, before: Watermarks, after: Watermarks) -> None:
        if ids.is_group_session(place[0]):
            self._groups.raise_to(place, after.delivered_seq, after.read_seq)
            seqs = changed_seqs((before.delivered_seq, before.read_seq), (after.delivered_seq, after.read_seq))
            self._untold.add(place[0], source_partition, seqs, asyncio.get_running_loop().time())
            if self._heads.authors(place[0], seqs):
                self._groups.crew(place[0])  # so that it is there when the counts are due

    def _wake_when_due(self) -> None:
        due_s = self._untold.next_due_s()
        if due_s is not None and self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    def _tell_again(self, due: Mapping[str, tuple[int, list[int]]]) -> None:
        now_s = asyncio.get_running_loop().time()
        for session_id, (source_partition, seqs) in due.items():
            self._untold.add(session_id, source_partition, seqs, now_s)

    def _tell_counts(self, outbox: Outbox) -> Mapping[str, tuple[int, list[int]]]:
        """What is told in this round. A group whose crew is still being read holds up nothing: it is told later."""
        due = self._untold.due(asyncio.get_running_loop().time())
        authors = {session_id: self._heads.authors(session_id, seqs) for session_id, (_, seqs) in due.items()}
        crews = {session_id: self._groups.crew(session_id) for session_id, known in authors.items() if known}
        self._tell_again({session_id: due.pop(session_id) for session_id, crew in crews.items() if crew is None})
        for session_id, crew in crews.items():
            if crew is not None:
                self._add_counts(outbox, due[session_id][0], session_id, crew.counts(authors[session_id]))
        return due

    def _add_counts(
        self, outbox: Outbox, source_partition: int, session_id: str, told: Mapping[str, list[SeqCount]]
    ) -> None:
        for author, counts in told.items():
            told_counts = GroupCounts(session_id=session_id, recipient_id=author, counts=counts)
            record = NewRecord(Delivery(group_counts=told_counts).SerializeToString())
            number = ids.partition_of(author, self._user_partitions)
            outbox.add(source_partition, TopicPartition(DELIVERIES, number), record)


def _persisted_of(content: Claim | Persisted) -> Persisted | None:
    return content if isinstance(content, Persisted) else None


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
