"""The receiving half of the SDK's core against a scripted inbox: repeats, gaps, reorderings, losses, restarts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.devices import GROUP, ME, SESSION, Device, message, numbered, opened
from tidings_client import frames, receiving
from tidings_client.effects import Cursor, FetchHistory


@pytest.mark.hazard("H14")
def test_a_new_device_syncs_its_whole_inbox_after_live() -> None:
    device = opened(numbered(5), live=False)
    device.advance(5_000)
    assert device.syncs == []
    device.live()
    device.sync()
    assert device.seqs == [1, 2, 3, 4, 5]


def test_without_live_the_cold_start_syncs_after_ten_seconds() -> None:
    device = opened(numbered(2), live=False)
    device.advance(9_999)
    assert device.syncs == []
    device.advance(1)
    assert device.syncs == [frames.Sync(after=0, limit=200)]


def test_device_from_live_shows_only_later_messages() -> None:
    device = opened(numbered(3), from_live=True)
    device.arrive(message(SESSION, 4))
    assert device.positions == [(SESSION, 4)]


def test_a_gap_is_synced_after_200_ms_and_again_every_second() -> None:
    device = opened()
    device.inbox += numbered(3)
    pushed_at = device.now_ms
    device.push(3)
    device.advance(2_500)
    assert [at - pushed_at for at in device.sync_times] == [200, 1_200, 2_200]
    device.answer()
    assert device.seqs == [1, 2, 3]
    device.syncs.clear()
    device.advance(5_000)
    assert device.syncs == []


def test_pending_request_is_not_repeated_within_a_second() -> None:
    device = opened()
    device.inbox += numbered(5)
    device.push(3)
    device.advance(200)
    device.heartbeat()
    device.push(5)
    device.advance(900)
    assert len(device.sync_times) == 1
    device.answer()
    assert device.seqs == [1, 2, 3, 4, 5]


def test_pushes_beyond_the_gap_buffer_are_acked_and_synced_later() -> None:
    device = opened()
    device.inbox += numbered(receiving.MAX_HELD + 5)
    device.push(*range(2, receiving.MAX_HELD + 6))
    device.advance(100)
    assert device.acks[-1].inbox_seq == receiving.MAX_HELD + 5
    device.settle_down()
    assert device.seqs == list(range(1, receiving.MAX_HELD + 6))


def test_a_gap_that_closes_by_itself_is_not_synced() -> None:
    device = opened()
    device.inbox += numbered(3)
    device.push(3, 2, 1)
    device.advance(3_000)
    assert device.seqs == [1, 2, 3]
    assert device.sync_times == []


def test_lost_sync_answer_does_not_stop_repair_of_later_gaps() -> None:
    device = opened()
    device.inbox += numbered(3)
    device.push(2)
    device.advance(200)
    device.syncs.clear()
    device.push(1, 3)
    device.inbox += numbered(2, first=4)
    device.push(5)
    device.advance(1_000)
    device.answer()
    assert device.seqs == [1, 2, 3, 4, 5]


def test_a_lost_last_message_is_noticed_at_the_heartbeat() -> None:
    device = opened()
    device.inbox += numbered(1)
    device.heartbeat()
    device.sync()
    assert device.seqs == [1]


def test_expired_numbers_are_skipped() -> None:
    device = opened(numbered(10), expired=7)
    device.sync()
    assert device.seqs == [8, 9, 10]


def test_truncated_page_in_a_full_queue_skips_only_expired_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    device = opened(numbered(6), expired=1)
    device.advance(0)
    monkeypatch.setattr(receiving, "WINDOW", 2)
    device.answer()
    assert device.seqs == [2, 3]
    device.settle_down()
    assert device.seqs == [2, 3, 4, 5, 6]


def test_an_empty_truncated_page_moves_the_cursor_to_next() -> None:
    device = opened(numbered(10), expired=10)
    device.sync()
    device.arrive(message(SESSION, 11))
    assert device.positions == [(SESSION, 11)]


@pytest.mark.hazard("H16")
def test_the_same_seq_under_two_inbox_numbers_is_shown_once() -> None:
    device = opened()
    device.arrive(message(SESSION, 1), message(SESSION, 1), message(SESSION, 2))
    assert device.seqs == [1, 2]


def test_cursor_follows_handled_messages_not_shown_ones() -> None:
    device = opened()
    device.arrive(*numbered(3))
    device.advance(1_000)
    assert device.cursor is None
    device.take(device.core.handled(device.now_ms, device.tickets[1]))
    device.advance(1_000)
    assert device.cursor is None
    device.take(device.core.handled(device.now_ms, device.tickets[0]))
    device.advance(1_000)
    assert device.cursor == Cursor(2, is_whole=True)


def test_a_full_application_holds_the_flow_and_a_sync_resumes_it() -> None:
    device = opened(numbered(receiving.WINDOW + 700))
    for _ in range(12):
        device.advance(1)
        device.answer_all()
    assert len(device.shown) == receiving.WINDOW
    device.handle(receiving.WINDOW // 2 + 1)
    device.settle_down()
    assert device.seqs == list(range(1, receiving.WINDOW + 701))


# -- read diffusion ------------------------------------------------------------------------------------------


def reading(count: int, last: int) -> Device:
    """A device before a group log of so many messages, whose cursor is at `last`."""
    return opened(cursor=Cursor(0, {GROUP: last}), log={GROUP: numbered(count, GROUP)})


def test_group_log_is_read_from_the_last_shown_seq_to_the_head() -> None:
    device = reading(8, last=2)
    device.settle_down()
    assert device.seqs == [3, 4, 5, 6, 7, 8]
    assert device.cursor == Cursor(0, {GROUP: 8})


def test_a_gap_in_group_pushes_is_filled_from_history() -> None:
    device = reading(3, last=3)
    device.log[GROUP] += numbered(3, GROUP, first=4)
    device.push_from_log(message(GROUP, 4))
    device.push_from_log(message(GROUP, 6))
    assert device.seqs == [4]
    device.advance(199)
    assert device.histories == []
    device.advance(1)
    assert device.histories == [FetchHistory(GROUP, 4)]
    device.answer_history()
    assert device.seqs == [4, 5, 6]


def test_group_push_before_its_mode_switch_waits_for_the_sync() -> None:
    device = opened()
    device.log = {GROUP: []}
    switch: dict[str, Any] = {
        "event": "members_added",
        "user_ids": ["zoe"],
        "mode": "read",
        "mode_from": "write",
        "mode_to": "read",
    }
    device.inbox = [message(GROUP, 1), message(GROUP, 2, **switch)]
    device.push_from_log(message(GROUP, 3))
    assert device.shown == []
    device.sync()
    assert device.seqs == [1, 2, 3]


@pytest.mark.hazard("H16")
@pytest.mark.parametrize("last", [1, 2])
def test_history_precedes_the_inbox_after_a_switch_to_write(last: int) -> None:
    device = Device(log={GROUP: numbered(4, GROUP)}, cursor=Cursor(0, {GROUP: last}))
    switch = message(GROUP, 5, event="member_removed", user_id="zoe", mode_from="read", mode_to="write")
    device.log[GROUP].append(switch)
    device.inbox = [switch, message(GROUP, 6)]
    device.begin()
    device.push(1, 2)
    device.advance(0)
    device.answer_history()
    device.advance(200)
    assert device.seqs == list(range(last + 1, 7))
    assert device.cursor == Cursor(0, {GROUP: last})
    device.handle(5 - last)
    device.advance(1_000)
    assert device.cursor == Cursor(1, {})
    device.settle_down()
    assert device.seqs == list(range(last + 1, 7))
    assert device.cursor == Cursor(2, {})


def test_rejoining_after_an_expired_leaving_does_not_wait() -> None:
    device = opened(cursor=Cursor(0, {GROUP: 3}))
    device.arrive(message(GROUP, 9, event="members_added", user_ids=[ME], mode="read"))
    assert device.positions == [(GROUP, 9)]


def test_rejoining_does_not_wait_for_messages_in_between() -> None:
    device = reading(3, last=3)
    left = message(GROUP, 4, event="member_removed", user_id=ME)
    device.arrive(left, message(GROUP, 9, event="members_added", user_ids=[ME], mode="read"))
    device.push_from_log(message(GROUP, 10))
    assert device.seqs == [4, 9, 10]


def test_inbox_rows_of_a_closed_group_are_shown() -> None:
    device = reading(4, last=2)
    device.arrive(message(GROUP, 6, event="member_removed", user_id=ME), *numbered(1))
    device.advance(300)
    device.history_failed(gone=True)
    device.handle(5)
    device.advance(1_000)
    assert device.positions == [(SESSION, 1), (GROUP, 6)]
    assert device.cursor == Cursor(2, {})


def test_dropped_group_push_is_read_from_history_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiving, "WINDOW", 2)
    device = opened(cursor=Cursor(0, {GROUP: 0}))
    device.arrive(*numbered(2))
    device.log = {GROUP: numbered(1, GROUP)}
    device.push_from_log(message(GROUP, 1))
    device.advance(1_000)
    assert device.histories == []
    device.handle(2)
    device.advance(0)
    assert device.histories == [FetchHistory(GROUP, 0)]


# -- properties ----------------------------------------------------------------------------------------------

SESSIONS = (SESSION, "d:bob:zoe", "d:bob:carol")
ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 2)),
    st.tuples(st.just("push"), st.integers(0, 30)),
    st.tuples(st.just("advance"), st.sampled_from([1, 50, 200, 1_000, 6_000])),
    st.tuples(st.just("handle"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["heartbeat", "answer", "forget", "lose", "restart"]), st.just(0)),
)
Schedule = list[tuple[str, int]]


def act(device: Device, name: str, number: int) -> None:
    """One step of a schedule."""
    match name:
        case "append":
            session_id = SESSIONS[number]
            seq = 1 + sum(m.session_id == session_id for m in device.inbox)
            device.inbox.append(message(session_id, seq))
        case "push" if device.inbox:
            device.push(1 + number % len(device.inbox))
        case "advance" | "handle":
            getattr(device, name)(number)
        case "heartbeat":
            device.heartbeat()
        case "answer" if device.syncs:
            device.answer()
        case "forget":
            device.syncs.clear()
        case "lose":
            device.lose_connection(1_000)


@pytest.mark.promise("G6")
@settings(max_examples=300, deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_each_message_is_shown_once_under_any_push_faults(schedule: Schedule) -> None:
    device = opened()
    for name, number in schedule:
        act(device, name, number)
    device.settle_down()
    assert device.positions == [(m.session_id, m.seq) for m in device.inbox]
    assert device.cursor == (Cursor(len(device.inbox), is_whole=True) if device.inbox else None)


@settings(max_examples=200, deadline=None)
@given(st.lists(ACTIONS, max_size=60))
def test_restart_shows_every_message_after_the_cursor(schedule: Schedule) -> None:
    device = opened()
    seen: list[tuple[str, int]] = []
    for name, number in schedule:
        if name == "restart":
            seen += device.positions
            device.restart()
        act(device, name, number)
    kept = device.cursor.inbox_seq if device.cursor else 0
    device.settle_down()
    expected = [(m.session_id, m.seq) for m in device.inbox]
    assert set(seen + device.positions) == set(expected)
    assert device.positions == expected[len(expected) - len(device.positions) :]
    assert len(device.positions) >= len(expected) - kept


LOG_ACTIONS = st.one_of(
    st.tuples(st.just("push"), st.integers(1, 12)),
    st.tuples(st.just("advance"), st.sampled_from([1, 200, 1_000])),
    st.tuples(st.sampled_from(["history", "fail", "live", "lose"]), st.just(0)),
    st.tuples(st.just("handle"), st.just(3)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(LOG_ACTIONS, max_size=50))
def test_group_log_is_shown_once_in_order_under_any_interleaving(schedule: Schedule) -> None:
    device = reading(12, last=0)
    for name, number in schedule:
        match name:
            case "push":
                device.push_from_log(device.log[GROUP][number - 1])
            case "history" if device.histories:
                device.answer_history()
            case "fail" if device.histories:
                device.history_failed(session_id=device.histories.pop(0).session_id)
            case "live":
                device.live()
            case _:
                act(device, name, number)
    device.live()
    device.settle_down()
    assert device.positions == [(GROUP, seq) for seq in range(1, 13)]
    assert device.cursor == Cursor(0, {GROUP: 12})
