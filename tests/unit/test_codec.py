"""Bytes of the log: what is read, what is refused, and that nothing crashes on anything."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fanout.plan import check, recipients
from services.persister.decisions import Accepted
from services.receipts.merge import can_be_member
from tests.unit.persister.builders import command, decided, fresh, stamps
from tidings.codec import (
    COMMAND_BYTES,
    RULES,
    canonical_json,
    decode_command,
    decode_delivery,
    decode_persisted,
    decode_receipt,
    post_digest,
)
from tidings.errors import PoisonRecord, UnknownRules, UnreadableRecord
from tidings.wire.common_pb2 import KIND_CUSTOM, KIND_TEXT, MODE_WRITE, Coordinates, Message, Stamps
from tidings.wire.deliveries_pb2 import Delivery, InboxItem
from tidings.wire.inbound_pb2 import CloseSegment, Command, Post
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.receipts_pb2 import Receipt

DECODERS: dict[Callable[[bytes | None], object], tuple[type[Exception], ...]] = {
    decode_command: (PoisonRecord, UnknownRules),
    decode_receipt: (PoisonRecord,),
    decode_persisted: (UnreadableRecord, UnknownRules),
    decode_delivery: (UnreadableRecord, UnknownRules),
}


@pytest.mark.parametrize("decoder", DECODERS)
@given(st.none() | st.binary(max_size=400))
def test_random_bytes_are_refused_by_name_and_never_crash(
    decoder: Callable[[bytes | None], object], value: bytes | None
) -> None:
    with contextlib.suppress(*DECODERS[decoder]):
        decoder(value)


@given(st.integers(0, 200), st.binary(min_size=1, max_size=8))
def test_a_damaged_command_is_poison_or_still_a_well_formed_one(place: int, damage: bytes) -> None:
    value = bytearray(command("m").SerializeToString())
    value[place % len(value) : place % len(value) + len(damage)] = damage
    try:
        read = decode_command(bytes(value))
    except (PoisonRecord, UnknownRules):
        return
    assert read.sender_id
    assert len(read.digest) == 32


def test_a_good_command_is_read_as_it_was_written() -> None:
    sent = command("m")
    assert decode_command(sent.SerializeToString()) == sent


def broken(change: Callable[[Command], object]) -> bytes:
    damaged = command("m")
    change(damaged)
    return damaged.SerializeToString()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: setattr(c, "session_id", "nonsense"), "session_id"),
        (lambda c: setattr(c, "sender_id", "no spaces"), "sender_id"),
        (lambda c: setattr(c, "client_msg_id", ""), "client_msg_id"),
        (lambda c: setattr(c, "digest", b"short"), "digest"),
        (lambda c: setattr(c.stamps, "segment_messages", 0), "stamped limit"),
        (lambda c: setattr(c.post, "body", b"{"), "not JSON"),
        (lambda c: setattr(c.post, "body", b"[1]"), "object"),
        (lambda c: setattr(c.post, "kind", 5), "kind"),
        (lambda c: setattr(c.post, "reply_to", -1), "reply_to"),
        (lambda c: c.ClearField("post"), "action"),
        (lambda c: c.ClearField("stamps"), "no rules"),
    ],
)
def test_inconsistent_command_is_poison_with_a_reason(change: Callable[[Command], object], reason: str) -> None:
    with pytest.raises(PoisonRecord, match=reason):
        decode_command(broken(change))


def test_closing_is_a_command_without_sender_and_id() -> None:
    sent = Command(
        stamps=command("m").stamps, session_id="d:alice:bob", close_segment=CloseSegment(segment=1, last_seq=3)
    )
    assert decode_command(sent.SerializeToString()) == sent


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sender_id": "alice"}, "a user cannot"),
        ({"client_msg_id": "m"}, "a user cannot"),
        ({"close_segment": CloseSegment(last_seq=3)}, "not above 0"),
        ({"close_segment": CloseSegment(segment=1)}, "not above 0"),
        ({"stamps": Stamps(rules=RULES)}, "stamped limit"),
    ],
)
def test_closing_by_a_user_or_of_nothing_is_poison(change: dict[str, Any], reason: str) -> None:
    closing = {"stamps": command("m").stamps, "close_segment": CloseSegment(segment=1, last_seq=3)}
    sent = Command(session_id="d:alice:bob", **closing | change)
    with pytest.raises(PoisonRecord, match=reason):
        decode_command(sent.SerializeToString())


def test_a_command_larger_than_any_gateway_publishes_is_poison() -> None:
    with pytest.raises(PoisonRecord, match="above"):
        decode_command(command("m", text="x" * COMMAND_BYTES).SerializeToString())


@pytest.mark.hazard("H17")
def test_unknown_rules_stop_the_partition() -> None:
    sent = command("m")
    sent.stamps.rules = 99
    with pytest.raises(UnknownRules, match="deploy"):
        decode_command(sent.SerializeToString())
    message = Message(session_id="d:a:b", seq=1)
    persisted = Persisted(source=Coordinates(), stamps=sent.stamps, message=message)
    with pytest.raises(UnknownRules):
        decode_persisted(persisted.SerializeToString())
    delivery = Delivery(inbox_item=InboxItem(source=Coordinates(), stamps=sent.stamps, message=message))
    with pytest.raises(UnknownRules):
        decode_delivery(delivery.SerializeToString())


def test_logged_ids_of_dots_are_read_as_before() -> None:
    """A replay decides as the first builds did, which took such ids (law 1)."""
    sent = command("m", sender="..")
    sent.session_id = "d:..:alice"
    assert decode_command(sent.SerializeToString()) == sent
    decided_before = decided(fresh(), sent, offset=1)
    assert isinstance(decided_before, Accepted)
    said = Receipt(session_id="d:..:alice", user_id="..", read_seq=1)
    assert decode_receipt(said.SerializeToString()) == said
    assert can_be_member("d:..:alice", "..")
    persisted = Persisted(stamps=sent.stamps, mode=MODE_WRITE, message=Message(session_id="d:..:alice", seq=1))
    check(persisted)
    assert {*recipients(persisted, None).users} == {"..", "alice"}


def test_a_receipt_of_nothing_is_poison() -> None:
    with pytest.raises(PoisonRecord):
        decode_receipt(Receipt(session_id="d:a:b", user_id="a").SerializeToString())


def test_persisted_record_without_coordinates_is_unreadable() -> None:
    persisted = Persisted(stamps=stamps(), message=Message(session_id="d:a:b", seq=1))
    with pytest.raises(UnreadableRecord):
        decode_persisted(persisted.SerializeToString())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=4))
def test_equal_content_has_equal_bytes_in_any_key_order(body: dict[str, object]) -> None:
    backwards = dict(reversed(list(body.items())))
    assert canonical_json(body) == canonical_json(backwards)


def test_whole_floats_are_integers_and_other_numbers_differ() -> None:
    assert canonical_json({"n": 1.0}) == canonical_json({"n": 1})
    assert canonical_json({"n": 1.5}) != canonical_json({"n": 1})


def test_digest_differs_by_kind_body_reply_and_mentions() -> None:
    posts = [
        Post(kind=KIND_TEXT, body=b"{}"),
        Post(kind=KIND_CUSTOM, body=b"{}"),
        Post(kind=KIND_TEXT, body=b"[]"),
        Post(kind=KIND_TEXT, body=b"{}", reply_to=1),
        Post(kind=KIND_TEXT, body=b"{}", mentions=["a"]),
        Post(kind=KIND_TEXT, body=b"{}", mentions=["a", "b"]),
    ]
    assert len({post_digest(post) for post in posts}) == len(posts)
