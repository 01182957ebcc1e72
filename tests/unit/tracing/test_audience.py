"""The users that a message went to, as of its seq."""

import orjson
import pytest

from tests.builders import group, member, message, write_confirmed
from tidings.store.memory import MemoryStore
from tidings.store.rows import MODE_READ, MODE_WRITE, MessageRow
from tidings.tracing.audience import Audience, audience_of
from tidings.wire.common_pb2 import KIND_SYSTEM

GROUP = "g:0123456789abcdef"


def system(seq: int, **event: object) -> MessageRow:
    return message(GROUP, seq, kind=KIND_SYSTEM, body=orjson.dumps(event))


async def group_in(mode: int, *, dissolved_at: int = 0) -> MemoryStore:
    """Alice, bob and carol from seq 1; carol is removed at 5; dave is added at 7; bob becomes an admin at 8."""
    store = MemoryStore()
    people = [member(GROUP, user_id, 1) for user_id in ("alice", "bob", "carol")]
    people += [member(GROUP, "carol", 5, 1, 5), member(GROUP, "dave", 7, 7), member(GROUP, "bob", 8)]
    versions = [group(GROUP, 1, 3, mode), group(GROUP, 5, 2, mode), group(GROUP, 7, 3, mode)]
    if dissolved_at:
        versions.append(group(GROUP, dissolved_at, 0, mode))
    await write_confirmed(store, [*people, *versions])
    return store


async def audience(store: MemoryStore, row: MessageRow | None, seq: int = 0) -> Audience:
    return await audience_of(store, GROUP, row.seq if row else seq, row)


@pytest.mark.parametrize(
    ("seq", "users"),
    [
        (4, ["alice", "bob", "carol"]),
        (5, ["alice", "bob", "carol"]),  # a removed member receives its removal
        (6, ["alice", "bob"]),
        (7, ["alice", "bob", "dave"]),
        (9, ["alice", "bob", "dave"]),
    ],
)
async def test_write_diffusion_goes_to_the_members_of_that_seq(seq: int, users: list[str]) -> None:
    found = await audience(await group_in(MODE_WRITE), message(GROUP, seq))
    assert (found.mode, found.inboxes, found.is_complete) == ("write", users, True)


@pytest.mark.parametrize(
    ("row", "users"),
    [
        (message(GROUP, 4, body=b'{"user_id":[7]}'), []),  # the body of a text names no user
        (system(5, event="member_removed", user_id="carol"), ["carol"]),
        (system(7, event="members_added", user_ids=["dave"]), ["dave"]),
        (system(8, event="member_changed", user_id="bob"), ["bob"]),
        (system(9, event="group_changed", name="new"), []),
    ],
)
async def test_read_diffusion_goes_to_named_users_only(row: MessageRow, users: list[str]) -> None:
    found = await audience(await group_in(MODE_READ), row)
    assert (found.mode, list(found.inboxes), found.is_complete) == ("read", users, True)


async def test_the_last_message_of_a_group_goes_to_all() -> None:
    found = await audience(await group_in(MODE_READ, dissolved_at=9), system(9, event="group_dissolved"))
    assert (found.mode, found.inboxes) == ("write", ["alice", "bob", "dave"])


async def test_a_mode_switch_goes_to_all() -> None:
    store = await group_in(MODE_WRITE)
    await write_confirmed(store, [group(GROUP, 9, 3, MODE_READ)])
    found = await audience(store, system(9, event="members_added", user_ids=[]))
    assert (found.mode, found.inboxes) == ("write", ["alice", "bob", "dave"])
    assert "from write to read diffusion" in found.text
    assert (await audience(store, message(GROUP, 10))).mode == "read"


async def test_unreadable_content_and_missing_groups_are_not_complete() -> None:
    found = await audience(await group_in(MODE_READ), None, 7)
    assert (found.mode, found.is_complete) == ("read", False)
    found = await audience(MemoryStore(), message(GROUP, 4))
    assert (found.mode, found.is_complete) == ("", False)
