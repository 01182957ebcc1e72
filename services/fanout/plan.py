"""Expand: which user partition gets a message, for whom, in which parts. Pure."""

from collections.abc import Iterable, Iterator

from tidings import ids
from tidings.errors import UnreadableRecord
from tidings.wire.common_pb2 import Coordinates
from tidings.wire.deliveries_pb2 import Delivery, InboxItem
from tidings.wire.persisted_pb2 import Persisted


def recipients(persisted: Persisted) -> tuple[str, ...]:
    """Everyone whose inbox gets the message; raises UnreadableRecord where nobody can be named."""
    users = ids.direct_users(persisted.message.session_id)
    if not users:
        raise UnreadableRecord(f"session {persisted.message.session_id!r} has no members that this version can name")
    return users


def deliveries(persisted: Persisted, user_ids: Iterable[str], user_partitions: int) -> Iterator[tuple[int, Delivery]]:
    """(user partition, record) pairs; the message's bytes once per part (H5: parts have their own coordinates)."""
    by_partition: dict[int, list[str]] = {}
    for user_id in user_ids:
        by_partition.setdefault(ids.partition_of(user_id, user_partitions), []).append(user_id)
    size = persisted.stamps.recipients_per_part
    for partition, users in sorted(by_partition.items()):
        for part, start in enumerate(range(0, len(users), size)):
            yield partition, _delivery(persisted, part, users[start : start + size])


def _delivery(persisted: Persisted, part: int, users: list[str]) -> Delivery:
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
    )
    return Delivery(inbox_item=item)
