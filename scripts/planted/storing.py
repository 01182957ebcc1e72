"""Laws of rounds and of the persister: up to the ack and the record behind it."""

from scripts.planted import noticed_by as by
from scripts.planted.bug import Bug, bug

BUGS = (
    bug(
        "ack before the write",
        "services/persister/worker.py",
        "        await work.write(self._store, effects.in_order())\n",
        "        self._answer(work, effects)\n        await work.write(self._store, effects.in_order())\n",
        by.ACK_ORDER,
        by.NOTHING_COMMITTED,
        by.H1,
    ),
    Bug(
        "commit before the write: what was taken, not what was confirmed",
        "tidings/runtime/worker.py",
        (
            ("if lane.wants_commit]", "if 0 <= lane.committed_offset < lane.next_offset]"),
            ("Committed(lane.confirmed_offset, lane", "Committed(lane.next_offset, lane"),
        ),
        (by.NOTHING_COMMITTED,),
    ),
    bug(
        "a round is confirmed although a write is not",
        "tidings/runtime/round.py",
        'self.fail(await store.write(rows), "the tables did not confirm a write")',
        "await store.write(rows)",
        by.NOTHING_COMMITTED,
        by.H27,
    ),
    bug(
        "seq from memory only",
        "services/persister/worker.py",
        "tails = await history.tails_below(self._store, firsts, above) if firsts else {}",
        "tails: dict[str, history.Tail | LostLogTail | None] = dict.fromkeys(firsts)",
        by.H6,
        by.H17,
    ),
    bug(
        "state enters the cache before the round is confirmed",
        "services/persister/worker.py",
        "        await work.write(self._store, effects.in_order())\n",
        "        for session_id, draft in drafts.items():\n            self._remember(session_id, draft)\n"
        "        await work.write(self._store, effects.in_order())\n",
        by.FAILED_ROUND,
        by.H27,
    ),
    Bug(
        "a row that was read is taken as acked (law 5)",
        "services/persister/worker.py",
        (
            ("work.first(partition) for session_id, partition", "Position(99, 0) for session_id, partition"),
            ("firsts[command.session_id] = work.first(partition)", "firsts[command.session_id] = Position(99, 0)"),
        ),
        (by.H1, by.H2),
    ),
    bug(
        "a key that was read decides, whoever made it",
        "services/persister/worker.py",
        "firsts[command.session_id] = work.first(partition)",
        "firsts[command.session_id] = Position(99, 0)",
        by.H3,
        by.H8_EMPTY,
    ),
    bug(
        "ready gate missing",
        "tidings/runtime/lanes.py",
        "if self.gate is not Gate.READY:",
        "if self.gate is Gate.STOPPED:",
        "tests/unit/runtime/test_worker.py::test_a_commit_without_marks_is_an_error_to_retry_and_never_a_new_group",
        by.H18,
    ),
    bug(
        "a batch that begins too high stops its partition",
        "tidings/runtime/intake.py",
        "        self._reread.add(lane.partition)",
        "        pass",
        by.TOO_HIGH,
    ),
    bug(
        "dedupe window trusted right after a load",
        "services/persister/worker.py",
        "        known_from=message.at,\n",
        "        known_from=None,\n",
        by.H6,
        by.H29,
    ),
    bug(
        "memory decides about keys that it forgot",
        "services/persister/state.py",
        "    state.known_from = horizon if state.known_from is None else max(state.known_from, horizon)\n",
        "",
        by.H7,
    ),
    Bug(
        "directory row after the messages",
        "services/persister/effects.py",
        (
            (
                "        if accepted.opens_segment:\n            for row in _directory",
                "        if False:\n            for row in _directory",
            ),
            (
                "        self._writes.beside(TaggedRow(tag, _key_row",
                "        for row in _directory(accepted, command, record, epoch) if accepted.opens_segment else ():\n"
                '            late = (session_id, ("directory", accepted.segment), TaggedRow(tag, row), 9)\n'
                "            self._messages.append(late)\n"
                "        self._writes.beside(TaggedRow(tag, _key_row",
            ),
        ),
        (by.H10,),
    ),
    bug(
        "waves unordered",
        "tidings/policy/ordered_writes.py",
        "last.wave, last.mutation, last.size_bytes = last.wave + 1, mutation, 0",
        "last.mutation, last.size_bytes = mutation, 0",
        by.H10,
        by.H10_INBOX,
    ),
    bug(
        "a mutation grows without bound",
        "tidings/policy/ordered_writes.py",
        "elif last.mutation != mutation or last.size_bytes + size_bytes > MUTATION_BYTES:",
        "elif last.mutation != mutation:",
        by.H24,
    ),
    bug(
        "a session without a readable tail starts at 1",
        "tidings/store/history.py",
        "    if below:\n",
        "    if below < 0:\n",
        by.H8,
    ),
    bug(
        "wall clock instead of log time",
        "services/persister/sequence.py",
        "draft.at = max(record.at_ms, draft.at)",
        'draft.at = max(__import__("time").time_ns() // 1_000_000, draft.at)',
        by.H29,
        by.H22_LAGS,
        by.REPLAY,
    ),
    bug(
        "stamped limits ignored: segments",
        "services/persister/sequence.py",
        ">= command.stamps.segment_messages",
        ">= 10_000",
        by.H17,
    ),
    bug(
        "unknown rules are decided all the same",
        "tidings/codec.py",
        "    _check_rules(command.stamps)\n",
        "",
        by.H17_RULES,
    ),
    bug(
        "eager eviction within the round",
        "services/persister/sequence.py",
        "] = stored\n",
        "] = stored\n    draft.added = {key: one for key, one in draft.added.items() if one.at > draft.at - 600_000}\n",
        by.H30,
        "tests/unit/persister/test_sequence.py::test_h30_a_round_longer_than_the_key_window_keeps_its_own_keys",
    ),
    bug(
        "hints awaited in the round",
        "services/persister/worker.py",
        "                self._hints.send(gateway, push)\n",
        "                from tidings.broker.base import NewRecord\n"
        "                record = NewRecord(push.SerializeToString())\n"
        '                effects.outbox.add(tag, TopicPartition("push", gateway), record)\n',
        by.H20,
    ),
    bug(
        "no resync after lost hints",
        "tidings/runtime/hints.py",
        "            if lane.is_lossy:\n",
        "            if False:\n",
        by.H20,
    ),
    bug(
        "an unreadable record is skipped",
        "tidings/runtime/intake.py",
        '            return self._stop(lane, f"offset {record.offset}: {error}")\n',
        "            lane._next_offset = record.offset + 1\n            return None\n",
        by.H19,
        by.H32,
    ),
    bug(
        "an unreadable record ends the process",
        "tidings/runtime/intake.py",
        '            return self._stop(lane, f"offset {record.offset}: {error}")\n',
        "            raise\n",
        by.H19,
        by.H32,
    ),
    bug(
        "poison stops the partition",
        "tidings/runtime/intake.py",
        "            content = error\n",
        "            return self._stop(lane, str(error))\n",
        by.POISON,
        by.POISON_RECEIPT,
    ),
    bug(
        "emission failure ignored",
        "tidings/runtime/round.py",
        "            self.fail({tag for tag, _ in live}, f",
        "            str(f",
        by.H21,
        by.FAILED_ROUND,
    ),
    bug(
        "records of a round are sent side by side",
        "tidings/runtime/round.py",
        "            await producer.produce(target.topic, target.partition, [record for _, record in live])\n",
        "            await asyncio.gather(*(producer.produce(*target, [record]) for _, record in live))\n",
        by.H36,
    ),
)
