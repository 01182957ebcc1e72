"""A removal at any read of a call: a user removed during the call sees nothing of what came after that (G10)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.deployments import Deployment, deployed
from tidings.store.base import TaggedRow, UserBucket
from tidings.store.memory import MemoryStore
from tidings.store.rows import ReadRow

READS = (
    "groups_as_of",
    "members_as_of",
    "member_page",
    "segments",
    "newest_messages",
    "messages",
    "receipts",
    "user_sessions",
    "inbox_buckets",
    "inbox_rows",
)
# More than any of the calls makes of a user with one session.
MOST_READS = 12
CALLS = (
    ("GET", "/v1/groups/{}", None),
    ("GET", "/v1/groups/{}/members", None),
    ("GET", "/v1/sessions", None),
    ("GET", "/v1/sessions/{}", None),
    ("GET", "/v1/sessions/{}/messages", None),
    ("GET", "/v1/sessions/{}/messages?after_seq=0", None),
    ("GET", "/v1/sessions/{}/messages?at=0", None),
    ("GET", "/v1/sessions/{}/messages/2/receipts", None),
    ("PUT", "/v1/sessions/{}/read", {"seq": 100}),
)
# Alice makes the group and the member says something; the third message removes them.
REMOVED_AT = 3


def before_read(store: MemoryStore, number: int, happens: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Let something happen right before so many reads more; what undoes it."""
    real = {name: getattr(store, name) for name in READS}
    left = [number]

    def watched(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def reading(*asked: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                await happens()
            return await read(*asked)

        return reading

    for name, read in real.items():
        setattr(store, name, watched(read))

    def undo() -> None:
        for name, read in real.items():
            setattr(store, name, read)

    return undo


def numbers_of(value: object, names: tuple[str, ...] = ("seq", "head_seq", "read_seq", "joined_seq")) -> Iterator[int]:
    """Every seq that an answer names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in names:
                yield inner
            yield from numbers_of(inner, names)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_of(inner, names)


@pytest.mark.promise("G10")
@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_removal_at_any_read_of_a_call_hides_later_messages(
    tmp_path: Path, method: str, path: str, body: Any
) -> None:
    async with deployed(tmp_path) as there:
        outcomes = set()
        for number in range(1, MOST_READS + 1):
            # A new one each time: what an earlier member is still listed in would be read, too.
            bob = f"bob{number}"
            name = await there.group("alice", bob)
            await said(there, bob, name, "before")
            await is_listed(there, bob)
            # What is kept of a first answer makes the second read in another order.
            assert (await there.call(bob, method, path.format(name), body))[0] == 200
            undo = before_read(there.store, number, partial(removal, there, name, bob))
            status, answer = await there.call(bob, method, path.format(name), body)
            undo()
            shown = [one for one in answer["sessions"] if one["session_id"] == name] if "sessions" in answer else answer
            outcomes.add((status, bool(shown)))
            assert max(numbers_of(shown), default=0) <= REMOVED_AT, (number, answer)
            for later in ("renamed", "carol", "afterwards"):
                assert later not in str(shown), (number, answer)
        # Some came too late, and at some they had their answer.
        assert len(outcomes) > 1


async def said(there: Deployment, user_id: str, session_id: str, text: str) -> None:
    body = {"client_msg_id": text, "session_id": session_id, "kind": "text", "body": {"text": text}}
    assert (await there.call(user_id, "POST", "/v1/messages", body))[0] == 201


async def is_listed(there: Deployment, user_id: str) -> None:
    """Fanout has come to both messages, so that only the gateway still reads."""
    bucket = UserBucket(user_id, 0)
    while len(await there.store.inbox_rows(bucket, 1, 2)) < 2:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)


async def removal(there: Deployment, name: str, removed: str) -> None:
    """And all that the removed is to see nothing of."""
    for method, path, body in (
        ("DELETE", f"/v1/groups/{name}/members/{removed}", None),
        ("PATCH", f"/v1/groups/{name}", {"name": "renamed"}),
        ("POST", f"/v1/groups/{name}/members", {"user_ids": ["carol"]}),
    ):
        status, answer = await there.call("alice", method, path, body)
        assert status == 200, answer
    await said(there, "alice", name, "afterwards")
    # As receipts would write it.
    assert not await there.store.write([TaggedRow(0, ReadRow(name, "carol", 6, 2, 1))])
