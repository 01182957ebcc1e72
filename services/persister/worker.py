"""The persister's round. `PersisterStage.run` shows, step by step, why no acked message can be lost.

The laws are in docs/SEMANTICS.md.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from services.persister.effects import Answer, Effects
from services.persister.sequence import decide, users_concerned
from services.persister.state import Draft, MessageKey, SessionState, Stored, needs_lookup
from tidings import ids, metrics
from tidings.broker.base import Producer, Record, TopicPartition
from tidings.codec import decode_command
from tidings.errors import LostLogTail, PoisonRecord
from tidings.ids import Position
from tidings.runtime.dead_letters import put_aside
from tidings.runtime.hints import HintSender
from tidings.runtime.partition_state import PartitionState
from tidings.runtime.round import Round
from tidings.store import session_tails
from tidings.store.base import KeyBucket, Store
from tidings.store.rows import GroupRow, MessageRow
from tidings.wire.inbound_pb2 import Command

# For all sessions together, of the 250 MiB that a service may take. Ten minutes of 1,000 msg/s are 600,000 keys, or
# 170 MB. The same bytes hold five groups of the largest size and 400,000 keys.
_STATE_BYTES = 170_000_000
# Measured.
_SESSION_BYTES, _KEY_BYTES, _MEMBER_BYTES = 500, 280, 400

Arrived = tuple[TopicPartition, Record, Command]
_Loaded = session_tails.Tail | LostLogTail | None


class PersisterStage:
    """Decides commands, stores messages, acks them, and emits them to fanout and receipts."""

    name = "persister"

    def __init__(
        self, store: Store, producer: Producer, hints: HintSender, epoch: int, session_partitions: int
    ) -> None:
        """`epoch`: the topics' epoch, part of every coordinate. `session_partitions`: the S of the deployment."""
        self._session_partitions = session_partitions
        self._store = store
        self._producer = producer
        self._hints = hints
        self._epoch = epoch
        self._sessions: PartitionState[str, Draft, SessionState] = PartitionState(
            finish=Draft.confirmed, most=_STATE_BYTES, weigh=_bytes_of
        )

    def decode(self, record: Record) -> Command:
        command = decode_command(record.value)
        if ids.partition_of(command.session_id, self._session_partitions) != record.partition:
            # Two persisters that own one session would overwrite each other's seqs.
            raise PoisonRecord("the command is not on the partition of its session")
        return command

    async def prepare(self, partitions: Collection[TopicPartition]) -> None:
        """Read nothing: a session is loaded by the round that first writes to it."""

    async def run(self, work: Round[Command]) -> None:
        """Run one round. The order of the steps is what makes an ack a promise."""
        self._sessions.begin()
        # 1. Load the state of every session as of the round's first offset. Rows at or above it come from an earlier
        #    try that was not confirmed, and are decided again: law 5 (a replay ignores later rows).
        arrived = _commands(work)
        with work.timed("load"):
            drafts = await self._load(work, arrived)
        # 2. Decide. By law 1 (the log decides) the same records give the same bytes in every process.
        effects = self._decide(work, arrived, drafts)
        # 3. Write in order within each session. A quorum confirms each wave before the next begins.
        async for wave in work.write_waves(self._store, effects.ordered_writes()):
            # 4. Ack the sessions whose rows are all confirmed, and not earlier: law 8 (an ack is a promise). A
            #    partition that has failed gets no ack. An ack is a hint: a client that misses it repeats its message.
            self._answer(work, effects.answers_after(wave))
        _count_outcomes(effects.outcomes)
        # 5. Emit to fanout and receipts. If this is not confirmed either, the round is repeated.
        await work.emit(self._producer, effects.outbox)
        # 6. Keep the drafts. The worker calls `confirmed` next, for the partitions that have not failed, and commits
        #    their offsets and marks.
        for session_id, draft in drafts.items():
            self._sessions.drafts(draft.partition)[session_id] = draft

    def confirmed(self, partitions: Collection[TopicPartition]) -> None:
        """Drafts of confirmed partitions become the cached state. All other drafts are dropped."""
        self._sessions.confirm(partitions)

    def forget(self) -> None:
        self._sessions.forget()

    # -- 1. load -----------------------------------------------------------------------------------

    async def _load(self, work: Round[Command], arrived: Sequence[Arrived]) -> dict[str, Draft]:
        drafts: dict[str, Draft] = {}
        missing: dict[str, TopicPartition] = {}
        for partition, _, command in arrived:
            session_id = command.session_id
            if session_id in self._sessions:
                drafts.setdefault(session_id, Draft.of(self._sessions[session_id], partition.partition))
            else:
                missing[session_id] = partition
        drafts.update(await self._load_missing(work, arrived, missing))
        work.ensure_still_assigned()
        await asyncio.gather(self._look_up_keys(work, arrived, drafts), self._load_members(arrived, drafts))
        return drafts

    async def _load_missing(
        self, work: Round[Command], arrived: Sequence[Arrived], missing: Mapping[str, TopicPartition]
    ) -> dict[str, Draft]:
        if not missing:
            return {}
        firsts = {session_id: work.first(partition) for session_id, partition in missing.items()}
        ends = {session_id: work.end(partition) for session_id, partition in missing.items()}
        found = await session_tails.tails_and_rows_above(self._store, firsts, ends, work.ensure_still_assigned)
        self._compare_with_log(work, arrived, missing, found.rows_above)
        groups = await self._load_groups(found.tails)
        drafts = {}
        for session_id, tail in found.tails.items():
            partition = missing[session_id]
            state = _state_of(session_id, tail, groups.get(session_id))
            if isinstance(state, LostLogTail):
                work.stop(partition, str(state))
                continue
            drafts[session_id] = Draft.of(state, partition.partition)
        return drafts

    async def _load_groups(self, tails: Mapping[str, _Loaded]) -> Mapping[str, GroupRow]:
        """The version of each group as of its tail. Later versions are ignored: law 5 (a replay ignores later rows)."""
        seqs = {
            session_id: tail.seq
            for session_id, tail in tails.items()
            if isinstance(tail, session_tails.Tail) and ids.is_group_session(session_id)
        }
        return await self._store.groups_as_of(seqs) if seqs else {}

    async def _load_members(self, arrived: Sequence[Arrived], drafts: Mapping[str, Draft]) -> None:
        """Load the member versions of all senders and named users of the round that are not in memory."""
        wanted: dict[str, dict[str, None]] = {}
        for _, _, command in arrived:
            draft = drafts.get(command.session_id)
            if draft is not None and ids.is_group_session(command.session_id):
                unknown = (user_id for user_id in users_concerned(command) if draft.needs_member(user_id))
                wanted.setdefault(command.session_id, {}).update(dict.fromkeys(unknown))
        await asyncio.gather(
            *(
                self._load_members_of(session_id, drafts[session_id], users)
                for session_id, users in wanted.items()
                if users
            )
        )

    async def _load_members_of(self, session_id: str, draft: Draft, user_ids: Collection[str]) -> None:
        rows = await self._store.members_as_of(session_id, draft.base.seq, user_ids)
        draft.loaded.update((user_id, rows.get(user_id)) for user_id in user_ids)

    def _compare_with_log(
        self,
        work: Round[Command],
        arrived: Sequence[Arrived],
        partitions: Mapping[str, TopicPartition],
        above: Collection[MessageRow],
    ) -> None:
        """Stop a partition whose log now holds another command at the offset of a stored row: it has lost its tail."""
        says = {(partition, record.offset): command for partition, record, command in arrived} if above else {}
        for row in above:
            partition = partitions[row.session_id]
            command = says.get((partition, row.log_offset)) if row.log_epoch == self._epoch else None
            if command is not None and _made_by(command) != (row.session_id, row.sender_id, row.client_msg_id):
                work.stop(
                    partition,
                    f"{row.session_id} seq {row.seq} was decided by another command at offset {row.log_offset}: "
                    "the log has lost its tail. Raise the epoch",
                )

    async def _look_up_keys(
        self, work: Round[Command], arrived: Sequence[Arrived], drafts: Mapping[str, Draft]
    ) -> None:
        """Look up, in one read, all keys that memory does not cover. Rows at or above the first offset are ignored."""
        wanted: dict[KeyBucket, set[MessageKey]] = {}
        firsts: dict[str, Position] = {}
        for partition, _, command in arrived:
            draft = drafts.get(command.session_id)
            key = MessageKey(command.sender_id, command.client_msg_id)
            if draft is not None and command.client_msg_id and needs_lookup(draft.base, key):
                wanted.setdefault(KeyBucket.of(command.session_id, command.client_msg_id), set()).add(key)
                firsts[command.session_id] = work.first(partition)
        for row in await self._store.keys(wanted) if wanted else ():
            if row.made_at < firsts[row.session_id]:
                key = MessageKey(row.sender_id, row.client_msg_id)
                drafts[row.session_id].looked_up[key] = Stored(row.seq, row.message_id, row.at, row.digest)

    # -- 2. decide ---------------------------------------------------------------------------------

    def _decide(self, work: Round[Command], arrived: Sequence[Arrived], drafts: Mapping[str, Draft]) -> Effects:
        effects = Effects()
        for arrivals in work.arrivals.values():
            for arrival in arrivals:
                if isinstance(arrival.content, PoisonRecord):
                    put_aside(effects.outbox, self.name, self._epoch, arrival.record, arrival.content)
        for partition, record, command in arrived:
            if partition not in work.stopped:
                decision = decide(drafts[command.session_id], command, record, self._epoch)
                effects.add(decision, command, record, self._epoch)
        return effects

    # -- 4. answer ---------------------------------------------------------------------------------

    def _answer(self, work: Round[Command], answers: Sequence[Answer]) -> None:
        for answer in answers:
            if not work.has_failed(answer.source_partition):
                self._hints.send(answer.gateway, answer.push)


def _bytes_of(state: SessionState) -> int:
    return _SESSION_BYTES + _KEY_BYTES * len(state.keys) + _MEMBER_BYTES * len(state.members)


def _count_outcomes(outcomes: Sequence[str]) -> None:
    for outcome, count in Counter(outcomes).items():
        metrics.DECISIONS.labels(outcome).inc(count)


def _made_by(command: Command) -> tuple[str, str, str]:
    return command.session_id, command.sender_id, command.client_msg_id


def _state_of(session_id: str, tail: _Loaded, group: GroupRow | None) -> SessionState | LostLogTail:
    if tail is None:
        return SessionState()
    if isinstance(tail, LostLogTail):
        return tail
    if group is None and ids.is_group_session(session_id):
        return LostLogTail(f"{session_id} has messages, yet no version of the group can be read; restore the tables")
    segment = tail.segment
    return SessionState(
        seq=tail.seq,
        count=tail.count,
        at=tail.at,
        segment=segment.segment,
        segment_first_seq=segment.first_seq,
        segment_month=segment.month,
        segment_is_closed=tail.is_closed,
        known_from=tail.at,
        group=group,
    )


def _commands(work: Round[Command]) -> list[Arrived]:
    return [
        (partition, arrival.record, arrival.content)
        for partition, arrivals in work.arrivals.items()
        for arrival in arrivals
        if not isinstance(arrival.content, PoisonRecord)
    ]
