"""What counts as a finding, over rows in their order."""

import itertools
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import inbox_row, message
from tidings.audit.rules import HOLE_MS, InboxOrder, Repeats, SeenSeqs, runs_missing
from tidings.ids import DAY_MS
from tidings.store.rows import InboxRow

AT = 1_764_000_000_000


def problems(*rows: InboxRow, now_ms: int = AT) -> list[tuple[str, str]]:
    order = InboxOrder("bob", now_ms)
    return [(found.kind, found.problem) for row in rows for found in order.add(row)]


@given(st.sets(st.integers(1, 40)), st.integers(1, 20), st.integers(0, 20))
def test_runs_missing_are_the_numbers_not_found(found: set[int], first: int, length: int) -> None:
    wanted = set(range(first, first + length))
    inside = sorted(found & wanted)
    runs = list(runs_missing(inside, first, first + length - 1))
    assert {number for run in runs for number in range(run[0], run[1] + 1)} == wanted - found
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(runs))


@given(st.lists(st.integers(1, 30), unique=True))
def test_seen_seqs_are_a_set(seqs: list[int]) -> None:
    seen = SeenSeqs()
    for number, seq in enumerate(seqs):
        assert seq not in seen
        seen.add(seq)
        assert all(one in seen for one in seqs[: number + 1])
        assert seen.highest >= seq
    assert {one for one in range(32) if one in seen} == set(seqs)


def test_an_inbox_in_order_has_no_finding() -> None:
    rows = [
        inbox_row("bob", 1, seq=1),
        inbox_row("bob", 2, session_id="d:bob:carol", seq=7),
        inbox_row("bob", 3, seq=2),
    ]
    assert problems(*rows) == []


def test_a_hole_in_an_inbox_is_missing() -> None:
    assert problems(inbox_row("bob", 1), inbox_row("bob", 4)) == [("missing", "inbox_seqs 2 to 3 are lost")]
    assert problems(inbox_row("bob", 1), inbox_row("bob", 3)) == [("missing", "inbox_seq 2 is lost")]


def test_a_hole_after_a_row_that_expires_soon_is_none() -> None:
    assert problems(inbox_row("bob", 1), inbox_row("bob", 4), now_ms=AT + HOLE_MS + 1) == []
    assert problems(inbox_row("bob", 1), inbox_row("bob", 4), now_ms=AT + HOLE_MS) != []


def test_an_inbox_may_begin_anywhere() -> None:
    assert problems(inbox_row("bob", 70), inbox_row("bob", 71)) == []


def test_a_message_twice_in_an_inbox_is_doubled() -> None:
    rows = [inbox_row("bob", 1, seq=1), inbox_row("bob", 2, seq=2), inbox_row("bob", 3, seq=1)]
    assert problems(*rows) == [("doubled", "inbox_seq 3 has d:alice:bob seq 1, which an earlier row has too")]


def test_a_lower_seq_after_a_higher_one_is_out_of_order() -> None:
    rows = [inbox_row("bob", 1, seq=5), inbox_row("bob", 2, seq=3), inbox_row("bob", 3, seq=6)]
    assert problems(*rows) == [("out_of_order", "inbox_seq 2 has d:alice:bob seq 3 after seq 5")]


def test_two_messages_with_one_key_are_doubled() -> None:
    repeats = Repeats()
    first, second = message("d:alice:bob", 3), replace(message("d:alice:bob", 8), client_msg_id="m-3")
    assert repeats.add(first) is None
    assert repeats.add(message("d:alice:bob", 4)) is None
    found = repeats.add(second)
    assert found is not None
    assert (found.kind, found.problem) == ("doubled", "alice sent 'm-3' as seq 3 and as seq 8")


def test_an_equal_id_of_another_sender_is_no_repeat() -> None:
    repeats = Repeats()
    assert repeats.add(message("d:alice:bob", 3)) is None
    assert repeats.add(replace(message("d:alice:bob", 4, sender_id="bob"), client_msg_id="m-3")) is None


def test_a_repeat_after_the_life_of_a_key_is_none() -> None:
    repeats = Repeats()
    first = message("d:alice:bob", 3)
    late = replace(first, seq=9, at=first.at + 90 * DAY_MS + 1)
    assert repeats.add(first) is None
    assert repeats.add(late) is None
    assert repeats.add(replace(late, seq=10, at=late.at + 1)) is not None
