"""The line of a message in the list of sessions."""

import pytest

from services.gateway.reads.previews import preview
from tidings.codec import KIND_NAMES
from tidings.store.rows import MessageRow

SYSTEM = next(kind for kind, name in KIND_NAMES.items() if name == "system")
SYSTEM_MESSAGES = [
    (b'{"event":"group_created","name":"Team","owner":"ann"}', "ann created the group Team"),
    (b'{"event":"members_added","user_ids":["bob","carl"]}', "ann added bob, carl"),
    (b'{"event":"member_removed","user_id":"bob"}', "ann removed bob"),
    (b'{"event":"member_removed","user_id":"ann"}', "ann left"),
    (b'{"event":"member_changed","user_id":"bob","role":"admin"}', "ann made bob admin"),
    (b'{"event":"member_changed","user_id":"bob","muted_until":5}', "ann muted bob"),
    (b'{"event":"member_changed","user_id":"bob","muted_until":0}', "ann unmuted bob"),
    (b'{"event":"owner_changed","user_id":"bob"}', "ann made bob the owner"),
    (b'{"event":"group_changed","name":"Squad"}', "ann named the group Squad"),
    (b'{"event":"group_changed","settings":{}}', "ann changed the group's settings"),
    ('{"event":"group_changed","name":"a\u202e\\nb"}'.encode(), "ann named the group a b"),
    (b'{"event":"group_dissolved"}', "ann dissolved the group"),
    (b'{"event":"of a later version"}', "[system] of a later version"),
]


@pytest.mark.parametrize(("body", "line"), SYSTEM_MESSAGES)
def test_group_event_is_a_sentence_in_the_list(body: bytes, line: str) -> None:
    assert preview(MessageRow("g:1", 1, 1, 1, "ann", "m", SYSTEM, body, 0, 0, 0, 0)) == line
