"""The cached state of a session, and the draft that one round makes of it. Pure."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tidings import ids
from tidings.store.rows import GroupRow, MemberRow

# PROTOCOL: the gateway refuses a UUIDv7 more than 5 min in the future. The broker's clock may be behind the gateway's.
# So `at` is raised to the UUIDv7's time - 5 min, and no stored message has a lower `at`.
SKEW_MS = 5 * 60_000
# Twice the skew: 5 min for a new id, and 5 min more for messages that wait during an outage.
KEY_WINDOW_MS = 10 * 60_000

_PACKED = struct.Struct("<qqq32s")


class Stored(NamedTuple):
    """The message that a client_msg_id became."""

    seq: int
    message_id: int
    at: int
    digest: bytes


class MessageKey(NamedTuple):
    """The sender and the client_msg_id, which identify a repeat within a session."""

    sender_id: str
    client_msg_id: str


@dataclass(slots=True)
class SessionState:
    """A session as of the last confirmed record of its partition.

    `known_from`: every key stored with a higher `at` is in memory. None means
    that all keys are, because the session had no message when it was loaded.
    """

    seq: int = 0
    count: int = 0
    at: int = 0
    segment: int = 0
    segment_first_seq: int = 1
    segment_month: int = 0
    segment_is_closed: bool = False
    known_from: int | None = None
    # In order of `at`. Packed, because a tuple takes 100 bytes more: ten minutes of 1,000 msg/s are 600,000 keys.
    keys: dict[str, bytes] = field(default_factory=dict)
    # The newest version of the group; None if no message has made one.
    group: GroupRow | None = None
    # Some of the current members. The persister loads any other user from the tables.
    members: dict[str, MemberRow] = field(default_factory=dict)

    def find(self, key: MessageKey) -> Stored | None:
        """The message of a key that is in memory, or None."""
        packed = self.keys.get(_flat(key))
        return None if packed is None else Stored._make(_PACKED.unpack(packed))


@dataclass(slots=True)
class Draft:
    """One session during one round: the confirmed state, and what the round adds to it.

    No key is dropped from memory before the round is confirmed (H30).
    """

    base: SessionState
    partition: int
    seq: int
    count: int
    at: int
    segment: int
    segment_first_seq: int
    segment_month: int
    segment_is_closed: bool
    added: dict[MessageKey, Stored] = field(default_factory=dict)
    looked_up: dict[MessageKey, Stored] = field(default_factory=dict)
    group: GroupRow | None = None
    # Versions made in this round, and versions that it loaded; None for a user that never was a member.
    members: dict[str, MemberRow] = field(default_factory=dict)
    loaded: dict[str, MemberRow | None] = field(default_factory=dict)

    @staticmethod
    def of(base: SessionState, partition: int) -> "Draft":
        """A draft that adds nothing yet."""
        return Draft(
            base=base,
            partition=partition,
            seq=base.seq,
            count=base.count,
            at=base.at,
            segment=base.segment,
            segment_first_seq=base.segment_first_seq,
            segment_month=base.segment_month,
            segment_is_closed=base.segment_is_closed,
            group=base.group,
        )

    def find(self, key: MessageKey) -> Stored | None:
        """The message that the key became below the current record, or None."""
        return self.added.get(key) or self.base.find(key) or self.looked_up.get(key)

    def member(self, user_id: str) -> MemberRow | None:
        """The user's version, if the user is a member at the current record. KeyError for a user not loaded."""
        row = self.newest(user_id)
        return row if row is not None and row.left_seq == 0 else None

    def newest(self, user_id: str) -> MemberRow | None:
        """The user's newest version as of the current record, also after leaving. None if there is no group.

        KeyError for a user that was not loaded.
        """
        if self.group is None or self.group.member_count == 0:
            return None
        row = self.members.get(user_id) or self.base.members.get(user_id)
        if row is None and self.base.group is not None:
            row = self.loaded[user_id]
        return row

    def needs_member(self, user_id: str) -> bool:
        """Whether the user's version has to be loaded.

        This also holds for groups that do not exist, so that the response time of a non-member is the same (G11).
        """
        return user_id not in self.base.members

    def take(self, group: GroupRow | None, members: Iterable[MemberRow]) -> None:
        """Add the versions that the current record has made."""
        self.group = group or self.group
        self.members.update((row.user_id, row) for row in members)

    def confirmed(self) -> SessionState:
        """The round is confirmed: its additions become the state. Old keys are evicted, since the tables hold them."""
        base = self.base
        base.seq, base.count, base.at = self.seq, self.count, self.at
        base.segment, base.segment_first_seq = self.segment, self.segment_first_seq
        base.segment_month, base.segment_is_closed = self.segment_month, self.segment_is_closed
        base.group = self.group
        self._keep_members()
        for key, stored in self.added.items():
            base.keys[_flat(key)] = _PACKED.pack(*stored)
        _forget_old_keys(base)
        return base

    def _keep_members(self) -> None:
        """Keep current members only: non-members are unbounded, and a dissolved group is not queried again."""
        kept = self.base.members
        kept.update((user_id, row) for user_id, row in self.loaded.items() if row is not None)
        kept.update(self.members)
        has_ended = self.group is None or self.group.member_count == 0
        for user_id in [user_id for user_id, row in kept.items() if has_ended or row.left_seq]:
            del kept[user_id]


def needs_lookup(state: SessionState, key: MessageKey) -> bool:
    """Whether the key has to be looked up in the tables, because memory does not cover it (ARCHITECTURE, Identity)."""
    if state.known_from is None:
        return False
    id_time_ms = ids.uuid7_time_ms(key.client_msg_id)
    return id_time_ms is None or id_time_ms - SKEW_MS <= state.known_from


def _forget_old_keys(state: SessionState) -> None:
    """Evict keys more than ten minutes older than the newest message. `known_from` never goes back."""
    horizon = state.at - KEY_WINDOW_MS
    oldest = next(iter(state.keys.values()), None)
    if oldest is None or _at(oldest) > horizon:
        return
    state.known_from = horizon if state.known_from is None else max(state.known_from, horizon)
    old: list[str] = []
    for key, packed in state.keys.items():
        if _at(packed) > horizon:
            break
        old.append(key)
    for key in old:
        del state.keys[key]


def _at(packed: bytes) -> int:
    at: int = _PACKED.unpack(packed)[2]
    return at


def _flat(key: MessageKey) -> str:
    # A user id has no space, so the pair stays unambiguous.
    return f"{key.sender_id} {key.client_msg_id}"
