"""Expand's round: from `messages.persisted` to `deliveries` by user partition, and to gateways in read diffusion."""

import asyncio
from collections.abc import Collection, Iterator

from services.fanout.members import Audience, Members, still_in
from services.fanout.plan import check, deliveries, goes_to_all_members, group_log_pushes, recipients
from services.fanout.presence_reader import PresenceReader
from tidings import metrics
from tidings.broker.base import NewRecord, Producer, Record, TopicPartition
from tidings.codec import decode_persisted
from tidings.errors import StoreUnavailable, UnreadableRecord
from tidings.runtime.hints import HintSender
from tidings.runtime.outbox import Outbox
from tidings.runtime.partition_state import PartitionState
from tidings.runtime.round import Round
from tidings.store.base import Store
from tidings.topics import DELIVERIES
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.push_pb2 import Push, PushedMessage

# Some 170 bytes each, as measured: 80 MiB of the 250 that a service may take.
_MEMBERS_IN_MEMORY = 500_000
_PAGE_MEMBERS = 2_000
# Groups that are read at a time; each holds at most a page beside what it has found.
_LOADS_AT_ONCE = 8

# Where in a round a message that goes to all members stands: its offset names it within its partition.
_Place = tuple[int, int]
_Fresh = tuple[TopicPartition, Record, Persisted]


class ExpandStage:
    """Drops what it has seen, finds the members, plans, pushes and emits."""

    name = "expand"

    def __init__(
        self, store: Store, producer: Producer, hints: HintSender, presence: PresenceReader, user_partitions: int
    ) -> None:
        """`presence` knows the gateways; `user_partitions`: the U of the deployment."""
        self._store = store
        self._producer = producer
        self._hints = hints
        self._presence = presence
        self._user_partitions = user_partitions
        self._members: PartitionState[str, Members, Members] = PartitionState(
            finish=lambda members: members,
            most=_MEMBERS_IN_MEMORY,
            weigh=lambda members: len(members.audience.users),
        )
        # Up to which offset a partition's records were pushed: a repeated round does not push again.
        self._pushed: dict[int, int] = {}

    def decode(self, record: Record) -> Persisted:
        """See Stage. What cannot be read or planned stops the partition: skipping it loses a message (H19)."""
        persisted = decode_persisted(record.value)
        check(persisted)
        return persisted

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """A partition is ready only when it is known which gateways there are."""
        await self._presence.know_gateways()

    async def run(self, work: Round[Persisted]) -> None:
        """One round, from stored messages to the inboxes and gateways that they go to."""
        # 1. Drop repeats: at or below the mark, the deliveries of a message are in the topic already (law 4).
        fresh = work.fresh(lambda persisted: persisted, lambda persisted: persisted.source)
        self._members.begin()
        # 2. Load the members of groups that are not cached, as of each message's seq: they cannot change any more.
        loaded = await self._load(work, fresh)
        # The partitions may have been taken back meanwhile, and the cache with them.
        work.ensure_still_assigned()
        # 3. Plan: deliveries by user partition; in read diffusion a push to every gateway, as a hint.
        outbox = Outbox()
        for partition, record, persisted in fresh:
            if not work.has_failed(partition.partition):
                self._plan(work, outbox, (partition, record, persisted), loaded)
        # 4. Hand on to deliver. Until this is confirmed, the round is not, and will be repeated.
        await work.emit(self._producer, outbox)

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """See Stage."""
        self._members.confirm(partitions)

    def forget(self) -> None:
        """See Stage."""
        self._members.forget()
        self._pushed.clear()

    # -- members ---------------------------------------------------------------------------------

    async def _load(self, work: Round[Persisted], fresh: list[_Fresh]) -> dict[_Place, Members]:
        """The members as of every message whose predecessor's are not in memory; by the message's place."""
        loaded: dict[_Place, Members] = {}
        turns = asyncio.Semaphore(_LOADS_AT_ONCE)

        async def load(partition: int, record: Record, persisted: Persisted) -> None:
            async with turns:
                try:
                    loaded[partition, record.offset] = await self._members_as_of(work, persisted)
                except StoreUnavailable as error:
                    work.fail([partition], str(error))

        await asyncio.gather(
            *(load(partition.partition, record, persisted) for partition, record, persisted in self._unknown(fresh))
        )
        return loaded

    def _unknown(self, fresh: list[_Fresh]) -> Iterator[_Fresh]:
        reached: dict[str, int] = {}
        for partition, record, persisted in fresh:
            if not goes_to_all_members(persisted):
                continue
            session_id, seq = persisted.message.session_id, persisted.message.seq
            known = self._members.get(session_id)
            if reached.get(session_id, known.as_of_seq if known else -1) != seq - 1:
                yield partition, record, persisted
            reached[session_id] = seq

    async def _members_as_of(self, work: Round[Persisted], persisted: Persisted) -> Members:
        """Versions at or below the seq of a stored message cannot change any more (law 1).

        Each page is an await of its own (law 12): a group whose members have very many versions takes long to read,
        and would never be read if that counted as one.
        """
        session_id, seq = persisted.message.session_id, persisted.message.seq
        users: set[str] = set()
        after: str | None = ""
        while after is not None:
            rows, after = await self._store.member_page(session_id, seq, after, _PAGE_MEMBERS)
            work.ensure_still_assigned()
            users.update(still_in(rows))
        return Members(seq, Audience(users))

    def _members_after(self, place: _Place, persisted: Persisted, loaded: dict[_Place, Members]) -> Members | None:
        """The members after this message, kept as a draft; None where it does not go to all of them."""
        if not goes_to_all_members(persisted):
            return None
        session_id, drafts = persisted.message.session_id, self._members.drafts(place[0])
        members = loaded.get(place)
        if members is None:
            before = drafts.get(session_id) or self._members.get(session_id)
            assert before is not None  # _unknown names every message without one
            members = before.after(persisted)
        drafts[session_id] = members
        return members

    # -- plan ------------------------------------------------------------------------------------

    def _plan(self, work: Round[Persisted], outbox: Outbox, one: _Fresh, loaded: dict[_Place, Members]) -> None:
        partition, record, persisted = one
        source_partition = partition.partition
        members = self._members_after((source_partition, record.offset), persisted, loaded)
        try:
            audience = recipients(persisted, members)
        except UnreadableRecord as error:
            work.stop(partition, f"offset {record.offset}: {error}")
            return
        if self._is_first_push(record):
            for pushed in group_log_pushes(persisted, members):
                self._push(pushed)
        for target, delivery in deliveries(persisted, audience, self._user_partitions):
            outbox.add(source_partition, TopicPartition(DELIVERIES, target), NewRecord(delivery.SerializeToString()))

    def _is_first_push(self, record: Record) -> bool:
        if record.offset <= self._pushed.get(record.partition, -1):
            return False
        self._pushed[record.partition] = record.offset
        return True

    def _push(self, pushed: PushedMessage) -> None:
        """In line: what is pushed to a gateway has the order of the log."""
        for gateway, epoch in self._presence.gateways.current():
            self._hints.send(gateway, Push(gateway_epoch=epoch, message=pushed))
            metrics.PUSHES.labels("read").inc()
