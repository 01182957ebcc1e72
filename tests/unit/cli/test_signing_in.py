"""Calls in a user's name: the token, refusals, and a clock that is off."""

import time
from email.utils import formatdate
from time import time as true_time

import httpx2
import jwt
import pytest

from tests.unit.cli.gateway import AS_ALICE, GROUP, Gateway
from tests.unit.cli.shell import Shell
from tidings_client.ids import uuid7_time_ms


def test_token_of_another_user_sends_no_request(gateway: Gateway, shell: Shell) -> None:
    gateway.answers[f"DELETE /v1/groups/{GROUP}/members/alice"] = {"session_id": GROUP, "seq": 2}
    token = jwt.encode({"sub": "bob"}, "0" * 32, "HS256")
    ended = shell.run("group", "leave", GROUP, "--as", "alice", "--token", token)
    assert ended.code == 1
    assert "the token speaks for bob, not for alice" in ended.err


def test_a_refusal_is_one_line(gateway: Gateway, shell: Shell) -> None:
    ended = shell.run("group", "leave", GROUP, *AS_ALICE)
    assert (ended.code, ended.err) == (1, "error: 404 session_not_found: no such session\n")


def test_a_refusal_is_one_line_that_no_terminal_obeys(gateway: Gateway, shell: Shell) -> None:
    gateway.answer = lambda _: httpx2.Response(400, json={"code": "invalid_frame", "detail": "no\x1b[2J\nno"})
    ended = shell.run("group", "leave", GROUP, *AS_ALICE)
    assert (ended.code, ended.err) == (1, "error: 400 invalid_frame: no\ufffd[2J no\n")


@pytest.mark.field_case("2")
@pytest.mark.parametrize(
    ("off_s", "says"), [(360, "6 minutes ahead of"), (-7_200, "2 hours behind"), (3 * 86_400, "3 days ahead of")]
)
def test_wrong_clock_is_reported_and_the_group_is_made(
    monkeypatch: pytest.MonkeyPatch, gateway: Gateway, shell: Shell, off_s: int, says: str
) -> None:
    keys: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        keys.append(request.headers["Idempotency-Key"])
        headers = {"Date": formatdate(true_time(), usegmt=True)}
        if (uuid7_time_ms(keys[-1]) or 0) > (true_time() + 300) * 1_000:
            return httpx2.Response(409, headers=headers, json={"code": "clock_skew"})
        return httpx2.Response(201, headers=headers, json={"session_id": GROUP, "seq": 1})

    gateway.answer = answer
    monkeypatch.setattr(time, "time", lambda: true_time() + off_s)
    note = f"note: your clock is {says} the server's\n"
    assert shell.run("group", "create", *AS_ALICE, "team") == (0, f"{GROUP}\n", note)
    assert len(keys) == (2 if off_s > 0 else 1)
