"""`tidings sessions` and `tidings receipts`."""

import re

from tests.unit.cli.gateway import AS_ALICE, GROUP, Gateway
from tests.unit.cli.shell import Shell


def test_sessions_are_listed_with_what_is_unread_over_pages(gateway: Gateway, shell: Shell) -> None:
    head = {"seq": 4, "at": 0, "sender_id": "bob", "preview": "hi"}
    group = {"session_id": GROUP, "session_kind": "group", "mode": "read", "name": "team", "unread": 3, "head": head}
    gateway.answers["GET /v1/sessions?limit=2"] = {"sessions": [group], "next": "x"}
    gateway.answers["GET /v1/sessions?limit=200"] = {"sessions": [group], "next": "y"}
    others = [{"session_id": f"d:alice:{name}"} for name in ("bob", "carol")]
    gateway.answers["GET /v1/sessions?limit=200&before=y"] = {"sessions": others}
    ended = shell.run("sessions", *AS_ALICE, "--limit", "2")
    assert ended.code == 0
    first, second = ended.out.splitlines()
    assert re.fullmatch(rf"3 unread     {GROUP} team \(read\)  [-0-9]+ [-+:0-9]+ #4 bob: hi", first)
    assert second.split() == ["d:alice:bob"]


def test_receipts_are_listed_over_pages_with_their_sums(gateway: Gateway, shell: Shell) -> None:
    path = f"GET /v1/sessions/{GROUP}/messages/4/receipts"
    gateway.answers[path] = {"delivered": ["bob"], "read": [], "members": 3, "next": "bob"}
    last = {"delivered": ["carol"], "read": [{"user_id": "carol", "at": 0}], "members": 3}
    gateway.answers[f"{path}?after=bob"] = last
    ended = shell.run("receipts", GROUP, "4", *AS_ALICE)
    assert ended.code == 0
    delivered, read, total = ended.out.splitlines()
    assert delivered == "delivered  bob"
    assert re.fullmatch(r"read       [-0-9]+ [:0-9]+ carol", read)
    assert total == "1 read, 2 received, of 3 members besides the author"


def test_a_head_at_the_end_of_its_life_is_its_place_alone(gateway: Gateway, shell: Shell) -> None:
    listed = [{"session_id": "d:alice:bob", "head": {"seq": 4, "at": 0}, "purged_seq": 4}]
    gateway.answers["GET /v1/sessions?limit=50"] = {"sessions": listed}
    assert re.fullmatch(r" +d:alice:bob  [-0-9]+ [-+:0-9]+ #4\n", shell.run("sessions", *AS_ALICE).out)
