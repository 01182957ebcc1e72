"""Expand's round: from `messages.persisted` to `deliveries` by user partition; in read diffusion to all gateways."""

import asyncio
from collections.abc import Collection, Iterator

from services.fanout.first_pushes import FirstPushes
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

# About 170 bytes each, measured: 80 MiB of the 250 MiB that a service may take.
_MEMBERS_IN_MEMORY = 500_000
_PAGE_MEMBERS = 2_000
# Groups that are read at the same time. Each read holds the members found so far and at most one page of rows.
_LOADS_AT_ONCE = 8

# (partition, offset) of a message that goes to all members.
_Place = tuple[int, int]
_Fresh = tuple[TopicPartition, Record, Persisted]


class ExpandStage:
    """Drops repeats, finds the members of each message, and emits deliveries and pushes."""

    name = "expand"

    def __init__(
        self, store: Store, producer: Producer, hints: HintSender, presence: PresenceReader, user_partitions: int
    ) -> None:
        """`presence` lists the running gateways. `user_partitions`: the U of the deployment."""
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
        self._first_pushes = FirstPushes()

    def decode(self, record: Record) -> Persisted:
        """A record that cannot be read or planned stops the partition: skipping it would lose a message (H19)."""
        persisted = decode_persisted(record.value)
        check(persisted)
        return persisted

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Read the gateways to the end, so that no push misses a running gateway."""
        await self._presence.know_gateways()

    async def run(self, work: Round[Persisted]) -> None:
        """One round, from stored messages to the inboxes and gateways that they go to."""
        # 1. Drop repeats by law 4 (every stage drops what it has seen): their deliveries are in the topic already.
        fresh = work.fresh(lambda persisted: persisted, lambda persisted: persisted.source)
        self._members.begin()
        # 2. Load the members of groups that are not cached, as of each message's seq. They cannot change any more.
        with work.timed("load"):
            loaded = await self._load(work, fresh)
        # `forget` may have revoked the partitions and emptied the cache during the read.
        work.ensure_still_assigned()
        # 3. Plan: deliveries by user partition; in read diffusion a push to every gateway, as a hint.
        outbox = Outbox()
        for partition, record, persisted in fresh:
            if not work.has_failed(partition.partition):
                self._plan(work, outbox, (partition, record, persisted), loaded)
        # 4. Emit to deliver. If this is not confirmed, the round is repeated.
        await work.emit(self._producer, outbox)

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        self._members.confirm(partitions)

    def forget(self) -> None:
        self._members.forget()
        self._first_pushes.forget()

    # -- members ---------------------------------------------------------------------------------

    async def _load(self, work: Round[Persisted], fresh: list[_Fresh]) -> dict[_Place, Members]:
        """Members as of each message for whose previous seq no members are in memory, by partition and offset."""
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
        """Read the members as of the message's seq.

        Versions at or below the seq of a stored message cannot change any more: law 1 (the log decides). Each page
        is a separate await for law 12 (a round that waited too long is dropped). A group whose members have very
        many versions takes long to read. As a single await the read would drop the round each time.
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
        """The members after this message, kept as a draft. None for a message that does not go to all members."""
        if not goes_to_all_members(persisted):
            return None
        session_id, drafts = persisted.message.session_id, self._members.drafts(place[0])
        members = loaded.get(place)
        if members is None:
            before = drafts.get(session_id) or self._members.get(session_id)
            assert before is not None  # _unknown yields every message without previous members
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
        if self._first_pushes.take(record):
            for pushed in group_log_pushes(persisted, members):
                self._push(pushed)
        for target, delivery in deliveries(persisted, audience, self._user_partitions):
            outbox.add(source_partition, TopicPartition(DELIVERIES, target), NewRecord(delivery.SerializeToString()))

    def _push(self, pushed: PushedMessage) -> None:
        """Push to every gateway. The pushes of a group have the order of its log at each gateway."""
        for gateway, epoch in self._presence.gateways.current():
            self._hints.send(gateway, Push(gateway_epoch=epoch, message=pushed))
            metrics.PUSHES.labels("read").inc()
