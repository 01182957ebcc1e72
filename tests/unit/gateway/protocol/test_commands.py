"""What a send must hold, and the time inside an id, judged by the clock that the gateway sends to its clients."""

import json

import pytest

from services.gateway.protocol.commands import MAX_AGE_MS, MAX_FUTURE_MS, check_id_time
from services.gateway.protocol.effects import Publish
from tests.unit.gateway.protocol.client import only, receive, send, sent, signed_in
from tests.unit.persister.builders import NOON_MS, uuid7
from tidings.errors import Refused


@pytest.mark.field_case("40")
def test_the_bounds_of_an_id_are_those_of_the_contract() -> None:
    assert (MAX_FUTURE_MS, MAX_AGE_MS) == (5 * 60_000, 90 * 24 * 3_600_000)
    check_id_time(uuid7(NOON_MS + MAX_FUTURE_MS), NOON_MS)
    check_id_time(uuid7(NOON_MS - MAX_AGE_MS), NOON_MS)
    check_id_time("no uuid", NOON_MS)


@pytest.mark.field_case("40")
@pytest.mark.parametrize(("distance_ms", "code"), [(MAX_FUTURE_MS + 1, "clock_skew"), (-MAX_AGE_MS - 1, "too_old")])
def test_an_id_beyond_the_bounds_is_refused(distance_ms: int, code: str) -> None:
    with pytest.raises(Refused) as refused:
        check_id_time(uuid7(NOON_MS + distance_ms), NOON_MS)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"to": None}, "invalid_frame"),
        ({"to": "a b"}, "invalid_frame"),
        ({"to": "bob", "session_id": "d:alice:carol"}, "invalid_frame"),
        ({"to": None, "session_id": "d:bob:alice"}, "invalid_frame"),
        ({"to": None, "session_id": 5}, "invalid_frame"),
        ({"to": None, "session_id": "d:bob:carol"}, "session_not_found"),
        ({"to": "bob", "session_id": "g:guessed"}, "invalid_frame"),
        ({"attempt": 0}, "invalid_frame"),
        ({"ref": "r" * 65}, "invalid_frame"),
        ({"kind": "system"}, "invalid_body"),
        ({"kind": None}, "invalid_body"),
        ({"body": {"text": ""}}, "invalid_body"),
        ({"kind": "custom", "body": {"type": "x", "data": 10**30 + 1}}, "invalid_body"),
        ({"reply_to": -1}, "invalid_body"),
        ({"mentions": "bob"}, "invalid_body"),
        ({"client_msg_id": "fffffff0-0000-7000-8000-000000000000"}, "clock_skew"),
        ({"client_msg_id": "01800000-0000-7000-8000-000000000000"}, "too_old"),
    ],
)
def test_a_refused_send_is_answered_by_send_error(changes: dict[str, object], code: str) -> None:
    connection = signed_in()
    assert not receive(connection, send(**changes))
    error = only(connection)
    assert (error["type"], error["code"], error["retryable"]) == ("send_error", code, False)
    assert error["client_msg_id"] == changes.get("client_msg_id", "m1")


@pytest.mark.promise("G11")
def test_send_to_any_group_is_published_without_a_member_check() -> None:
    connection = signed_in()
    (effect,) = receive(connection, send(to=None, session_id="g:guessed"))
    assert isinstance(effect, Publish)
    assert (effect.draft.session_id, sent(connection)) == ("g:guessed", [])


def test_a_send_asks_to_publish_its_canonical_content() -> None:
    body = {"text": "hi", "unknown": 1}
    (effect,) = receive(signed_in(), send(body=body, reply_to=2.0, mentions=["bob"], attempt=3, ref="r"))
    assert isinstance(effect, Publish)
    draft = effect.draft
    assert (draft.session_id, draft.client_msg_id, draft.attempt, effect.ref) == ("d:alice:bob", "m1", 3, "r")
    assert (draft.post.body, draft.post.reply_to, list(draft.post.mentions)) == (b'{"text":"hi"}', 2, ["bob"])


@pytest.mark.field_case("13")
def test_a_number_that_cannot_be_kept_is_the_bodys_fault() -> None:
    connection = signed_in()
    for number in ("1e400", "100000000000000000001", "9" * 5_000):
        frame = json.dumps(send(kind="custom", body={"type": "t", "data": "N"})).replace('"N"', number)
        receive(connection, frame)
        assert only(connection)["client_msg_id"] == "m1"


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_null_and_empty_count_as_absent_in_a_send(empty: object) -> None:
    connection = signed_in()
    optional = dict.fromkeys(("session_id", "reply_to", "mentions", "attempt", "ref"), empty)
    (effect,) = receive(connection, send(**optional))
    assert effect == receive(connection, send())[0]
    assert isinstance(effect, Publish)
    assert (effect.draft.post.reply_to, len(effect.draft.post.mentions), effect.ref) == (0, 0, None)
