"""A device whose server's tables were recreated or restored: nothing is shown twice, nothing is left out."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.devices import GROUP, ME, SESSION, Device, message, numbered, opened
from tidings_client import frames
from tidings_client.effects import Cursor
from tidings_client.frames import Deployment, InboxItem, Message, Position, SyncPage
from tidings_client.lives import PATIENCE_MS

T0, T1, T2 = 1_000, 2_000, 3_000
FIRST = Deployment(id="a", origin="a", since=T0)
RESTORED = Deployment(id="b", origin="a", since=T1, restored=(T1,))
WIPED = Deployment(id="w", origin="w", since=T1)


def said(count: int, at_ms: int, first: int = 1, word: str = "") -> list[Message]:
    return [stamped(one, at_ms, word) for one in numbered(count, first=first)]


def stamped(one: Message, at_ms: int, word: str) -> Message:
    return msgspec.structs.replace(one, at=at_ms, client_msg_id=f"{word}{one.seq}")


def phone(
    inbox: list[Message], cursor: Cursor | None = None, deployment: Deployment | None = FIRST, **rest: Any
) -> Device:
    """A device before a server that names its life."""
    return opened(inbox, cursor, deployment=deployment, **rest)


def settled(
    inbox: list[Message], cursor: Cursor | None = None, deployment: Deployment | None = FIRST, **rest: Any
) -> Device:
    device = phone(inbox, cursor, deployment, **rest)
    device.settle_down()
    return device


def wait_out(device: Device, rounds: int) -> None:
    for _ in range(rounds):
        device.advance(2_000)
        device.answer_all()


@pytest.mark.field_case("3")
def test_a_cursor_without_a_life_above_the_tail_begins_again() -> None:
    device = settled(said(3, T0), Cursor(8))
    assert (device.complaints, device.words) == (["other_life"], ["1", "2", "3"])
    device.inbox += said(7, T0, first=4)
    device.settle_down()
    assert device.words == [str(seq) for seq in range(1, 11)]
    assert (device.cursor, device.complaints) == (Cursor(10, deployment=FIRST, is_whole=True), ["other_life"])


@pytest.mark.field_case("3")
def test_a_cursor_without_a_life_needs_no_patience() -> None:
    device = phone(said(3, T0), Cursor(8))
    for _ in range(3):
        device.advance(100)
        device.answer_all()
    assert device.words == ["1", "2", "3"]


@pytest.mark.field_case("3")
def test_a_group_cursor_above_the_head_begins_again() -> None:
    added = message(GROUP, 1, event="members_added", user_ids=[ME], mode="read")
    device = settled([added], Cursor(1, {GROUP: 10}), log={GROUP: [added, *numbered(4, GROUP, first=2)]})
    assert device.positions == [(GROUP, seq) for seq in range(1, 6)]
    assert device.complaints == ["other_life"]


def test_a_head_read_before_a_push_is_no_other_life() -> None:
    added = message(GROUP, 1, event="members_added", user_ids=[ME], mode="read")
    device = phone([added], Cursor(1, {GROUP: 3}), log={GROUP: [added, *numbered(2, GROUP, first=2)]}, live=False)
    device.give(frames.Live(inbox_seq=1, heads=(Position(GROUP, 2),)))
    device.settle_down()
    assert (device.positions, device.complaints) == ([], [])


@pytest.mark.promise("G7")
@pytest.mark.parametrize("count", [0, 2, 9])
def test_after_a_wipe_everything_is_shown_once(count: int) -> None:
    device = settled(said(5, T0))
    device.reconnect(WIPED, said(count, T1, word="new "))
    device.inbox += said(2, T2, first=count + 1, word="new ")
    device.settle_down()
    new = [f"new {seq}" for seq in range(1, count + 3)]
    assert device.words == ["1", "2", "3", "4", "5", *new]
    assert device.complaints == ["other_life"]
    assert device.cursor == Cursor(count + 2, deployment=WIPED, is_whole=True)


@pytest.mark.promise("G7")
@given(kept=st.integers(0, 8), shown=st.integers(0, 8), new=st.integers(0, 8), restarts=st.booleans())
def test_after_a_restore_nothing_is_twice_or_missing(kept: int, shown: int, new: int, restarts: bool) -> None:
    old, later = said(8, T0), said(new, T1, first=kept + 1, word="new ")
    device = settled(old[:shown])
    before = device.words
    restored = [*old[:kept], *later]
    if restarts:
        words = [*before, *settled(restored, device.cursor, RESTORED).words]
    else:
        device.reconnect(RESTORED, restored)
        words = device.words
    expected = [one.client_msg_id for one in restored if one.client_msg_id not in before]
    assert words == [*before, *expected]


def test_second_restore_keeps_messages_shown_in_the_first_life() -> None:
    # Shown in the first life: 1–6. The backup has 1–4; in the second life came 5' and 6'. Then restored again.
    cursor = Cursor(6, deployment=FIRST)
    twice = Deployment(id="c", origin="a", since=T2, restored=(T1, T2))
    inbox = [*said(4, T0), *said(2, T1, first=5, word="second "), *said(1, T2, first=7, word="third ")]
    assert settled(inbox, cursor, twice).words == ["second 5", "second 6", "third 7"]


def test_kept_messages_of_a_restored_group_are_not_shown_again() -> None:
    added = stamped(message(GROUP, 1, event="members_added", user_ids=[ME], mode="read"), T0, "")
    old = [stamped(message(GROUP, seq), T0, "") for seq in range(2, 6)]
    new = [stamped(message(GROUP, seq), T1, "new ") for seq in range(6, 9)]
    device = settled([added], Cursor(1, {GROUP: 7}, FIRST), RESTORED, log={GROUP: [added, *old, *new]})
    assert device.words == ["new 6", "new 7", "new 8"]
    assert device.cursor is not None
    assert device.cursor.groups == {GROUP: 8}


@pytest.mark.promise("G7")
def test_a_push_whose_write_is_late_is_no_other_life() -> None:
    device = settled(said(3, T0))
    late = said(1, T0, first=4)
    device.inbox += late
    device.push(4)
    device.inbox.pop()
    device.lose_connection(2_000)
    wait_out(device, 9)
    device.inbox += late
    device.settle_down()
    assert (device.words, device.complaints) == (["1", "2", "3", "4"], [])


def test_a_cursor_that_stays_above_the_tail_begins_again() -> None:
    device = settled(said(5, T0))
    device.lose_connection()
    device.inbox = said(2, T1, word="new ")
    device.advance(2_000)
    asked = len(device.sync_times)
    wait_out(device, PATIENCE_MS // 1_000)
    assert len(device.sync_times) - asked < PATIENCE_MS // 1_000 + 5
    assert device.words == ["1", "2", "3", "4", "5", "new 1", "new 2"]
    assert device.complaints == ["other_life"]


def test_without_live_a_cursor_above_the_tail_waits() -> None:
    device = settled(said(5, T0))
    device.lose_connection()
    device.inbox = said(4, T0)
    device.advance(1_000)
    device.connect(live=False)
    wait_out(device, PATIENCE_MS // 1_000)
    assert (device.words, device.complaints) == (["1", "2", "3", "4", "5"], [])


def test_acks_of_another_life_are_not_sent_again() -> None:
    device = settled(said(5, T0))
    device.acks.clear()
    device.reconnect(WIPED, said(1, T1))
    assert [ack.inbox_seq for ack in device.acks] == [1]
    assert {place for ack in device.acks for place in ack.delivered} == {Position(SESSION, 1)}


def test_a_page_of_restored_items_is_passed_without_a_deep_call() -> None:
    inbox = said(5_000, T0)
    device = phone(inbox, Cursor(5_000, deployment=FIRST), RESTORED)
    items = tuple(InboxItem(inbox_seq=seq, message=inbox[seq - 1]) for seq in range(1, 5_001))
    device.give(SyncPage(after=0, items=items, next=5_000, tail=5_000))
    device.advance(1_000)
    assert (device.words, device.cursor and device.cursor.inbox_seq) == ([], 5_000)


def test_a_restore_makes_no_device_from_live_whole() -> None:
    """What the backup has kept counts as shown, although this device has never shown it."""
    base = said(5, T0)
    device = settled(base, from_live=True)
    again = settled(base, device.cursor, RESTORED)
    assert again.positions == []
    assert again.cursor is not None
    assert not again.cursor.is_whole
