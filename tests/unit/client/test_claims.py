"""What a device says of *delivered* and *read*: never past what no device of the user has had."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.devices import GROUP, ME, SESSION, Device, message, numbered, opened
from tidings_client.acks import Acks
from tidings_client.claims import Claims
from tidings_client.effects import Cursor, Effect, FetchOwnMarks, SendFrame
from tidings_client.frames import Ack, Live, Message, Position, Read


class Desk:
    """Claims before a server that keeps what is said."""

    def __init__(self) -> None:
        self.acks = Acks()
        self.claims = Claims(self.acks)
        self.now_ms = 0
        self.delivered = self.read_seq = 0
        self.asked: list[str] = []
        self.take(self.acks.ready())

    def take(self, effects: object) -> None:
        for effect in list[Effect](effects):  # type: ignore[call-overload]
            match effect:
                case SendFrame(frame=Ack(delivered=places)):
                    self.delivered = max([self.delivered, *(place.seq for place in places)])
                case SendFrame(frame=Read(seq=seq)):
                    self.read_seq = max(self.read_seq, seq)
                case FetchOwnMarks(session_ids=names):
                    self.asked += names

    def show(self, *messages: Message, is_read_mode: bool = False) -> None:
        for shown in messages:
            self.take(self.claims.shown(self.now_ms, shown, ME, is_read_mode=is_read_mode))
            self.pass_time()

    def read(self, seq: int, *, even_unseen: bool = False) -> None:
        self.take(self.claims.read(self.now_ms, SESSION, seq, even_unseen=even_unseen))
        self.pass_time()

    def had(self, first: int, last: int) -> None:
        self.take(self.claims.had(self.now_ms, SESSION, first, last))
        self.pass_time()

    def stored(self, delivered_seq: int, joined_seq: int = 1) -> None:
        self.take(self.claims.stored(self.now_ms, SESSION, delivered_seq, joined_seq))
        self.pass_time()

    def pass_time(self) -> None:
        self.now_ms += 1_000
        self.take(self.acks.tick(self.now_ms))
        self.take(self.claims.tick(self.now_ms))


def above_a_gap() -> Desk:
    """The device began in the middle of the session, and was shown seq 6 of it."""
    desk = Desk()
    desk.show(message(SESSION, 6))
    return desk


@pytest.mark.field_case("7")
def test_a_message_above_a_gap_makes_nothing_delivered() -> None:
    desk = above_a_gap()
    desk.read(6)
    assert (desk.delivered, desk.asked) == (0, [SESSION])
    desk.stored(0)
    assert (desk.delivered, desk.read_seq) == (0, 0)


@pytest.mark.field_case("7")
def test_history_closes_the_gap_and_all_is_delivered() -> None:
    desk = above_a_gap()
    desk.stored(0)
    desk.read(6)
    desk.had(3, 5)
    assert (desk.delivered, desk.read_seq) == (0, 0)
    desk.had(1, 2)
    assert (desk.delivered, desk.read_seq) == (6, 6)


def test_messages_of_another_device_are_no_gap() -> None:
    desk = above_a_gap()
    desk.stored(5)
    assert desk.delivered == 6
    desk.show(message(SESSION, 7))
    assert (desk.delivered, desk.asked) == (7, [SESSION])


def test_session_held_from_seq_1_needs_no_lookup() -> None:
    desk = Desk()
    for seq in range(1, 5):
        desk.show(message(SESSION, seq))
        desk.read(seq)
    assert (desk.delivered, desk.read_seq, desk.asked) == (4, 4, [])


def test_messages_before_the_joining_are_no_gap() -> None:
    desk = Desk()
    desk.show(message(GROUP, 11, event="members_added", user_ids=[ME], mode="write"), message(GROUP, 12))
    assert (desk.delivered, desk.asked) == (12, [])


def test_own_messages_count_as_held() -> None:
    desk = Desk()
    desk.show(message(SESSION, 1), message(SESSION, 2, sender_id=ME), message(SESSION, 3))
    assert desk.delivered == 3


def test_in_read_diffusion_only_a_read_is_looked_up() -> None:
    desk = Desk()
    desk.show(message(SESSION, 6), is_read_mode=True)
    assert desk.asked == []
    desk.read(6)
    assert desk.asked == [SESSION]


def test_user_may_dismiss_unseen_messages() -> None:
    desk = Desk()
    desk.read(6, even_unseen=True)
    assert (desk.read_seq, desk.asked) == (6, [])


def test_without_an_answer_the_next_message_asks_again() -> None:
    desk = above_a_gap()
    desk.claims.not_stored(SESSION)
    desk.show(message(SESSION, 7))
    assert desk.asked == [SESSION, SESSION]


def test_waiting_claims_are_looked_up_again_after_live() -> None:
    desk = above_a_gap()
    desk.stored(0)
    desk.claims.live(desk.now_ms)
    desk.pass_time()
    assert desk.asked == [SESSION, SESSION]
    desk.stored(5)
    assert desk.delivered == 6


def test_second_connection_claims_no_more_than_the_first() -> None:
    desk = above_a_gap()
    desk.stored(0)
    desk.acks.lost()
    desk.take(desk.acks.ready())
    assert desk.delivered == 0


Step = tuple[str, int, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.integers(1, 12), st.just(0)),
        st.tuples(st.just("had"), st.integers(1, 12), st.integers(0, 4)),
        st.tuples(st.just("stored"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 12), st.just(0)),
    ),
    max_size=30,
)


@pytest.mark.promise("G8")
@given(steps)
def test_any_order_claims_only_what_some_device_has_had(done: list[Step]) -> None:
    desk, had = Desk(), set[int]()
    for kind, seq, more in done:
        match kind:
            case "show":
                desk.show(message(SESSION, seq))
                had.add(seq)
            case "had":
                desk.had(seq, seq + more)
                had.update(range(seq, seq + more + 1))
            case "stored":
                desk.stored(seq)
                had.update(range(1, seq + 1))
            case _:
                desk.read(seq)
        claimed = max(desk.delivered, desk.read_seq)
        assert had.issuperset(range(1, claimed + 1))


def test_positions_are_sent_per_session() -> None:
    acks = Acks()
    claims = Claims(acks)
    for name in ("d:alice:bob", "d:bob:carol"):
        list(claims.shown(0, message(name, 1), ME, is_read_mode=False))
    (frame,) = [effect.frame for effect in acks.ready() if isinstance(effect, SendFrame)]
    assert isinstance(frame, Ack)
    assert set(frame.delivered) == {Position("d:alice:bob", 1), Position("d:bob:carol", 1)}


def restarted(cursor: Cursor, *new: Message, **rest: Any) -> Device:
    """A device that had two messages of the session in an earlier process, both of them the user's own."""
    device = opened([message(SESSION, 1, ME), message(SESSION, 2, ME), *new], cursor, **rest)
    device.sync()
    device.advance(1_000)
    return device


@pytest.mark.parametrize(("is_whole", "delivered"), [(True, {SESSION: 3}), (False, {})])
def test_claims_of_a_restarted_device_join_its_whole_cursor(is_whole: bool, delivered: dict[str, int]) -> None:
    """All before the cursor was the user's own, so nothing was ever said of it that the server could answer with."""
    device = restarted(Cursor(2, is_whole=is_whole), message(SESSION, 3))
    assert device.delivered == delivered


def test_a_device_that_began_with_live_stays_not_whole() -> None:
    device = opened(numbered(2), from_live=True)
    device.advance(2_000)
    assert device.cursor == Cursor(2)


def test_a_device_whose_rows_have_expired_is_not_whole_any_more() -> None:
    device = restarted(Cursor(0, is_whole=True), message(SESSION, 3), expired=2)
    device.handle(1)
    device.advance(2_000)
    assert (device.cursor, device.delivered) == (Cursor(3), {})


def test_claims_of_a_restarted_device_join_its_group_cursor() -> None:
    device = opened(log={GROUP: numbered(4, GROUP)}, cursor=Cursor(0, {GROUP: 3}, is_whole=True))
    device.advance(0)
    device.answer_history()
    device.mark_read(GROUP, 4)
    device.advance(1_000)
    assert device.delivered == {GROUP: 4}


def test_cursor_does_not_close_a_gap_of_refused_history() -> None:
    """The refusal may be of an earlier membership, and what the log has of this one was not had."""
    device = opened(cursor=Cursor(0, {GROUP: 10}, is_whole=True), log={GROUP: []}, live=False)
    device.give(Live(inbox_seq=0, heads=(Position(GROUP, 20),)))
    device.advance(0)
    assert device.histories
    device.history_failed(gone=True)
    device.arrive(message(GROUP, 61))
    device.mark_read(GROUP, 61)
    device.advance(1_000)
    assert device.delivered.get(GROUP, 0) <= 10
