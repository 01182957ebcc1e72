"""Receipts, counts of groups, and watermarks fetched after `live`: what they move, and what they do not."""

import pytest

from tests.unit.client.authors import GROUP, SENT, SESSION, THROUGH, Author, online
from tidings_client import frames
from tidings_client.effects import CountsMoved, FetchCounts, FetchWatermarks, Status


@pytest.mark.hazard("H25")
def test_receipt_before_the_ack_counts_and_skips_no_status() -> None:
    author = online()
    author.send("a")
    author.receipt(1, 1)
    author.receipt(1, 0)
    author.ack("a", 1)
    assert author.statuses["a"] == THROUGH


def test_a_receipt_of_another_device_of_ours_moves_nothing() -> None:
    author = online()
    author.send("a")
    author.ack("a", 1)
    author.receipt(1, 1, user_id="alice")
    assert author.statuses["a"][-1] is SENT


def test_live_fetches_watermarks_of_unread_sessions() -> None:
    author = online()
    author.send("a")
    author.ack("a", 1)
    author.give(frames.Live(inbox_seq=0))
    assert author.effects[-1] == FetchWatermarks((SESSION,))
    author.take(author.core.watermarks(SESSION, 1, 1))
    assert author.statuses["a"][-1] is Status.READ
    author.effects.clear()
    author.give(frames.Live(inbox_seq=0))
    assert author.effects == []


def sent_to_group(count: int) -> Author:
    author = online()
    for seq in range(1, count + 1):
        author.send_to_group(f"{seq}")
        author.ack(f"{seq}", seq, GROUP)
    return author


def test_live_fetches_counts_of_the_newest_unread_group_message() -> None:
    author = sent_to_group(2)
    author.give(frames.Live(inbox_seq=0))
    assert author.effects[-1] == FetchCounts(GROUP, 2)
    author.take(author.core.counts(GROUP, 2, 1, 0))
    assert [author.statuses[name][-1] for name in ("1", "2")] == [Status.DELIVERED, Status.DELIVERED]


def test_group_counts_move_statuses_of_own_messages() -> None:
    author = sent_to_group(3)
    moved = frames.GroupReceipt(session_id=GROUP, counts=(frames.ReceiptCount(seq=2, delivered=2, read=2),))
    for _ in range(2):
        author.effects.clear()
        author.give(moved)
        assert CountsMoved(GROUP, 2, 2, 2) in author.effects
    assert [author.statuses[name] for name in ("1", "2", "3")] == [THROUGH, THROUGH, THROUGH[:2]]
