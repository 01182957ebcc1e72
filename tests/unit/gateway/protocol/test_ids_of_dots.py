"""Ids of dots only come in by no edge that needs no tables."""

from collections.abc import Callable

import pytest

from services.gateway.protocol import group_commands as commands
from services.gateway.protocol.connection import Connection
from tests.unit.gateway.protocol.client import hello, only, opened, receive, send, signed_in
from tidings.errors import Refused


def answer(connection: Connection, frame: dict[str, object]) -> dict[str, object]:
    assert not receive(connection, frame)
    return only(connection)


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "...", "." * 64])
def test_frames_with_an_id_of_dots_are_refused(dots: str) -> None:
    for fields, code in (
        ({"to": dots}, "invalid_frame"),
        ({"to": None, "session_id": f"d:{dots}:alice"}, "invalid_frame"),
        ({"mentions": [dots]}, "invalid_body"),
    ):
        error = answer(signed_in(), send(**fields))
        assert (error["type"], error["code"]) == ("send_error", code)
    error = answer(opened(), hello(device_id=dots))
    assert (error["code"], error["fatal"]) == ("invalid_frame", True)


@pytest.mark.field_case("1")
@pytest.mark.parametrize("dots", [".", "..", "..."])
def test_group_commands_about_dots_are_refused(dots: str) -> None:
    asker = commands.Asker("alice", "m")
    calls: list[Callable[[], object]] = [
        lambda: commands.creating(asker, b"k" * 32, {"name": "n", "members": [dots]}),
        lambda: commands.adding(asker, "g:x", {"user_ids": ["bob", dots]}),
        lambda: commands.removing(asker, "g:x", dots),
        lambda: commands.changing_member(asker, "g:x", dots, {"role": "admin"}),
        lambda: commands.transferring(asker, "g:x", {"user_id": dots}),
    ]
    for call in calls:
        with pytest.raises(Refused) as refused:
            call()
        assert refused.value.code == "invalid_frame"
