"""Takes one law away at a time and looks whether a test notices: `python scripts/planted.py [WORD]`.

Each bug is planted into a copy of the tree, the tests that must then fail are
run there, and the outcome is printed as a table. Exit code 1 when a bug was
not caught by each of its tests, 2 when its text is not in the source any more.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("tidings", "services", "tests", "deploy", "sdk", "pyproject.toml")
HAZARDS = "tests/unit/hazards"
PERSISTER = f"{HAZARDS}/test_persister_hazards.py"
FANOUT = f"{HAZARDS}/test_fanout_hazards.py"
RECEIPTS = f"{HAZARDS}/test_receipts_hazards.py"
GROUP_FANOUT = f"{HAZARDS}/test_group_fanout_hazards.py"
GROUPS = "tests/unit/fanout/test_group_fanout.py"
UNREADABLE = f"{HAZARDS}/test_unreadable.py"
GATEWAY = f"{HAZARDS}/test_gateway_hazards.py"
REPLAY = f"{HAZARDS}/test_replay.py::test_a_replay_from_the_beginning_changes_no_row"
SIMULATED = "tests/simulation/test_simulation.py::test_no_seed_breaks_a_promise"
# Enough for every bug below; docs/SEMANTICS.md names the first seed that finds each.
SIMULATED_SEEDS = "0-59"
# A bug that makes a test hang has been noticed too. Simulated time needs a second, the gateway's tests a few.
TEST_TIMEOUT_S = 40


@dataclass(frozen=True, slots=True)
class Bug:
    """What is planted where, and the tests (without parameters) that must fail."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def bug(name: str, file: str, old: str, new: str, *tests: str) -> Bug:
    """With a single edit."""
    return Bug(name, file, ((old, new),), tests)


ACK_ORDER = f"{PERSISTER}::test_an_ack_is_never_sent_before_its_message_is_stored"
NOTHING_COMMITTED = f"{PERSISTER}::test_nothing_is_committed_while_a_write_of_its_round_is_unconfirmed"
TOO_HIGH = f"{PERSISTER}::test_a_batch_that_begins_too_high_is_read_again_and_nothing_is_left_out"
FAILED_ROUND = f"{PERSISTER}::test_state_of_a_round_that_failed_never_enters_the_cache"
H1 = f"{PERSISTER}::test_h1_rows_on_one_replica_are_written_again_before_they_are_acked"
H2 = f"{PERSISTER}::test_h2_a_message_that_was_stored_but_not_handed_on_is_handed_on_by_the_next_owner"
H3 = f"{PERSISTER}::test_h3_a_key_of_the_future_decides_nothing"
H5 = f"{FANOUT}::test_h5_both_parts_of_a_message_that_was_cut_reach_their_users"
H6 = f"{PERSISTER}::test_h6_a_second_copy_has_the_first_seq_although_the_owner_and_the_segment_changed"
H7 = f"{PERSISTER}::test_h7_a_copy_that_lands_long_after_memory_forgot_its_key_has_the_first_seq"
H8 = f"{PERSISTER}::test_h8_a_session_whose_tail_cannot_be_read_stops_its_partition_and_never_starts_again"
H8_EMPTY = f"{PERSISTER}::test_h8_a_segment_that_was_listed_but_not_filled_is_filled_by_the_next_owner"
H9 = f"{FANOUT}::test_h9_and_h31_numbers_go_on_alike_whether_expired_rows_are_remembered_or_swept"
H10 = f"{PERSISTER}::test_h10_whatever_write_of_a_round_fails_nobody_ever_sees_a_hole"
H10_INBOX = f"{FANOUT}::test_h10_whatever_write_of_a_round_fails_no_inbox_ever_shows_a_hole"
H11 = f"{FANOUT}::test_h11_a_device_that_moved_is_pushed_to_although_its_old_gateway_says_gone_late"
H13 = f"{GATEWAY}::test_h13_a_push_that_follows_the_start_record_at_once_is_read"
H14 = f"{FANOUT}::test_h14_a_connection_that_comes_while_a_round_is_repeated_waits_for_its_live"
H17 = f"{PERSISTER}::test_h17_segments_roll_at_the_stamped_size_whoever_decides"
H17_RULES = f"{PERSISTER}::test_h17_a_command_of_rules_that_this_version_does_not_know_stops_its_partition"
H17_INBOX = f"{FANOUT}::test_h17_buckets_roll_at_the_stamped_size_whoever_delivers"
H18 = f"{FANOUT}::test_h18_marks_are_read_back_before_the_first_record_although_the_coordinator_is_loading"
H19 = f"{UNREADABLE}::test_h19_a_record_behind_the_ack_that_nobody_can_read_stops_its_partition_alone"
H20 = f"{PERSISTER}::test_h20_a_push_partition_without_leader_holds_up_no_message"
H21 = f"{FANOUT}::test_h21_a_mark_never_passes_a_record_that_one_target_did_not_take"
H22_LAGS = f"{FANOUT}::test_h22_a_zombie_that_lags_behind_its_successor_changes_nothing"
H22_OUTLIVED = f"{FANOUT}::test_h22_a_round_that_outlived_its_assignment_leaves_no_tail_in_memory"
H23 = f"{PERSISTER}::test_h23_whatever_becomes_of_a_commit_the_replay_changes_nothing"
H24 = f"{PERSISTER}::test_h24_a_round_of_large_messages_is_cut_into_mutations_that_fit"
H25 = f"{RECEIPTS}::test_h25_a_watermark_that_overtakes_its_message_is_checked_against_the_tables_and_kept"
H26 = f"{RECEIPTS}::test_h26_a_zombies_older_watermark_that_is_written_late_moves_nothing_back"
H26_LATE = f"{RECEIPTS}::test_h26_a_watermark_that_lands_after_its_retry_and_after_a_higher_one_moves_nothing_back"
LOWER_CLAIM = f"{RECEIPTS}::test_a_lower_claim_of_another_device_in_the_same_round_moves_nothing_back"
H27 = f"{PERSISTER}::test_h27_a_write_that_timed_out_is_written_again_and_nobody_is_told_of_a_failure"
H28 = f"{PERSISTER}::test_h28_records_that_were_appended_although_it_timed_out_are_dropped_as_repeats"
H29 = f"{PERSISTER}::test_h29_a_retry_keeps_its_seq_although_clocks_jumped_and_the_owner_changed"
H30 = f"{PERSISTER}::test_h30_the_first_round_after_an_outage_knows_its_own_keys"
H32 = f"{UNREADABLE}::test_h32_the_next_owner_of_a_stopped_partition_stops_it_too_and_works_on_elsewhere"
H33 = f"{GATEWAY}::test_h33_a_second_copy_of_the_start_record_ends_the_gateway_so_that_it_starts_anew"
H34 = f"{FANOUT}::test_h34_a_half_emitted_message_is_emitted_again_in_the_same_parts"
H36 = f"{FANOUT}::test_h36_all_records_of_a_round_for_one_target_go_in_one_call"
OWN_INTERVALS = f"{GROUPS}::test_everybody_gets_exactly_the_messages_of_the_own_intervals_once_and_in_order"
REMOVED_STILL_TOLD = (
    "tests/unit/fanout/test_members.py::test_who_is_removed_still_gets_the_message_that_says_so_and_no_later_one"
)
NOTHING_TWICE = f"{GROUPS}::test_expand_emits_nothing_a_second_time_and_every_owner_emits_the_same"
TOLD_ONCE = f"{GROUP_FANOUT}::test_a_repeated_round_tells_no_gateway_twice"
H16 = f"{GROUP_FANOUT}::test_h16_at_the_switch_back_to_inboxes_no_message_goes_both_ways"
PUSHED_ONCE = f"{FANOUT}::test_a_repeated_round_pushes_nothing_twice"
POISON = f"{UNREADABLE}::test_poison_among_commands_goes_aside_once_and_costs_no_seq"
POISON_RECEIPT = f"{UNREADABLE}::test_poison_among_receipts_goes_aside_once_and_its_neighbours_count"

BUGS = (
    bug(
        "members cached past a change: expand",
        "services/fanout/members.py",
        "        if persisted.joined_ids or persisted.left_ids:\n            audience = Audience",
        "        if False:\n            audience = Audience",
        SIMULATED,
    ),
    Bug(
        "members cached past a change: persister",
        "services/persister/state.py",
        (
            (
                "        kept.update(self.members)\n",
                "        kept.update({user: row for user, row in self.members.items() if not row.left_seq})\n",
            ),
            ("if has_ended or row.left_seq]", "if has_ended]"),
        ),
        (SIMULATED,),
    ),
    bug(
        "expand skips the check for repeats",
        "services/fanout/expand_worker.py",
        "if marks.is_repeat(persisted.source):",
        "if False:",
        SIMULATED,
    ),
    bug(
        "member rows are overwritten instead of versioned",
        "services/persister/groups.py",
        '    """The member\'s next version, with these columns changed."""\n    at = {"as_of_seq": place.seq, ',
        '    """The member\'s next version, with these columns changed."""\n    at = {',
        SIMULATED,
    ),
    bug(
        "the mode is that of the newest group row on a replay",
        "services/persister/worker.py",
        "            session_id: tail.message.seq\n",
        "            session_id: 2**62\n",
        SIMULATED,
    ),
    bug(
        "a replay sees members of its future",
        "services/persister/worker.py",
        "members_as_of(session_id, draft.base.seq, user_ids)",
        "members_as_of(session_id, 2**62, user_ids)",
        SIMULATED,
    ),
    bug(
        "expand asks for the members as of now",
        "services/fanout/expand_worker.py",
        "member_page(session_id, seq, after",
        "member_page(session_id, 2**62, after",
        SIMULATED,
    ),
    bug(
        "inbox_seq from memory only",
        "services/fanout/deliver_worker.py",
        "loaded = await history.inbox_tails_below(self._store, missing)",
        "loaded: dict[str, history.InboxEnd | None] = dict.fromkeys(missing)",
        SIMULATED,
    ),
    bug(
        "ack before the side rows are confirmed",
        "services/persister/worker.py",
        "        await work.write(self._store, effects.writes)\n",
        "        side = type(effects.writes)()\n"
        "        for wave in effects.writes.waves():\n"
        '            for row in [one for one in wave if one.row.table in ("message_keys", "group_members")]:\n'
        "                wave.remove(row)\n                side.beside(row)\n"
        "        await work.write(self._store, effects.writes)\n        self._answer(work, effects)\n"
        "        await work.write(self._store, side)\n",
        SIMULATED,
    ),
    bug(
        "whoever is removed is not told",
        "services/fanout/members.py",
        "        if not persisted.left_ids:\n            return self.audience\n",
        "        return self.audience\n",
        SIMULATED,
    ),
    bug(
        "a system message counts as its author's own last one",
        "services/receipts/merge.py",
        "        if message.kind not in COUNTABLE_KINDS:\n            return\n",
        "",
        SIMULATED,
    ),
    bug(
        "ack before the write",
        "services/persister/worker.py",
        "        await work.write(self._store, effects.writes)\n",
        "        self._answer(work, effects)\n        await work.write(self._store, effects.writes)\n",
        ACK_ORDER,
        NOTHING_COMMITTED,
        H1,
    ),
    Bug(
        "commit before the write: what was taken, not what was confirmed",
        "tidings/runtime/worker.py",
        (
            ("if lane.wants_commit]", "if 0 <= lane.committed_offset < lane.next_offset]"),
            ("Committed(lane.confirmed_offset, lane", "Committed(lane.next_offset, lane"),
        ),
        (NOTHING_COMMITTED,),
    ),
    bug(
        "a round is confirmed although a write is not",
        "tidings/runtime/round.py",
        'self.fail(await store.write(rows), "the tables did not confirm a write")',
        "await store.write(rows)",
        NOTHING_COMMITTED,
        H27,
    ),
    bug(
        "seq from memory only",
        "services/persister/worker.py",
        "tails = await history.tails_below(self._store, firsts, above) if firsts else {}",
        "tails: dict[str, history.Tail | LostLogTail | None] = dict.fromkeys(firsts)",
        H6,
        H17,
    ),
    bug(
        "state enters the cache before the round is confirmed",
        "services/persister/worker.py",
        "        await work.write(self._store, effects.writes)\n",
        "        for session_id, draft in drafts.items():\n            self._remember(session_id, draft)\n"
        "        await work.write(self._store, effects.writes)\n",
        FAILED_ROUND,
        H27,
    ),
    Bug(
        "a row that was read is taken as acked (law 5)",
        "services/persister/worker.py",
        (
            ("work.first(partition) for session_id, partition", "Position(99, 0) for session_id, partition"),
            ("firsts[command.session_id] = work.first(partition)", "firsts[command.session_id] = Position(99, 0)"),
        ),
        (H1, H2),
    ),
    bug(
        "a key that was read decides, whoever made it",
        "services/persister/worker.py",
        "firsts[command.session_id] = work.first(partition)",
        "firsts[command.session_id] = Position(99, 0)",
        H3,
        H8_EMPTY,
    ),
    bug(
        "inbox tails are loaded as of now",
        "services/fanout/deliver_worker.py",
        "                missing[user_id] = position\n",
        "                missing[user_id] = Position(99, 0)\n",
        H10_INBOX,
        H22_LAGS,
        REPLAY,
    ),
    bug(
        "ready gate missing",
        "tidings/runtime/lanes.py",
        "if self.gate is not Gate.READY:",
        "if self.gate is Gate.STOPPED:",
        "tests/unit/runtime/test_worker.py::test_a_commit_without_marks_is_an_error_to_retry_and_never_a_new_group",
        H18,
    ),
    bug(
        "a batch that begins too high stops its partition",
        "tidings/runtime/intake.py",
        "        self._reread.add(lane.partition)",
        "        pass",
        TOO_HIGH,
    ),
    bug(
        "dedupe window trusted right after a load",
        "services/persister/worker.py",
        "        known_from=message.at,\n",
        "        known_from=None,\n",
        H6,
        H29,
    ),
    bug(
        "memory decides about keys that it forgot",
        "services/persister/state.py",
        "    state.known_from = horizon if state.known_from is None else max(state.known_from, horizon)\n",
        "",
        H7,
    ),
    bug(
        "marks not checked",
        "services/fanout/deliver_worker.py",
        "if marks.is_repeat(delivery.inbox_item.source):",
        "if False:",
        H18,
        H28,
        H23,
    ),
    bug("parts with equal coordinates", "services/fanout/plan.py", "part=part)", "part=0)", H5, H34),
    Bug(
        "directory row after the messages",
        "services/persister/effects.py",
        (
            (
                "        if accepted.opens_segment:\n            for row in _directory",
                "        if False:\n            for row in _directory",
            ),
            (
                "        self.writes.beside(TaggedRow(tag, _key_row",
                "        for row in _directory(accepted, command, record, epoch) if accepted.opens_segment else ():\n"
                '            self.writes.then(session_id, ("directory", accepted.segment), TaggedRow(tag, row), 9)\n'
                "        self.writes.beside(TaggedRow(tag, _key_row",
            ),
        ),
        (H10,),
    ),
    bug(
        "waves unordered",
        "tidings/policy/ordered_writes.py",
        "last.wave, last.mutation, last.size_bytes = last.wave + 1, mutation, 0",
        "last.mutation, last.size_bytes = mutation, 0",
        H10,
        H10_INBOX,
    ),
    bug(
        "a mutation grows without bound",
        "tidings/policy/ordered_writes.py",
        "elif last.mutation != mutation or last.size_bytes + size_bytes > MUTATION_BYTES:",
        "elif last.mutation != mutation:",
        H24,
    ),
    bug(
        "a session without a readable tail starts at 1",
        "tidings/store/history.py",
        "    if below:\n",
        "    if below < 0:\n",
        H8,
    ),
    bug(
        "an inbox without rows starts at 1",
        "services/fanout/deliver_worker.py",
        "    if row is None:\n",
        "    if row is None:\n        return InboxTail()\n",
        H9,
    ),
    bug(
        "an inbox tail expires when Cassandra sweeps",
        "services/fanout/inbox.py",
        "at_ms - tail.delivered_at > TAIL_LIFE_MS",
        "at_ms < 0",
        H9,
    ),
    bug(
        "wall clock instead of log time",
        "services/persister/sequence.py",
        "draft.at = max(record.at_ms, draft.at)",
        'draft.at = max(__import__("time").time_ns() // 1_000_000, draft.at)',
        H29,
        H22_LAGS,
        REPLAY,
    ),
    bug(
        "stamped limits ignored: segments",
        "services/persister/sequence.py",
        ">= command.stamps.segment_messages",
        ">= 10_000",
        H17,
    ),
    bug(
        "stamped limits ignored: buckets",
        "services/fanout/inbox.py",
        "bucket_rows = item.stamps.bucket_rows",
        "bucket_rows = MOST_BUCKET_ROWS",
        H17_INBOX,
    ),
    bug(
        "stamped limits ignored: parts",
        "services/fanout/plan.py",
        "size = persisted.stamps.recipients_per_part",
        "size = 1_000",
        H5,
    ),
    bug(
        "unknown rules are decided all the same",
        "tidings/codec.py",
        "    _check_rules(command.stamps)\n",
        "",
        H17_RULES,
    ),
    bug(
        "eager eviction within the round",
        "services/persister/sequence.py",
        "] = stored\n",
        "] = stored\n    draft.added = {key: one for key, one in draft.added.items() if one.at > draft.at - 600_000}\n",
        H30,
        "tests/unit/persister/test_sequence.py::test_h30_a_round_longer_than_the_key_window_keeps_its_own_keys",
    ),
    bug(
        "hints awaited in the round",
        "services/persister/worker.py",
        "                self._hints.send(gateway, push)\n",
        "                from tidings.broker.base import NewRecord\n"
        "                record = NewRecord(push.SerializeToString())\n"
        '                effects.outbox.add(tag, TopicPartition("push", gateway), record)\n',
        H20,
    ),
    bug(
        "no resync after lost hints",
        "tidings/runtime/hints.py",
        "            if lane.is_lossy:\n",
        "            if False:\n",
        H20,
    ),
    bug(
        "an unreadable record is skipped",
        "tidings/runtime/intake.py",
        '            return self._stop(lane, f"offset {record.offset}: {error}")\n',
        "            lane._next_offset = record.offset + 1\n            return None\n",
        H19,
        H32,
    ),
    bug(
        "an unreadable record ends the process",
        "tidings/runtime/intake.py",
        '            return self._stop(lane, f"offset {record.offset}: {error}")\n',
        "            raise\n",
        H19,
        H32,
    ),
    bug(
        "poison stops the partition",
        "tidings/runtime/intake.py",
        "            content = error\n",
        "            return self._stop(lane, str(error))\n",
        POISON,
        POISON_RECEIPT,
    ),
    Bug(
        "a lower watermark overwrites (write timestamp dropped)",
        "tidings/store/memory_tables.py",
        (("max(cells.get(name, new), new)", "new"),),
        (H26, H26_LATE),
    ),
    bug(
        "the last claim of a round wins",
        "services/receipts/merge.py",
        "self.delivered_seq = max(self.delivered_seq, delivered_seq)",
        "self.delivered_seq = delivered_seq",
        LOWER_CLAIM,
    ),
    bug(
        "a watermark above the known head is clamped without a look",
        "services/receipts/worker.py",
        "stored = await history.heads(self._store, unknown) if unknown else {}",
        "stored: dict[str, history.MessageRow] = {}",
        H25,
    ),
    bug(
        "emission failure ignored",
        "tidings/runtime/round.py",
        "            self.fail({tag for tag, _ in live}, f",
        "            str(f",
        H21,
        FAILED_ROUND,
    ),
    bug(
        "records of a round are sent side by side",
        "tidings/runtime/round.py",
        "            await producer.produce(target.topic, target.partition, [record for _, record in live])\n",
        "            await asyncio.gather(*(producer.produce(*target, [record]) for _, record in live))\n",
        H36,
    ),
    bug(
        "tails of an older assignment enter memory",
        "services/fanout/deliver_worker.py",
        "            work.must_be_ours()\n",
        "",
        H22_OUTLIVED,
    ),
    bug(
        "live is answered while a pushed round is unconfirmed",
        "services/fanout/deliver_worker.py",
        "if newcomer.partition in self._unconfirmed:",
        "if False:",
        H14,
    ),
    bug(
        "a newcomer that must wait keeps the loop busy",
        "services/fanout/deliver_worker.py",
        "if self._presence.newcomers and (partitions or not self._unconfirmed):",
        "if self._presence.newcomers:",
        H14,
    ),
    bug(
        "a repeated round pushes again",
        "services/fanout/deliver_worker.py",
        "if record.offset <= self._pushed.get(record.partition, -1):",
        "if False:",
        PUSHED_ONCE,
    ),
    bug(
        "members cached past a change",
        "services/fanout/members.py",
        "        if persisted.joined_ids or persisted.left_ids:\n",
        "        if False:\n",
        OWN_INTERVALS,
        REMOVED_STILL_TOLD,
    ),
    bug(
        "members of the present instead of those at the seq",
        "services/fanout/expand_worker.py",
        "member_page(session_id, seq, after",
        "member_page(session_id, 2**62, after",
        OWN_INTERVALS,
        H16,
    ),
    bug(
        "members in memory are taken for those of any seq",
        "services/fanout/expand_worker.py",
        "!= seq - 1:",
        "== -1:",
        H16,
    ),
    bug(
        "expand skips the repeat check",
        "services/fanout/expand_worker.py",
        "if marks.is_repeat(persisted.source):",
        "if False:",
        NOTHING_TWICE,
    ),
    bug(
        "a repeated round tells the gateways again",
        "services/fanout/expand_worker.py",
        "if record.offset <= self._pushed.get(record.partition, -1):",
        "if False:",
        TOLD_ONCE,
    ),
    bug(
        "gone takes back whatever connection the device has",
        "services/fanout/presence.py",
        "known = connections.get((key.device_id, key.gateway))\n        if known is not None and",
        "known = next(reversed(connections.values()), None)\n        if known is not None or",
        H11,
    ),
    Bug(
        "the gateway announces itself before its push position is fixed",
        "services/gateway/service.py",
        (
            ("        await take_push_partition(reader, ordinal)\n", ""),
            (
                "        identity = await announce_gateway(producer, ordinal)\n",
                "        identity = await announce_gateway(producer, ordinal)\n"
                "        await take_push_partition(reader, ordinal)\n",
            ),
        ),
        (H13,),
    ),
    bug(
        "a gateway does not mind a later start of its ordinal",
        "services/gateway/log_reading.py",
        "record.offset > identity.epoch:",
        "record.offset < 0:",
        H33,
    ),
)


def main() -> int:
    """Plant each bug whose name has the given word in it; all of them without one."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [one for one in BUGS if word in one.name]
    worst = 0
    with tempfile.TemporaryDirectory(prefix="tidings-planted-") as directory:
        tree = Path(directory)
        _copy_to(tree)
        tests = sorted({test for one in chosen for test in one.tests})
        broken = _failing(tree, tests)
        for test in broken:
            print(f"fails without any bug: {test}")
            worst = 2
        for one in chosen:
            worst = max(worst, _try(tree, one))
    print(f"{len(chosen)} bugs planted")
    return worst


def _copy_to(tree: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", "*.egg-info")
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)


def _try(tree: Path, one: Bug) -> int:
    path = tree / one.file
    before = path.read_text()
    planted = before
    for old, new in one.edits:
        if planted.count(old) < 1:
            print(f"{one.name}\n    CANNOT BE PLANTED: {one.file} has no {old.strip()!r}")
            return 2
        planted = planted.replace(old, new)
    path.write_text(planted)
    failing = _failing(tree, one.tests)
    path.write_text(before)
    print(one.name)
    for test in one.tests:
        print(f"    {'failed as it should' if test in failing else 'NOT CAUGHT         '}  {test.split('::')[1]}")
    sys.stdout.flush()
    return 0 if failing >= set(one.tests) else 1


def _failing(tree: Path, tests: tuple[str, ...] | list[str]) -> set[str]:
    """Which of them fail; a parametrised one does when one of its cases does."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider"]
    finished = subprocess.run(
        [*command, f"--timeout={TEST_TIMEOUT_S}", *tests],
        cwd=tree,
        env={**os.environ, "SIMULATION_SEEDS": SIMULATED_SEEDS},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run the tests:\n{finished.stdout[-2000:]}{finished.stderr[-2000:]}")
    return {match.split("[")[0] for match in re.findall(r"^FAILED (\S+)", finished.stdout, re.MULTILINE)}


if __name__ == "__main__":
    sys.exit(main())
