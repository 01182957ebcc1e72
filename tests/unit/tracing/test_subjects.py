"""What can be asked, and what is refused."""

import pytest

from tidings.tracing.subjects import ByKey, ByMessageId, ByPlace, InvalidSubject, Subject, subject_of

GROUP = "g:0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"message_id": "0"}, ByMessageId(0)),
        ({"message_id": str(2**63 - 1)}, ByMessageId(2**63 - 1)),
        ({"session": "d:alice:bob", "seq": "7"}, ByPlace("d:alice:bob", 7)),
        ({"session": "d:..:bob", "seq": "7"}, ByPlace("d:..:bob", 7)),  # ids that early gateways accepted
        ({"sender": "alice", "client_msg_id": "m 1"}, ByKey("alice", "m 1")),
        ({"sender": "alice", "client_msg_id": "m", "session": GROUP}, ByKey("alice", "m", GROUP)),
    ],
)
def test_a_message_has_three_names(given: dict[str, str], subject: Subject) -> None:
    assert subject_of(**given) == subject


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "name one message"),
        ({"session": GROUP}, "name one message"),
        ({"seq": "1"}, "name one message"),
        ({"message_id": "1", "seq": "1"}, "stands alone"),
        ({"message_id": "-1"}, "message_id is not a whole number"),
        ({"message_id": str(2**63)}, "message_id is not a whole number"),
        ({"message_id": "9" * 5_000}, "message_id is not a whole number"),
        ({"message_id": "1e3"}, "message_id is not a whole number"),
        ({"message_id": "\u0661"}, "message_id is not a whole number"),
        ({"session": "d:bob:alice", "seq": "1"}, "session is not"),
        ({"session": "d:alice", "seq": "1"}, "session is not"),
        ({"session": GROUP, "seq": "0"}, "seq is not a whole number"),
        ({"session": GROUP, "seq": str(2**60)}, "seq is not a whole number"),
        ({"sender": "alice"}, "together"),
        ({"client_msg_id": "m"}, "together"),
        ({"sender": "alice", "client_msg_id": "m", "seq": "1"}, "no seq"),
        ({"sender": "a b", "client_msg_id": "m"}, "sender is not a user id"),
        ({"sender": "alice", "client_msg_id": "m\n"}, "client_msg_id is not"),
    ],
)
def test_malformed_questions_are_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidSubject, match=problem):
        subject_of(**given)
