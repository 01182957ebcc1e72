"""The users that a message went to, and how, as of its seq. All calls raise StoreUnavailable."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tidings import ids
from tidings.groups import mode_name
from tidings.store.base import Store
from tidings.store.rows import MODE_READ, MODE_WRITE, GroupRow, MemberRow, MessageRow
from tidings.wire.common_pb2 import KIND_SYSTEM

_PAGE_MEMBERS = 2_000
# 40,000 versions: all members of the largest group, unless they joined and left very often.
_MOST_PAGES = 20
# The fields of a system message that name users.
_NAMING = ("user_id", "user_ids")


@dataclass(frozen=True, slots=True)
class Audience:
    """The delivery of one message. `mode`: "write" or "read", empty if it cannot be found out; `text` says why.

    `inboxes`: the users whose inboxes get it. `is_complete`: these are all of them. `members`: of the session.
    """

    mode: str
    text: str
    inboxes: Sequence[str]
    members: int
    is_complete: bool = True


async def audience_of(store: Store, session_id: str, seq: int, message: MessageRow | None) -> Audience:
    """The audience of a stored message. `message` is None if its content cannot be read."""
    if not ids.is_group_session(session_id):
        peers = ids.logged_direct_users(session_id)
        return Audience("write", "direct session: written to the inbox of each user", peers, len(peers))
    group = (await store.groups_as_of({session_id: seq})).get(session_id)
    if group is None:
        return Audience("", f"no version of the group is stored at or below seq {seq}", (), 0, is_complete=False)
    before = (await store.groups_as_of({session_id: seq - 1})).get(session_id)
    mode_before = before.mode if before else MODE_WRITE
    if group.mode == mode_before == MODE_READ and not _dissolves(group, seq):
        return await _of_read_diffusion(store, group, seq, message)
    users, is_complete = await _members(store, session_id, seq)
    text = f"write diffusion: written to the inbox of each of {group.member_count or len(users)} members"
    if group.mode != mode_before:
        switch = f"from {mode_name(mode_before)} to {mode_name(group.mode)} diffusion"
        text = f"mode switch {switch}: written to the inbox of each member"
    elif _dissolves(group, seq):
        text = "the group ends with it: written to the inbox of each last member"
    return Audience("write", text, users, group.member_count or len(users), is_complete)


def _dissolves(group: GroupRow, seq: int) -> bool:
    return group.member_count == 0 and group.as_of_seq == seq


async def _of_read_diffusion(store: Store, group: GroupRow, seq: int, message: MessageRow | None) -> Audience:
    """Only users that a system message adds, removes or names get it into their inboxes."""
    text = f"read diffusion: {group.member_count} members read it from the group's log"
    if message is None:
        return Audience("read", text, (), group.member_count, is_complete=False)
    named = _named_in(message) if message.kind == KIND_SYSTEM else ()
    if not named:
        return Audience("read", f"{text}, and no inbox gets it", (), group.member_count)
    versions = await store.members_as_of(group.session_id, seq, named)
    users = sorted(user_id for user_id, row in versions.items() if row.as_of_seq == seq)
    return Audience("read", f"{text}; it goes to the inboxes of the users that it names", users, group.member_count)


def _named_in(message: MessageRow) -> Collection[str]:
    body: Mapping[str, Any] = orjson.loads(message.body)
    values = [body[name] for name in _NAMING if name in body]
    return [user for value in values for user in (value if isinstance(value, list) else [value])]


async def _members(store: Store, session_id: str, seq: int) -> tuple[Sequence[str], bool]:
    """The members after the message and those that it removes, and whether these are all."""
    users: list[str] = []
    after: str | None = ""
    for _ in range(_MOST_PAGES):
        rows, after = await store.member_page(session_id, seq, after or "", _PAGE_MEMBERS)
        users += (row.user_id for row in rows if _gets(row, seq))
        if after is None:
            break
    return sorted(users), after is None


def _gets(row: MemberRow, seq: int) -> bool:
    return row.left_seq in (0, seq)
