"""The verbs about groups, sessions and receipts, against a gateway that answers from a table."""

from __future__ import annotations

import json
import re
import time
from email.utils import formatdate
from functools import partial
from time import time as true_time
from typing import Any

import httpx2
import jwt
import pytest

from cli import signing_in
from tests.unit.cli.test_app import run
from tidings_client import backoff
from tidings_client.ids import uuid7_time_ms
from tidings_client.rest import Rest

Json = dict[str, Any]
GROUP = f"g:{'ab' * 16}"
AS_ALICE = ("--as", "alice", "--token", "t")


class Gateway:
    """Answers by method and path; what it does not know is not found. Keeps the bodies it was sent."""

    def __init__(self, answers: dict[str, Json]) -> None:
        self.answers = answers
        self.bodies: list[Json] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.content:
            self.bodies.append(json.loads(request.content))
        answer = self.answers.get(f"{request.method} {request.url.raw_path.decode()}")
        if answer is None:
            return httpx2.Response(404, json={"code": "session_not_found", "detail": "no such session"})
        return httpx2.Response(200, json=answer)


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    gateway = Gateway({})
    monkeypatch.setattr(signing_in, "Rest", partial(Rest, transport=httpx2.MockTransport(gateway)))
    monkeypatch.setattr(backoff, "BASE_MS", 0)
    return gateway


def has_member(gateway: Gateway, name: str, member: Json) -> None:
    """One, in the group of this name."""
    group = {"session_id": GROUP, "name": name, "owner": "alice", "mode": "write", "member_count": 1}
    gateway.answers[f"GET /v1/groups/{GROUP}"] = group
    gateway.answers[f"GET /v1/groups/{GROUP}/members?limit=200"] = {"members": [member]}


def test_a_group_is_made_and_its_id_printed(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers["POST /v1/groups"] = {"session_id": GROUP, "seq": 1}
    assert run(monkeypatch, "group", "create", *AS_ALICE, "the team", "bob", "carol") == 0
    assert capsys.readouterr().out == f"{GROUP}\n"
    assert gateway.bodies == [{"name": "the team", "members": ["bob", "carol"]}]


def test_who_is_left_out_of_a_new_group_is_told_beside_its_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = [{"user_id": "bob", "code": "user_blocked"}]
    gateway.answers["POST /v1/groups"] = {"session_id": GROUP, "seq": 1, "left_out": left_out}
    assert run(monkeypatch, "group", "create", *AS_ALICE, "the team", "bob", "carol") == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == (f"{GROUP}\n", "left out: bob (user_blocked)\n")


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (("remove", GROUP, "bob"), f"DELETE /v1/groups/{GROUP}/members/bob"),
        (("leave", GROUP), f"DELETE /v1/groups/{GROUP}/members/alice"),
        (("rename", GROUP, "crew"), f"PATCH /v1/groups/{GROUP}"),
        (("dissolve", GROUP, "--yes"), f"DELETE /v1/groups/{GROUP}"),
    ],
)
def test_what_changes_a_group_says_at_which_seq(
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    call: str,
) -> None:
    gateway.answers[call] = {"session_id": GROUP, "seq": 9}
    assert run(monkeypatch, "group", *arguments, *AS_ALICE) == 0
    assert capsys.readouterr().out == f"done  {GROUP} #9\n"


def test_who_is_left_out_is_told(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left_out = [{"user_id": "bob", "code": "already_member"}]
    gateway.answers[f"POST /v1/groups/{GROUP}/members"] = {"session_id": GROUP, "added": [], "left_out": left_out}
    assert run(monkeypatch, "group", "add", GROUP, "bob", *AS_ALICE) == 0
    assert capsys.readouterr().out == "0 added\nleft out: bob (already_member)\n"


def test_the_members_are_listed_and_what_the_group_is(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_member(gateway, "te\x1bam", {"user_id": "alice", "role": "owner", "joined_seq": 1})
    assert run(monkeypatch, "group", "members", GROUP, *AS_ALICE) == 0
    assert capsys.readouterr().out == "owner   alice  since #1\nte\ufffdam: 1 members, delivered by write diffusion\n"


def test_sessions_are_listed_with_what_is_unread_over_pages(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    head = {"seq": 4, "at": 0, "sender_id": "bob", "preview": "hi"}
    group = {"session_id": GROUP, "session_kind": "group", "mode": "read", "name": "team", "unread": 3, "head": head}
    gateway.answers["GET /v1/sessions?limit=2"] = {"sessions": [group], "next": "x"}
    gateway.answers["GET /v1/sessions?limit=200"] = {"sessions": [group], "next": "y"}
    others = [{"session_id": f"d:alice:{name}"} for name in ("bob", "carol")]
    gateway.answers["GET /v1/sessions?limit=200&before=y"] = {"sessions": others}
    assert run(monkeypatch, "sessions", *AS_ALICE, "--limit", "2") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"3 unread     {GROUP} team \(read\)  [-0-9]+ [:0-9]+ #4 bob: hi", first)
    assert second.split() == ["d:alice:bob"]


def test_receipts_are_listed_over_pages_with_their_sums(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"GET /v1/sessions/{GROUP}/messages/4/receipts"
    gateway.answers[path] = {"delivered": ["bob"], "read": [], "members": 3, "next": "bob"}
    gateway.answers[f"{path}?after=bob"] = {
        "delivered": ["carol"], "read": [{"user_id": "carol", "at": 0}], "members": 3
    }  # fmt: skip
    assert run(monkeypatch, "receipts", GROUP, "4", *AS_ALICE) == 0
    delivered, read, told = capsys.readouterr().out.splitlines()
    assert delivered == "delivered  bob"
    assert re.fullmatch(r"read       \d\d:\d\d:\d\d carol", read)
    assert told == "1 read, 2 received, of 3 members besides the author"


def test_who_is_muted_beyond_all_calendars_is_listed_like_others(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_member(gateway, "team", {"user_id": "bob", "role": "member", "joined_seq": 1, "muted_until": 2**53 - 1})
    assert run(monkeypatch, "group", "members", GROUP, *AS_ALICE) == 0
    assert "muted until 9999-12-" in capsys.readouterr().out


def test_a_token_of_somebody_else_asks_for_nothing(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answers[f"DELETE /v1/groups/{GROUP}/members/alice"] = {"session_id": GROUP, "seq": 2}
    token = jwt.encode({"sub": "bob"}, "0" * 32, "HS256")
    assert run(monkeypatch, "group", "leave", GROUP, "--as", "alice", "--token", token) == 1
    assert "the token speaks for bob, not for alice" in capsys.readouterr().err


def test_a_refusal_is_one_line_that_no_terminal_obeys(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(400, json={"code": "invalid_frame", "detail": "no\x1b[2J\nno"})

    monkeypatch.setattr(signing_in, "Rest", partial(Rest, transport=httpx2.MockTransport(refused)))
    assert run(monkeypatch, "group", "leave", GROUP, *AS_ALICE) == 1
    assert capsys.readouterr().err == "error: 400 invalid_frame: no\ufffd[2J no\n"


def test_a_refusal_is_one_line(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "group", "leave", GROUP, *AS_ALICE) == 1
    assert capsys.readouterr().err == "error: 404 session_not_found: no such session\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("group", "add", "team", "bob", *AS_ALICE),
        ("group", "remove", GROUP, "b ob", *AS_ALICE),
        ("receipts", "nonsense", "1", *AS_ALICE),
        ("send", "--from", "alice", "hi"),
        ("send", "--from", "alice", "--to", "bob", "--session", GROUP, "hi"),
        ("tail", "--as", "alice", "--session", "bob"),
    ],
)
def test_a_misuse_ends_with_2(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    assert run(monkeypatch, *arguments) == 2


@pytest.mark.field_case("2")
@pytest.mark.parametrize(
    ("off_s", "says"), [(360, "6 minutes ahead of"), (-7_200, "2 hours behind"), (3 * 86_400, "3 days ahead of")]
)
def test_a_clock_that_is_off_is_told_and_the_group_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], off_s: int, says: str
) -> None:
    keys: list[str] = []

    def gateway(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["Idempotency-Key"])
        headers = {"Date": formatdate(true_time(), usegmt=True)}
        if (uuid7_time_ms(keys[-1]) or 0) > (true_time() + 300) * 1_000:
            return httpx2.Response(409, headers=headers, json={"code": "clock_skew"})
        return httpx2.Response(201, headers=headers, json={"session_id": GROUP, "seq": 1})

    monkeypatch.setattr(time, "time", lambda: true_time() + off_s)
    monkeypatch.setattr(signing_in, "Rest", partial(Rest, transport=httpx2.MockTransport(gateway)))
    assert run(monkeypatch, "group", "create", *AS_ALICE, "team") == 0
    told = capsys.readouterr()
    assert told.out == f"{GROUP}\n"
    assert told.err == f"note: your clock is {says} the server's\n"
    assert len(keys) == (2 if off_s > 0 else 1)
