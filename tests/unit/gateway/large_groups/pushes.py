"""Pushes and versions of one group, and a tracker that has learned of its members."""

from services.gateway.large_groups.tracker import GroupTracker
from tests.builders import group, member
from tidings.store.rows import MODE_READ, GroupRow, MemberRow
from tidings.wire.common_pb2 import Message, Mode
from tidings.wire.push_pb2 import PushedMessage

GROUP = "g:1"
Names = tuple[str, ...]


# How far the group had come when its versions were read.
HEADS = {GROUP: 9}
READ, WRITE = Mode.MODE_READ, Mode.MODE_WRITE


def push(seq: int, *users: str, mode: Mode = READ, joined: Names = (), left: Names = ()) -> PushedMessage:
    message = Message(session_id=GROUP, seq=seq)
    return PushedMessage(message=message, user_ids=users, mode=mode, joined_ids=joined, left_ids=left)


def crossing(seq: int, to: Mode, *users: str) -> PushedMessage:
    pushed = push(seq, *users, mode=WRITE)
    pushed.mode_from, pushed.mode_to = (WRITE, READ) if to == READ else (READ, WRITE)
    return pushed


def ending(seq: int, *users: str) -> PushedMessage:
    """The group is dissolved."""
    pushed = push(seq, *users)
    pushed.dissolves = True
    return pushed


def group_row(as_of_seq: int, mode: int = MODE_READ, member_count: int = 3) -> GroupRow:
    return group(GROUP, as_of_seq, member_count, mode)


def member_row(user_id: str, as_of_seq: int, joined_seq: int, left_seq: int = 0) -> MemberRow:
    return member(GROUP, user_id, as_of_seq, joined_seq, left_seq)


def learn(groups: GroupTracker, row: MemberRow, head_seq: int = 9, of: GroupRow | None = None) -> None:
    """The versions of a user are read: this one, and that of the group, which had come to `head_seq`."""
    groups.apply_versions(groups.generation(row.user_id), [(of or group_row(9), row)], {GROUP: head_seq})


def connected(*users: str) -> GroupTracker:
    groups = GroupTracker()
    for user_id in users:
        groups.add_user(user_id)
    return groups


def learned(*users: str) -> GroupTracker:
    groups = connected(*users)
    for user_id in users:
        learn(groups, member_row(user_id, 5, 5))
    return groups
