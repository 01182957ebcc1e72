"""Requests as their models have them: what counts as absent, numbers by value, and errors that say what to change."""

import pytest

from services.gateway.protocol import requests
from services.gateway.protocol.requests import (
    AddMembersRequest,
    ChangeGroupRequest,
    ChangeMemberRequest,
    CreateGroupRequest,
    CustomBody,
    ReadRequest,
    TokenRequest,
    read,
)
from tidings.errors import Refused


@pytest.mark.parametrize("empty", [None, "", [], {}])
def test_read_counts_null_and_empty_as_absent(empty: object) -> None:
    assert read(TokenRequest, {"user_id": "bob", "ttl_s": empty}) == TokenRequest("bob")
    settings = {"share_history": False, "who_can_send": empty}
    asked = read(ChangeGroupRequest, {"name": empty, "settings": settings})
    assert requests.given(asked.settings) == {"share_history": False}


@pytest.mark.parametrize("data", [None, "", [], {}, 5.0, [5.0]])
def test_read_leaves_a_field_of_any_json_as_it_is(data: object) -> None:
    found = read(CustomBody, {"type": "poll", "data": data}).data
    assert (found, type(found)) == (data, type(data))


@pytest.mark.parametrize("seq", [5, 5.0])
def test_read_takes_numbers_by_value(seq: object) -> None:
    assert read(ReadRequest, {"seq": seq}).seq == 5


@pytest.mark.parametrize("seq", [True, "5", 5.5, 0, 2**53, 1e300, float("nan"), [5], None])
def test_read_refuses_what_is_no_seq(seq: object) -> None:
    with pytest.raises(Refused, match=r"seq is .*a whole number from 1 to 9007199254740991") as refused:
        read(ReadRequest, {"seq": seq})
    assert refused.value.code == "invalid_frame"


def test_read_ignores_unknown_fields() -> None:
    assert read(ReadRequest, {"seq": 1, "later": object()}) == ReadRequest(1)


@pytest.mark.parametrize("user_id", ["", ".", "...", "a b", "a\n", "ü", "x" * 65, 5])
def test_read_refuses_what_is_no_user_id(user_id: object) -> None:
    with pytest.raises(Refused, match="user_id is"):
        read(TokenRequest, {"user_id": user_id})


@pytest.mark.parametrize(
    ("model", "body", "text"),
    [
        (CreateGroupRequest, {}, "name is missing; it is a string of 1-128 characters"),
        (CreateGroupRequest, {"name": "x" * 129}, "name is a string of 1-128 characters"),
        (CreateGroupRequest, {"name": "T", "members": ["a b"]}, "each of members is a user id"),
        (CreateGroupRequest, {"name": "T", "members": "bob"}, "members is a list"),
        (CreateGroupRequest, {"name": "T", "settings": {"who_can_add": "bob"}}, "who_can_add is all or admins"),
        (CreateGroupRequest, {"name": "T", "settings": [1]}, "settings is an object with share_history"),
        (CreateGroupRequest, {"name": " "}, "name: "),
        (AddMembersRequest, {"user_ids": [f"u{at}" for at in range(501)]}, "add more in another call"),
        (ChangeMemberRequest, {"role": "owner"}, "the role owner is given by POST …/transfer"),
        (ChangeMemberRequest, {}, "nothing to change"),
    ],
)
def test_read_says_what_a_field_should_be(model: type, body: dict[str, object], text: str) -> None:
    with pytest.raises(Refused) as refused:
        read(model, body)
    assert text in refused.value.text
