"""A group over its whole life, as one device sees it: memberships, both ways of delivery, every loss and repeat."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.client.devices import GROUP, ME, message, opened
from tests.unit.client.group_lives import READ, WRITE, Log, Member, member, settled
from tidings_client import frames, groups, receiving
from tidings_client.effects import Cursor, FetchHistory
from tidings_client.frames import Live, Position

NAMES = ["say", "say", "say", "join", "leave", "name", "switch", "newest", "newest", "live", "heartbeat", "sync"]
STEPS = st.one_of(
    st.tuples(st.sampled_from([*NAMES, "history", "fail", "lose"]), st.integers(0, 1)),
    st.tuples(st.just("push"), st.integers(0, 60)),
    st.tuples(st.just("advance"), st.sampled_from([1, 200, 1_000, 6_000])),
    st.tuples(st.just("handle"), st.integers(1, 5)),
)
Schedule = list[tuple[str, int]]


def rises(seqs: list[int]) -> bool:
    return all(before < after for before, after in pairwise(seqs))


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, max_size=80))
def test_each_message_of_the_memberships_is_shown_once_in_order(schedule: Schedule) -> None:
    device = member()
    for name, number in schedule:
        device.step(name, number)
    device.settle_down()
    assert rises(device.seqs)
    assert all(map(device.group.is_mine, device.seqs))
    assert device.group.must_be_shown() <= set(device.seqs)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(STEPS, st.just(("restart", 0))), max_size=80))
def test_restarts_lose_nothing_and_show_nothing_of_others(schedule: Schedule) -> None:
    device = member()
    for name, number in schedule:
        before = device.seqs
        device.step(name, number)
        assert rises(device.seqs), before
    device.settle_down()
    assert rises(device.seqs)
    assert all(map(device.group.is_mine, device.seen + device.seqs))
    assert device.group.must_be_shown() <= set(device.seen + device.seqs)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60), st.integers(0, 60))
@example([(name, 0) for name in ("join", "say", "switch", "say")], 60)
@example([(name, 0) for name in ("join", "switch", "say", "switch", "say", "switch", "say")], 60)
def test_new_device_reads_from_the_log_what_has_expired(schedule: Schedule, expired: int) -> None:
    """What the inbox has not any more, because its rows have expired."""
    before = member()
    for name, number in schedule:
        before.step(name, number)
    log = before.group
    device = member(log, expired=min(expired, len(log.inbox)), now_ms=before.now_ms)
    device.settle_down()
    device.do("say", "newest")
    device.settle_down()
    assert rises(device.seqs)
    assert all(map(log.is_mine, device.seqs))
    kept = {entry.seq for entry in log.inbox[device.expired :]}
    assert kept <= set(device.seqs)
    if log.is_member and log.mode == READ:
        # What the inbox still has is the beginning, as in a group without logs; without any of it, the joining.
        first = min((seq for seq in kept if seq >= log.spans[-1][0]), default=log.spans[-1][0])
        assert set(range(first, len(log.messages) + 1)) <= set(device.seqs)


def test_handled_log_messages_are_not_shown_after_a_restart() -> None:
    device = settled("join", "say", "switch", "say", "say")
    assert device.seqs == [1, 2, 3, 4, 5]
    device.do("say", "restart")
    device.settle_down()
    assert device.seqs == [6]


def test_message_by_inbox_and_log_is_shown_once() -> None:
    """One that names the user in a large group."""
    device = settled("join", "switch", "say", "name", "say")
    device.push_seq(4, 0)
    device.push_seq(4, 1)
    assert device.seqs == [1, 2, 3, 4, 5]
    assert device.cursor is not None
    device.settle_down()
    assert device.cursor.inbox_seq == len(device.inbox) == 3


def test_switch_while_the_device_is_away_shows_nothing_again() -> None:
    device = settled("join", "say", "say")
    device.do("switch", "say", "say", "restart")
    device.advance(20_000)
    assert device.histories == []
    device.settle_down()
    assert device.seqs == [4, 5, 6]


def test_rejoining_waits_for_nothing_sent_in_between() -> None:
    device = settled("switch", "join", "say")
    device.lose_connection()
    device.do("leave", "say", "join", "say")
    device.advance(1_000)
    device.settle_down()
    assert device.seqs == [2, 3, 4, 6, 7]


def test_device_from_live_reads_no_log_from_before() -> None:
    log = Log()
    for name in ("join", "switch", "say"):
        getattr(log, name)()
    device = opened(log.inbox, from_live=True, live=False)
    device.give(Live(inbox_seq=len(log.inbox), heads=(Position(GROUP, 3),)))
    device.advance(15_000)
    assert (device.histories, device.shown) == ([], [])
    device.push_from_log(message(GROUP, 5))
    device.advance(200)
    assert device.histories == [FetchHistory(GROUP, 3)]
    assert device.cursor is not None
    assert device.cursor.groups == {GROUP: 3}


def test_a_log_followed_again_is_read_up_to_its_known_head() -> None:
    device = settled("join", "switch", "say")
    device.lose_connection()
    device.do("switch", "say", "switch", "say", "say")
    device.advance(1_000)
    for _ in range(4):  # and no heartbeat says it again
        device.answer_all()
        while device.histories:
            device.answer_history()
        device.advance(1_000)
    assert device.seqs == list(range(1, 9))


def test_after_a_switch_in_a_page_the_inbox_shows_the_rest() -> None:
    device = settled("join", "switch", "say")
    device.do("say", "switch", "say", "live")
    device.syncs.clear()
    device.push_from_log(message(GROUP, 9))
    device.history(device.group.messages[3:])
    assert device.seqs == [1, 2, 3, 4, 5]
    device.settle_down()
    assert device.seqs == [1, 2, 3, 4, 5, 6]


def test_history_above_the_next_seq_waits_for_the_inbox() -> None:
    device = settled("switch", "join", "say")
    device.do("leave", "say", "join", "say")
    device.history(device.group.messages[5:])
    assert device.seqs == [2, 3]
    device.settle_down()
    assert device.seqs == [2, 3, 4, 6, 7]


def waits_ms(device: Member, failures: int) -> list[int]:
    """From each failure of history to the next question, while heartbeats and pushes name the group all along."""
    found = []
    for _ in range(failures):
        device.fail_history()
        failed_ms = device.now_ms
        while not device.histories:
            device.do("heartbeat", "newest")
            device.advance(500)
        found.append(device.now_ms - failed_ms)
    return found


def test_unavailable_history_is_asked_for_with_a_backoff() -> None:
    device = settled("join", "switch")
    for _ in range(2):
        device.do("say", "say", "heartbeat")
        device.advance(0)
        assert waits_ms(device, 7) == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
        device.answer_history()
        assert device.seqs == list(range(1, 1 + len(device.group.messages)))


def following(logs: groups.Groups, session_id: str) -> None:
    logs.follow(session_id, 0)
    logs.head(0, session_id, 5)


def test_a_new_connection_resets_the_backoff_of_history() -> None:
    logs = groups.Groups()
    following(logs, "g:x")
    for now_ms in (0, 1_000, 3_000):
        assert list(logs.tick(now_ms, 5)) == [FetchHistory("g:x", 0)]
        assert not list(logs.history_failed(now_ms, "g:x", gone=False, jitter=0.0))
    logs.head(4_000, "g:x", 6)
    assert not list(logs.tick(4_000, 5))
    logs.ready("ann")
    logs.head(4_000, "g:x", 6)
    assert list(logs.tick(4_000, 5)) == [FetchHistory("g:x", 0)]


def test_groups_do_not_ask_for_history_again_all_at_once() -> None:
    logs = groups.Groups()
    for session_id, jitter in (("g:x", -1.0), ("g:y", 1.0)):
        following(logs, session_id)
        assert list(logs.tick(0, 5)) == [FetchHistory(session_id, 0)]
        assert not list(logs.history_failed(0, session_id, gone=False, jitter=jitter))
    asked = {at_ms: list(logs.tick(at_ms, 5)) for at_ms in (799, 800, 1_199, 1_200)}
    assert asked == {799: [], 800: [FetchHistory("g:x", 0)], 1_199: [], 1_200: [FetchHistory("g:y", 0)]}


def test_log_continues_at_the_start_of_history_after_ten_gaps() -> None:
    device = opened(cursor=Cursor(0, {GROUP: 3}))
    for _ in range(groups.GAPS_ACCEPTED):
        device.history([message(GROUP, 9)])
    assert device.positions == [(GROUP, 9)]


def test_a_head_before_its_group_is_named_waits_ten_seconds() -> None:
    device = opened(cursor=Cursor(0))
    device.give(frames.Heartbeat(inbox_seq=0, heads=(Position(GROUP, 3),)))
    device.advance(9_999)
    assert device.histories == []
    device.advance(1)
    assert device.histories == [FetchHistory(GROUP, None)]


def test_joining_again_in_write_mode_ends_the_log() -> None:
    device = opened(cursor=Cursor(0, {GROUP: 3}))
    device.arrive(message(GROUP, 9, event="members_added", user_ids=[ME], mode=WRITE), message(GROUP, 10))
    device.handle(2)
    device.advance(1_000)
    assert device.positions == [(GROUP, 9), (GROUP, 10)]
    assert device.cursor == Cursor(2, {})


def test_waiting_messages_enter_the_log_of_the_next_switch() -> None:
    device = settled("join", "switch", "say")
    device.do("say", "switch", "say", "switch", "say", "leave")
    device.push(*range(3, len(device.inbox) + 1))
    device.history(device.group.messages[3:5], more=True)
    assert device.seqs == [1, 2, 3, 4, 5, 6, 7]
    device.history(device.group.messages[7:])
    assert device.seqs == list(range(1, 10))


def test_a_push_of_the_next_log_does_not_overtake_the_inbox() -> None:
    device = settled("join", "switch", "say")
    device.do("say", "switch", "say", "switch", "say")
    device.push_from_log(device.group.messages[7])
    device.history(device.group.messages[3:5], more=True)
    assert device.seqs == [1, 2, 3, 4, 5]
    device.settle_down()
    assert device.seqs == list(range(1, 9))


def test_a_push_repeated_after_a_restart_is_not_shown_again() -> None:
    before = settled("join", "switch", "say")
    assert before.cursor == Cursor(2, {GROUP: 3}, is_whole=True)
    device = opened(before.inbox, Cursor(0, {GROUP: 3}), live=False)
    device.give(Live(inbox_seq=2, heads=(Position(GROUP, 3),)))
    device.sync()
    assert device.shown == []


def test_cursor_does_not_pass_a_shown_but_unhandled_switch() -> None:
    device = settled("join", "switch", "say")
    device.do("say", "switch")
    device.push_from_log(device.group.messages[3])
    device.history(device.group.messages[4:])
    device.push(len(device.inbox))
    device.advance(1_000)
    assert device.seqs == [1, 2, 3, 4, 5]
    assert device.cursor == Cursor(2, {GROUP: 3}, is_whole=True)
    device.handle(2)
    device.advance(1_000)
    assert device.cursor == Cursor(3, {}, is_whole=True)


def test_logs_are_read_no_faster_than_they_are_taken() -> None:
    names = [f"g:{number}" for number in range(60)]
    device = opened(cursor=Cursor(0, dict.fromkeys(names, 1)), live=False)
    device.give(Live(inbox_seq=0, heads=tuple(Position(name, 201) for name in names)))
    for done in range(0, 60 * 200, 200):
        device.advance(100)
        assert len(device.histories) <= 5
        while device.histories:
            name = device.histories.pop(0).session_id
            device.history([message(name, seq) for seq in range(2, 202)], session_id=name)
        assert len(device.tickets) <= receiving.WINDOW
        assert len(device.shown) == min(done + receiving.WINDOW, 60 * 200)
        device.handle(200)


def test_pushes_of_an_unnamed_group_make_one_sync_a_second() -> None:
    device = opened(cursor=Cursor(0))
    for seq in range(1, 501):
        device.push_from_log(message(GROUP, seq))
        device.advance(10)
        device.answer_all()
    assert 2 <= len(device.sync_times) <= 6


def test_answer_for_a_forgotten_log_does_not_end_its_successor() -> None:
    device = settled("join", "switch", "say")
    device.do("say", "heartbeat")
    device.advance(0)
    assert device.histories
    device.do("leave", "join", "say")
    device.push(len(device.inbox) - 1, len(device.inbox))
    device.history_failed(gone=True)
    device.push_from_log(device.group.messages[-1])
    assert device.seqs[-2:] == [6, 7]


def test_log_continues_at_once_above_purged_messages() -> None:
    device = opened(cursor=Cursor(0, {GROUP: 3}))
    device.history([message(GROUP, 9), message(GROUP, 10)], purged_seq=8)
    assert device.positions == [(GROUP, 9), (GROUP, 10)]
    assert device.syncs == []


@pytest.mark.parametrize("last", [3, None])
def test_log_of_purged_messages_alone_is_not_asked_again(last: int | None) -> None:
    device = opened(cursor=Cursor(0, {} if last is None else {GROUP: last}))
    device.give(frames.Heartbeat(inbox_seq=0, heads=(Position(GROUP, 8),)))
    device.advance(11_000)
    assert device.histories == [FetchHistory(GROUP, last)]
    device.history([], purged_seq=8)
    device.advance(60_000)
    assert device.histories == [FetchHistory(GROUP, last)]
    device.push_from_log(message(GROUP, 9))
    assert device.positions == [(GROUP, 9)]


def test_log_that_is_past_the_purge_continues() -> None:
    device = opened(cursor=Cursor(0, {GROUP: 3}))
    device.history([message(GROUP, 4)], more=True, purged_seq=2)
    assert device.positions == [(GROUP, 4)]
