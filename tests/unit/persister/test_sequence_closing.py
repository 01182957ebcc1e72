"""The archiver's command closes the newest segment of a quiet session, and nothing else."""

import pytest

from services.persister.decisions import Closed, LeftOpen
from services.persister.state import Draft
from tests.unit.persister.builders import NOON_MS, SESSION, accepted, command, decided, fresh, stamps
from tidings.wire.inbound_pb2 import CloseSegment, Command


def closing(segment: int, last_seq: int) -> Command:
    asked = CloseSegment(segment=segment, last_seq=last_seq)
    return Command(stamps=stamps(), session_id=SESSION, close_segment=asked)


def with_messages(number: int) -> Draft:
    draft = fresh()
    for offset in range(number):
        decided(draft, command(f"m{offset}"), offset=offset)
    return draft


def test_quiet_segment_is_closed_with_its_tail() -> None:
    draft = with_messages(3)
    assert decided(draft, closing(1, 3), offset=9) == Closed(1, 3, 3, NOON_MS)


@pytest.mark.parametrize(("segment", "last_seq"), [(1, 2), (1, 4), (2, 3)])
def test_segment_with_another_tail_stays_open(segment: int, last_seq: int) -> None:
    draft = with_messages(3)
    assert decided(draft, closing(segment, last_seq), offset=9) == LeftOpen()
    assert accepted(decided(draft, command("next"), offset=10)).segment == 1


def test_session_that_does_not_exist_is_not_closed() -> None:
    draft = fresh()
    assert decided(draft, closing(1, 1), offset=9) == LeftOpen()
    assert accepted(decided(draft, command("m0"), offset=10)).stored.seq == 1


def test_closed_segment_is_closed_once() -> None:
    draft = with_messages(3)
    decided(draft, closing(1, 3), offset=9)
    assert decided(draft, closing(1, 3), offset=10) == LeftOpen()


@pytest.mark.promise("G3")
def test_message_after_a_closing_opens_the_next_segment() -> None:
    draft = with_messages(3)
    decided(draft, closing(1, 3), offset=9)
    first, second = (accepted(decided(draft, command(name), offset=10)) for name in ("a", "b"))
    assert (first.segment, first.stored.seq, first.count, first.opens_segment) == (2, 4, 4, True)
    assert (second.segment, second.stored.seq, second.opens_segment) == (2, 5, False)


def test_closing_is_kept_by_a_confirmed_round() -> None:
    draft = with_messages(3)
    decided(draft, closing(1, 3), offset=9)
    following = Draft.of(draft.confirmed(), 0)
    assert accepted(decided(following, command("a"), offset=10)).segment == 2
