"""What becomes of one command."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.persister.decisions import Accepted, Repeated
from services.persister.sequence import KEY_LIFE_MS, MOST_AHEAD_MS, OLDEST_ID_MS
from services.persister.state import (
    KEY_WINDOW_MS,
    SKEW_MS,
    Draft,
    MessageKey,
    SessionState,
    Stored,
    needs_lookup,
)
from tests.unit.persister.builders import DAY_MS, NOON_MS, SESSION, accepted, code, command, decided, fresh, uuid7
from tidings.store.base import KeyBucket
from tidings.wire.inbound_pb2 import Command


@pytest.mark.promise("G3")
def test_seqs_of_a_session_are_one_two_three() -> None:
    draft = fresh()
    seqs = [accepted(decided(draft, command(f"m{i}"), offset=i)).stored.seq for i in range(5)]
    assert seqs == [1, 2, 3, 4, 5]


def test_the_message_id_says_where_the_command_stands_on_the_log() -> None:
    assert accepted(decided(fresh(), command("m"), offset=77)).stored.message_id == 77


@pytest.mark.promise("G2")
def test_a_repeat_with_the_same_content_gets_the_first_seq() -> None:
    draft = fresh()
    first = accepted(decided(draft, command("m"), offset=1))
    again = decided(draft, command("m"), offset=2)
    assert again == Repeated(first.stored)
    assert draft.seq == 1


@pytest.mark.promise("G2")
def test_repeat_with_other_content_is_a_conflict_without_seq() -> None:
    draft = fresh()
    decided(draft, command("m", text="one"), offset=1)
    assert code(decided(draft, command("m", text="two"), offset=2)) == "conflict"
    assert draft.seq == 1


def test_two_senders_may_use_the_same_id() -> None:
    draft = fresh()
    decided(draft, command("m", sender="alice"), offset=1)
    assert accepted(decided(draft, command("m", sender="bob"), offset=2)).stored.seq == 2


@pytest.mark.parametrize(
    ("distance_ms", "refused"), [(MOST_AHEAD_MS + 1, "clock_skew"), (-OLDEST_ID_MS - 1, "too_old")]
)
def test_a_uuid_far_from_log_time_is_refused(distance_ms: int, refused: str) -> None:
    assert code(decided(fresh(), command(uuid7(NOON_MS + distance_ms)), offset=1)) == refused


@pytest.mark.parametrize("distance_ms", [SKEW_MS, MOST_AHEAD_MS, -90 * DAY_MS, -OLDEST_ID_MS])
def test_a_uuid_at_the_border_is_accepted(distance_ms: int) -> None:
    accepted(decided(fresh(), command(uuid7(NOON_MS + distance_ms)), offset=1))


@pytest.mark.promise("G11")
def test_non_member_gets_session_not_found() -> None:
    assert code(decided(fresh(), command("m", sender="mallory"), offset=1)) == "session_not_found"


@pytest.mark.promise("G11")
def test_group_that_does_not_exist_looks_the_same() -> None:
    assert code(decided(fresh(), command("m", session_id="g:guess"), offset=1)) == "session_not_found"


def test_reply_to_a_missing_message_is_refused() -> None:
    draft = fresh()
    decided(draft, command("m1"), offset=1)
    assert code(decided(draft, command("m2", reply_to=2), offset=2)) == "invalid_body"
    accepted(decided(draft, command("m3", reply_to=1), offset=3))


@pytest.mark.hazard("H29")
def test_at_never_goes_back_when_the_broker_clock_does() -> None:
    draft = fresh()
    decided(draft, command("m1"), offset=1, at_ms=NOON_MS)
    assert accepted(decided(draft, command("m2"), offset=2, at_ms=NOON_MS - 60_000)).stored.at == NOON_MS


@pytest.mark.field_case("40")
@pytest.mark.parametrize("broker_off_ms", [-6 * 60_000, -3_600_000, 3_600_000])
def test_a_brokers_clock_refuses_no_message(broker_off_ms: int) -> None:
    """The id is of the gateway's time, which its client was sent; the record has the broker's."""
    draft = fresh()
    sent = accepted(decided(draft, command(uuid7(NOON_MS)), offset=1, at_ms=NOON_MS + broker_off_ms))
    assert sent.stored.at == max(NOON_MS + broker_off_ms, NOON_MS - SKEW_MS)


def test_a_key_outlives_every_id_that_is_taken() -> None:
    """Stored at its id's time − 5 min at the earliest, it counts until that id is too old."""
    assert KEY_LIFE_MS > OLDEST_ID_MS + SKEW_MS


_MINUTES = st.integers(-13 * 60, 13 * 60)


@pytest.mark.field_case("40")
@settings(max_examples=300)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["new", "repeat", "reload", "confirm"]), _MINUTES, st.integers(0, 9)), max_size=30
    )
)
def test_an_id_has_one_seq_whatever_the_brokers_clock_does(steps: list[tuple[str, int, int]]) -> None:
    state = SessionState()
    tables: dict[MessageKey, Stored] = {}
    sent: list[Command] = []
    seqs: dict[str, int] = {}
    for number, (step, broker_off, choice) in enumerate(steps):
        now_ms = NOON_MS + number * 60_000
        if step == "reload":
            tail = max(tables.values(), key=lambda stored: stored.seq, default=None)
            state = loaded(tail)
            continue
        if step == "new" or not sent:
            sent.append(command(uuid7(now_ms + (choice - 4) * 60_000, number)))
        asked = sent[-1 if step == "new" else choice % len(sent)]
        key = MessageKey("alice", asked.client_msg_id)
        draft = Draft.of(state, 0)
        if needs_lookup(state, key) and key in tables:
            draft.looked_up[key] = tables[key]
        match decided(draft, asked, offset=number, at_ms=now_ms + broker_off * 60_000):
            case Accepted(stored=stored):
                assert asked.client_msg_id not in seqs
                seqs[asked.client_msg_id] = stored.seq
                tables[key] = stored
            case Repeated(stored=stored):
                assert seqs[asked.client_msg_id] == stored.seq
        state = draft.confirmed()


def loaded(tail: Stored | None) -> SessionState:
    """As the persister reads a session: from its newest message."""
    if tail is None:
        return SessionState()
    return SessionState(seq=tail.seq, count=tail.seq, at=tail.at, segment=1, segment_month=202611, known_from=tail.at)


@pytest.mark.hazard("H17")
def test_a_segment_rolls_at_the_stamped_size() -> None:
    draft = fresh()
    segments = [accepted(decided(draft, command(f"m{i}", segment_messages=2), offset=i)).segment for i in range(5)]
    assert segments == [1, 1, 2, 2, 3]


def test_a_segment_rolls_when_the_month_changes() -> None:
    draft = fresh()
    first = accepted(decided(draft, command("m1"), offset=1, at_ms=NOON_MS))
    second = accepted(decided(draft, command("m2"), offset=2, at_ms=NOON_MS + 10 * DAY_MS))
    assert (first.segment, first.month, second.segment, second.month) == (1, 202611, 2, 202612)


@pytest.mark.hazard("H6")
def test_late_second_copy_is_a_repeat_in_a_new_segment() -> None:
    draft = fresh()
    first = accepted(decided(draft, command("m0", segment_messages=2), offset=0))
    for i in range(1, 6):
        decided(draft, command(f"m{i}", segment_messages=2), offset=i)
    assert decided(draft, command("m0", segment_messages=2), offset=6) == Repeated(first.stored)


@pytest.mark.hazard("H7")
def test_copy_ten_thousand_messages_late_is_a_repeat() -> None:
    draft = fresh()
    sent = command(uuid7(NOON_MS))
    first = accepted(decided(draft, sent, offset=0))
    for i in range(1, 10_001):
        decided(draft, command(uuid7(NOON_MS, i)), offset=i)
    state = draft.confirmed()
    assert decided(Draft.of(state, 0), sent, offset=10_001) == Repeated(first.stored)


@pytest.mark.hazard("H30")
def test_round_longer_than_the_key_window_keeps_its_keys() -> None:
    draft = fresh()
    sent = command("not-a-uuid")
    first = accepted(decided(draft, sent, offset=0, at_ms=NOON_MS))
    decided(draft, command("m1"), offset=1, at_ms=NOON_MS + 3 * KEY_WINDOW_MS)
    assert decided(draft, sent, offset=2, at_ms=NOON_MS + 3 * KEY_WINDOW_MS) == Repeated(first.stored)


def test_keys_are_evicted_only_after_the_round_is_confirmed() -> None:
    draft = fresh()
    decided(draft, command("old"), offset=0, at_ms=NOON_MS)
    decided(draft, command("new"), offset=1, at_ms=NOON_MS + KEY_WINDOW_MS + 1)
    state = draft.confirmed()
    old, new = MessageKey("alice", "old"), MessageKey("alice", "new")
    assert state.find(old) is None
    assert state.find(new) is not None
    assert needs_lookup(state, old)


@pytest.mark.hazard("H30")
def test_the_key_window_is_not_trusted_right_after_a_load() -> None:
    """A session loaded with a tail at noon has no earlier key, nor any that may be stored below it."""
    state = SessionState(seq=9, at=NOON_MS, known_from=NOON_MS)
    assert needs_lookup(state, MessageKey("alice", uuid7(NOON_MS + SKEW_MS)))
    assert not needs_lookup(state, MessageKey("alice", uuid7(NOON_MS + SKEW_MS + 1)))
    assert needs_lookup(state, MessageKey("alice", "no uuid"))


def test_a_session_without_messages_needs_no_lookup() -> None:
    assert not needs_lookup(SessionState(), MessageKey("alice", "anything"))


@pytest.mark.hazard("H29")
def test_fast_gateway_clock_does_not_hide_a_stored_copy() -> None:
    """The id is 4 minutes ahead of the log; the tail is newer than the copy. Memory must not decide alone."""
    id_time = NOON_MS + 4 * 60_000
    state = SessionState(seq=2, at=NOON_MS + 60_000, known_from=NOON_MS + 60_000)
    key = MessageKey("alice", uuid7(id_time))
    assert needs_lookup(state, key)
    draft = Draft.of(state, 0)
    sent = command(uuid7(id_time))
    draft.looked_up[key] = Stored(1, 500, NOON_MS, sent.digest)
    assert decided(draft, sent, offset=9, at_ms=NOON_MS + 60_000) == Repeated(draft.looked_up[key])


@pytest.mark.hazard("H31")
def test_key_expires_by_log_time_with_or_without_its_row() -> None:
    sent = command("no uuid")
    there, swept = Draft.of(SessionState(seq=1, known_from=0), 0), Draft.of(SessionState(seq=1, known_from=0), 0)
    there.looked_up[MessageKey("alice", "no uuid")] = Stored(1, 500, NOON_MS, sent.digest)
    late = NOON_MS + KEY_LIFE_MS + 1
    assert decided(there, sent, 9, late) == decided(swept, sent, 9, late)


def test_keys_of_uuids_are_filed_by_the_month_of_their_own_time() -> None:
    assert KeyBucket.of(SESSION, uuid7(NOON_MS)).key_month == 202611
    assert KeyBucket.of(SESSION, "no uuid").key_month == 0


@pytest.mark.promise("G3")
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(-400_000, 400_000)), max_size=40), st.data())
def test_any_split_into_rounds_decides_the_same(steps: list[tuple[int, bool, int]], data: st.DataObject) -> None:
    """Law 1: decisions depend on the records below, not on where rounds begin or what was in memory."""
    sent = [
        (command(uuid7(NOON_MS + drift, number) if is_uuid else f"id{number}"), NOON_MS + 60_000 * place + drift)
        for place, (number, is_uuid, drift) in enumerate(steps)
    ]
    whole = fresh()
    at_once = [decided(whole, one, offset, at) for offset, (one, at) in enumerate(sent)]
    state = SessionState()
    in_rounds = []
    for offset, (one, at) in enumerate(sent):
        draft = Draft.of(state, 0)
        key = MessageKey(one.sender_id, one.client_msg_id)
        if needs_lookup(state, key):
            stored = next(
                (
                    d.stored
                    for d, (s, _) in zip(at_once, sent, strict=True)
                    if isinstance(d, Accepted) and s.client_msg_id == one.client_msg_id and d.stored.message_id < offset
                ),
                None,
            )
            if stored is not None:
                draft.looked_up[key] = stored
        in_rounds.append(decided(draft, one, offset, at))
        state = draft.confirmed()
        if data.draw(st.booleans()) and state.seq:
            # The owner changes: what is loaded is the tail and nothing else.
            state = SessionState(
                state.seq,
                state.count,
                state.at,
                state.segment,
                state.segment_first_seq,
                state.segment_month,
                known_from=state.at,
            )
    assert in_rounds == at_once
