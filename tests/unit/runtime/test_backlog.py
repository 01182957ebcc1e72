"""What a stage has still to do, as numbers that also grow while nothing moves."""

import pytest

from tidings.broker.base import TopicPartition
from tidings.runtime.backlog import Backlog, Behind

P, Q = TopicPartition("t", 0), TopicPartition("t", 1)
NOW_MS = 1_000_000


def test_a_stage_that_has_confirmed_all_has_no_backlog() -> None:
    backlog = Backlog()
    backlog.saw_ends({P: 7})
    assert backlog.measured([Behind(P, 7, None)], NOW_MS) == (0, 0)


def test_age_is_that_of_the_oldest_record_of_all_partitions() -> None:
    backlog = Backlog()
    backlog.saw_ends({P: 10, Q: 5})
    behind = [Behind(P, 7, NOW_MS - 2_000), Behind(Q, 4, NOW_MS - 9_000)]
    assert backlog.measured(behind, NOW_MS) == (4, 9)


@pytest.mark.parametrize("oldest_at_ms", [None, NOW_MS - 500])
def test_age_grows_while_nothing_moves(oldest_at_ms: int | None) -> None:
    backlog = Backlog()
    backlog.saw_ends({P: 8})
    backlog.measured([Behind(P, 7, oldest_at_ms)], NOW_MS)
    assert backlog.measured([Behind(P, 7, oldest_at_ms)], NOW_MS + 60_000)[1] >= 60


def test_age_of_an_unread_record_counts_from_progress() -> None:
    backlog = Backlog()
    backlog.saw_ends({P: 9})
    backlog.measured([Behind(P, 7, None)], NOW_MS)
    assert backlog.measured([Behind(P, 8, None)], NOW_MS + 5_000) == (1, 0)
    assert backlog.measured([Behind(P, 8, None)], NOW_MS + 8_000) == (1, 3)


def test_a_queued_record_counts_without_a_known_end() -> None:
    assert Backlog().measured([Behind(P, 7, NOW_MS - 3_000)], NOW_MS) == (1, 3)


def test_a_new_assignment_begins_without_old_ages() -> None:
    backlog = Backlog()
    backlog.saw_ends({P: 9})
    backlog.measured([Behind(P, 7, None)], NOW_MS)
    backlog.forget()
    backlog.saw_ends({P: 9})
    assert backlog.measured([Behind(P, 7, None)], NOW_MS + 50_000) == (2, 0)
