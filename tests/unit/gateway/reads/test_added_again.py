"""Removed at one read of a call and added again at a later one: nothing of the time between is shown (G10)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import orjson
import pytest
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.rest.build import RestRules, build_calls
from services.gateway.rest.routes import RestCalls
from tests import builders
from tests.builders import message, segment, write_confirmed
from tests.fakes.clock import FakeClock
from tests.unit.gateway.parts import identity_of, parts
from tests.unit.gateway.reads.session_world import READ_GROUP as GROUP
from tests.unit.gateway.reads.test_removal_races import MOST_READS, before_read
from tidings.errors import Refused
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_WRITE, ROLE_ADMIN, ROLE_MEMBER, GroupRow, MemberRow, ReadRow, Row, UserSessionRow
from tidings.wire.common_pb2 import KIND_SYSTEM

BOB = Request({"type": "http", "query_string": b"", "headers": [(b"authorization", b"Bearer bob")]})
RULES = RestRules(identity_of, None, "tidings", b"", {})
Call = Callable[[RestCalls], Awaitable[Response]]
CALLS: dict[str, Call] = {
    "group": lambda calls: calls.groups.get_group(BOB, GROUP),
    "members": lambda calls: calls.groups.list_members(BOB, GROUP),
    "list": lambda calls: calls.sessions.list_sessions(BOB),
    "session": lambda calls: calls.sessions.get_session(BOB, GROUP),
    "history": lambda calls: calls.sessions.read_history(BOB, GROUP),
    "receipts of then": lambda calls: calls.sessions.message_receipts(BOB, GROUP, "6"),
    "earlier receipts": lambda calls: calls.sessions.message_receipts(BOB, GROUP, "2"),
}
# Each is in no answer that bob may have: the name of the group, its members, and what was said and read then.
OF_THE_TIME_BETWEEN = ("renamed", "carol", "afterwards", '"dora","at"')


def group(seq: int, count: int, name: str = "Team", *, shares: bool = False) -> GroupRow:
    return builders.group(GROUP, seq, count, name=name, settings=orjson.dumps({"share_history": shares}).decode())


def member(user: str, seq: int, joined: int, left: int = 0, role: int = ROLE_MEMBER) -> MemberRow:
    return builders.member(GROUP, user, seq, joined, left, role=role)


def said(seq: int, text: str, sender: str = "alice") -> Row:
    return message(GROUP, seq, body=orjson.dumps({"text": text}), sender_id=sender)


def happened(seq: int) -> Row:
    return message(GROUP, seq, kind=KIND_SYSTEM)


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
        group(8, 2),
        member("carol", 8, 5, 8),
        group(9, 2),
        group(10, 3),
        member("bob", 10, 10),
    ]
    return [*rows, *(happened(seq) for seq in range(7, 11))]


async def calls_of(store: MemoryStore) -> RestCalls:
    gateway = await parts(store, FakeClock())
    return build_calls(gateway.reads, gateway.submit, gateway.media, gateway.clock, RULES)


async def answer_of(call: Awaitable[Response]) -> str:
    """Empty for a refusal."""
    try:
        return bytes((await call).body).decode()
    except Refused:
        return ""


async def answers_at_every_moment(call: Call, *, shares: bool) -> AsyncIterator[tuple[int, int, str]]:
    """The read at which bob is removed, the read at which bob is added again, and the answer to the call."""
    for removed_at in range(1, MOST_READS + 1):
        for back_at in range(removed_at, MOST_READS + 2):
            store = MemoryStore(FakeClock())
            await write_confirmed(store, before(shares=shares))
            calls = await calls_of(store)
            # The later one is laid first: at the same read bob is removed, and then added.
            before_read(store, back_at, lambda store=store: write_confirmed(store, bob_again()))  # type: ignore[misc]
            before_read(store, removed_at, lambda store=store: write_confirmed(store, without_bob(shares=shares)))  # type: ignore[misc]
            yield removed_at, back_at, await answer_of(call(calls))


@pytest.mark.promise("G10")
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
async def test_member_out_during_a_call_sees_nothing_of_that_time(call: Call, *, shares: bool) -> None:
    answers = set()
    async for removed_at, back_at, text in answers_at_every_moment(call, shares=shares):
        assert not [word for word in OF_THE_TIME_BETWEEN if word in text], (removed_at, back_at, text)
        answers.add(text)
    if call is not CALLS["receipts of then"]:
        assert len(answers) > 1


@pytest.mark.parametrize("shares", [False, True])
async def test_added_again_member_sees_the_session_with_its_head(*, shares: bool) -> None:
    """Without a head its watermarks would be 0, and so go back (G8)."""
    shown = 0
    async for removed_at, back_at, text in answers_at_every_moment(CALLS["session"], shares=shares):
        if text:
            session = orjson.loads(text)
            assert session["head"]["seq"] >= session["joined_seq"], (removed_at, back_at, session)
            shown += 1
    assert shown
