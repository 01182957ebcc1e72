"""Expand: the members of a group at a seq, and their user partitions. Pure.

Only messages that go to the inboxes of all members need them. So a group in read
diffusion costs nothing here, however many members it has.
"""

from collections.abc import Iterable, Sequence

from tidings import ids
from tidings.store.rows import MemberRow
from tidings.wire.persisted_pb2 import Persisted


class Audience:
    """Users that get the same message, by user partition. Immutable."""

    __slots__ = ("_by_partition", "users")

    def __init__(self, users: Iterable[str]) -> None:
        """Order and duplicates of `users` do not matter."""
        self.users = frozenset(users)
        self._by_partition: Sequence[tuple[int, Sequence[str]]] = ()

    def by_partition(self, user_partitions: int) -> Sequence[tuple[int, Sequence[str]]]:
        """(partition, its users in order), sorted, so that every process makes the same parts. Computed once.

        Law 1 (the log decides) requires equal parts from every owner of the partition.
        """
        if not self._by_partition and self.users:
            found: dict[int, list[str]] = {}
            for user_id in sorted(self.users):
                found.setdefault(ids.partition_of(user_id, user_partitions), []).append(user_id)
            self._by_partition = sorted(found.items())
        return self._by_partition


class Members:
    """The members of a group after the message `as_of_seq`. Immutable: `after` returns a new instance."""

    __slots__ = ("as_of_seq", "audience")

    def __init__(self, as_of_seq: int, audience: Audience) -> None:
        """`audience`: the members after the message has added and removed users."""
        self.as_of_seq = as_of_seq
        self.audience = audience

    def after(self, persisted: Persisted) -> "Members":
        """The members after the message with the next seq."""
        audience = self.audience
        if persisted.joined_ids or persisted.left_ids:
            audience = Audience((audience.users | set(persisted.joined_ids)) - set(persisted.left_ids))
        return Members(persisted.message.seq, audience)

    def recipients(self, persisted: Persisted) -> Audience:
        """The recipients of the message that made this state: its members and the users that it removes."""
        if not persisted.left_ids:
            return self.audience
        return Audience(self.audience.users.union(persisted.left_ids))


def still_in(rows: Iterable[MemberRow]) -> Iterable[str]:
    """The users that have not left, by their newest versions."""
    return (row.user_id for row in rows if row.left_seq == 0)
