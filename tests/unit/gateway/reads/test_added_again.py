"""Removed at one read of a call and added again at a later one: nothing of the time between is told (G10)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.reads.build import build_reads
from services.gateway.rest.authenticator import Authenticator
from services.gateway.rest.groups import GroupCalls
from services.gateway.rest.sessions import SessionCalls
from tests.contract.store.making import message, segment, write_confirmed
from tests.unit.gateway.reads.test_removal_races import MOST_READS, before_read
from tests.unit.gateway.reads.test_session_list import READ_GROUP as GROUP
from tests.unit.gateway.reads.test_session_list import FakeClock
from tidings.errors import Refused
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_WRITE, ROLE_ADMIN, ROLE_MEMBER, GroupRow, MemberRow, ReadRow, Row, UserSessionRow
from tidings.wire.common_pb2 import KIND_SYSTEM, KIND_TEXT

REQUEST = Request({"type": "http", "query_string": b"", "headers": []})  # of bob, whatever it says
Call = Callable[[SessionCalls, GroupCalls], Awaitable[Response]]
CALLS: dict[str, Call] = {
    "group": lambda _, groups: groups.get_group(REQUEST, GROUP),
    "members": lambda _, groups: groups.list_members(REQUEST, GROUP),
    "list": lambda sessions, _: sessions.list_sessions(REQUEST),
    "session": lambda sessions, _: sessions.get_session(REQUEST, GROUP),
    "history": lambda sessions, _: sessions.read_history(REQUEST, GROUP),
    "receipts of then": lambda sessions, _: sessions.message_receipts(REQUEST, GROUP, "6"),
    "receipts of before": lambda sessions, _: sessions.message_receipts(REQUEST, GROUP, "2"),
}
# Each is in no answer that bob may have: what the group was called, who was in it, and what was said and read then.
OF_THE_TIME_BETWEEN = ("renamed", "carol", "afterwards", '"dora","at"')


def group(seq: int, count: int, name: str = "Team", *, shares: bool = False) -> GroupRow:
    settings = orjson.dumps({"share_history": shares}).decode()
    return GroupRow(GROUP, seq, name, "alice", MODE_WRITE, count, settings, 0, seq)


def member(user: str, seq: int, joined: int, left: int = 0, role: int = ROLE_MEMBER) -> MemberRow:
    return MemberRow(GROUP, user, seq, joined, 0, left, role, 0, 0, seq)


def said(seq: int, text: str, sender: str = "alice") -> Row:
    return replace(message(GROUP, seq, body=orjson.dumps({"text": text})), sender_id=sender, kind=KIND_TEXT)


def happened(seq: int) -> Row:
    return replace(message(GROUP, seq), kind=KIND_SYSTEM)


def before(*, shares: bool) -> Sequence[Row]:
    members: list[Row] = [member("alice", 1, 1), member("bob", 1, 1, role=ROLE_ADMIN), member("dora", 1, 1)]
    listed = UserSessionRow("bob", GROUP, 1, 0, 0, MODE_WRITE)
    return [group(1, 3, shares=shares), *members, segment(GROUP, 1, 1), happened(1), said(2, "hello", "bob"), listed]


def without_bob(*, shares: bool) -> Sequence[Row]:
    rows: list[Row] = [group(3, 2, shares=shares), member("bob", 3, 1, 3, ROLE_ADMIN), happened(3)]
    rows += [group(4, 2, "renamed", shares=shares), happened(4)]
    rows += [group(5, 3, "renamed", shares=shares), member("carol", 5, 5), happened(5)]
    return [*rows, said(6, "afterwards"), ReadRow(GROUP, "dora", 6, 6, 1)]


def bob_again() -> Sequence[Row]:
    """The group has its name back and shares no history any more, and he is no admin."""
    rows: list[Row] = [
        group(7, 3),
        happened(7),
        group(8, 2),
        member("carol", 8, 5, 8),
        happened(8),
        group(9, 2),
        happened(9),
    ]
    return [*rows, group(10, 3), member("bob", 10, 10), happened(10)]


def calls_of(store: MemoryStore) -> tuple[SessionCalls, GroupCalls]:
    reads, anything = build_reads(store, FakeClock()), cast(Any, None)
    bob = cast(Authenticator, SimpleNamespace(user=lambda _request: "bob"))
    sessions = SessionCalls(bob, reads.memberships, reads.sessions, reads.session_lists, reads.receipts, anything)
    return sessions, GroupCalls(bob, anything, reads.memberships, reads.groups, b"", FakeClock())


async def answer_of(call: Awaitable[Response]) -> str:
    """Empty for a refusal."""
    try:
        return bytes((await call).body).decode()
    except Refused:
        return ""


async def told_at_every_moment(call: Call, *, shares: bool) -> AsyncIterator[tuple[int, int, str]]:
    """The read at which bob is removed, the read at which bob is added again, and the answer to the call."""
    for removed_at in range(1, MOST_READS + 1):
        for back_at in range(removed_at, MOST_READS + 2):
            store = MemoryStore(FakeClock())
            await write_confirmed(store, before(shares=shares))
            calls = calls_of(store)
            # The later one is laid first: at the same read bob is removed, and then added.
            before_read(store, back_at, lambda store=store: write_confirmed(store, bob_again()))  # type: ignore[misc]
            before_read(store, removed_at, lambda store=store: write_confirmed(store, without_bob(shares=shares)))  # type: ignore[misc]
            yield removed_at, back_at, await answer_of(call(*calls))


@pytest.mark.promise("G10")
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
async def test_member_out_during_a_call_sees_nothing_of_that_time(call: Call, *, shares: bool) -> None:
    answers = set()
    async for removed_at, back_at, told in told_at_every_moment(call, shares=shares):
        assert not [word for word in OF_THE_TIME_BETWEEN if word in told], (removed_at, back_at, told)
        answers.add(told)
    if call is not CALLS["receipts of then"]:
        assert len(answers) > 1


@pytest.mark.parametrize("shares", [False, True])
async def test_added_again_member_sees_the_session_with_its_head(*, shares: bool) -> None:
    """Without a head its watermarks would be 0, and so go back (G8)."""
    shown = 0
    async for removed_at, back_at, told in told_at_every_moment(CALLS["session"], shares=shares):
        if told:
            session = orjson.loads(told)
            assert session["head"]["seq"] >= session["joined_seq"], (removed_at, back_at, session)
            shown += 1
    assert shown
