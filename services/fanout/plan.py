"""Expand: the deliveries of a message by user partition and part, and its pushes to every gateway. Pure."""

from collections.abc import Iterator, Sequence

from services.fanout.members import Audience, Members
from tidings import ids
from tidings.errors import UnreadableRecord
from tidings.wire.common_pb2 import MODE_READ, MODE_WRITE, Coordinates
from tidings.wire.deliveries_pb2 import Delivery, InboxItem
from tidings.wire.persisted_pb2 import Persisted
from tidings.wire.push_pb2 import PushedMessage


def check(persisted: Persisted) -> None:
    """Raises UnreadableRecord for a message whose recipients or delivery mode cannot be determined (H19)."""
    session_id = persisted.message.session_id
    if not ids.is_logged_session_id(session_id):
        raise UnreadableRecord(f"session {session_id!r} has no members that this version can name")
    if persisted.mode not in (MODE_WRITE, MODE_READ):
        raise UnreadableRecord(f"seq {persisted.message.seq} of {session_id}: its mode is not known to this version")
    if persisted.mode == MODE_READ and not ids.is_group_session(session_id):
        raise UnreadableRecord(f"{session_id} is no group and cannot be in read diffusion")
    if persisted.stamps.recipients_per_part == 0:
        raise UnreadableRecord(f"seq {persisted.message.seq} of {session_id}: no recipients_per_part is stamped on it")


def goes_to_all_members(persisted: Persisted) -> bool:
    """Whether the message goes to the inbox of every member, so that the members have to be loaded."""
    is_written = persisted.mode == MODE_WRITE or persisted.mode_to != 0 or persisted.dissolves
    return is_written and ids.is_group_session(persisted.message.session_id)


def recipients(persisted: Persisted, members: Members | None) -> Audience:
    """The users whose inboxes get the message. `members`: those after it, if it goes to all members.

    Raises UnreadableRecord if a group's message would have no recipient.
    """
    message = persisted.message
    if members is not None:
        audience = members.recipients(persisted)
        if not audience.users:
            raise UnreadableRecord(f"{message.session_id} has no members at seq {message.seq}: its rows are missing")
        return audience
    if persisted.mode == MODE_READ:
        return Audience([*persisted.joined_ids, *persisted.left_ids, *persisted.named_ids])
    return Audience(ids.logged_direct_users(message.session_id))


def deliveries(persisted: Persisted, audience: Audience, user_partitions: int) -> Iterator[tuple[int, Delivery]]:
    """(user partition, record) pairs. Each part holds the message once and has its own coordinates (H5)."""
    size = persisted.stamps.recipients_per_part
    for partition, users in audience.by_partition(user_partitions):
        for part, start in enumerate(range(0, len(users), size)):
            yield partition, _delivery(persisted, part, users[start : start + size])


def _delivery(persisted: Persisted, part: int, users: Sequence[str]) -> Delivery:
    source = persisted.source
    item = InboxItem(
        source=Coordinates(epoch=source.epoch, partition=source.partition, offset=source.offset, part=part),
        stamps=persisted.stamps,
        message=persisted.message,
        recipient_ids=users,
        mode=persisted.mode,
        mode_from=persisted.mode_from,
        mode_to=persisted.mode_to,
        joined_ids=persisted.joined_ids,
        left_ids=persisted.left_ids,
        dissolves=persisted.dissolves,
    )
    return Delivery(inbox_item=item)


def group_log_pushes(persisted: Persisted, members: Members | None) -> Iterator[PushedMessage]:
    """The pushes of a group's message to every gateway; none in write diffusion.

    In read diffusion each gateway sends the message to its own members of the group. Gateways do not send the
    message that ends read diffusion. Otherwise the first push of a later read diffusion could reach members that
    were removed in between (H15). They do not send the message that begins it either. It lists the members, because
    later pushes can overtake the inboxes. `members`: those after the message, if it goes to all members.
    """
    if persisted.mode == MODE_READ or persisted.mode_to == MODE_WRITE:
        yield _group_log_push(persisted, ())
    elif persisted.mode_to == MODE_READ and members is not None:
        users, size = sorted(members.audience.users), persisted.stamps.recipients_per_part
        for start in range(0, len(users), size):
            yield _group_log_push(persisted, users[start : start + size])


def _group_log_push(persisted: Persisted, member_ids: Sequence[str]) -> PushedMessage:
    return PushedMessage(
        message=persisted.message,
        mode=persisted.mode,
        mode_from=persisted.mode_from,
        mode_to=persisted.mode_to,
        joined_ids=persisted.joined_ids,
        left_ids=persisted.left_ids,
        dissolves=persisted.dissolves,
        member_ids=member_ids,
    )
