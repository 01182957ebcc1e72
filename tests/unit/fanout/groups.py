"""The log of groups as the persister writes it, and what it means for every user: a second, simpler account."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.fanout.members import Audience, Members
from tests.unit.fanout.items import NOON_MS, stamps
from tidings.store.base import TaggedRow
from tidings.store.rows import ROLE_MEMBER, MemberRow
from tidings.wire.common_pb2 import KIND_SYSTEM, KIND_TEXT, MODE_READ, MODE_WRITE, Coordinates, Kind, Message, Mode
from tidings.wire.persisted_pb2 import Persisted

USERS = [f"user{number}" for number in range(40)]


def members(count: int) -> Members:
    """The first users as the members of a group since its first message."""
    return Members(1, Audience(USERS[:count]))


@dataclass
class Session:
    """What a user_sessions row has to say in the end."""

    joined_seq: int
    joined_count: int
    left_seq: int
    mode: Mode


@dataclass
class GroupLog:
    """One group. `inboxes`, `reads`: the seqs for each user's inbox; for every gateway, both ends of reading too."""

    session_id: str = "g:team"
    write_diffusion_max: int = 4
    recipients_per_part: int = 1_000
    seq: int = 0
    count: int = 0
    mode: Mode = MODE_WRITE
    is_dissolved: bool = False
    members: dict[str, int] = field(default_factory=dict)
    rows: list[MemberRow] = field(default_factory=list)
    inboxes: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    reads: list[int] = field(default_factory=list)
    sessions: dict[str, Session] = field(default_factory=dict)

    def say(self, offset: int) -> Persisted:
        """A text of some user."""
        self.count += 1
        return self._stored(offset, KIND_TEXT)

    def add(self, offset: int, users: Iterable[str]) -> Persisted:
        """Users join, the first ones by the group's creation."""
        joined = [user for user in users if user not in self.members]
        return self._stored(offset, KIND_SYSTEM, joined=joined)

    def remove(self, offset: int, user: str) -> Persisted:
        """A user leaves or is removed."""
        return self._stored(offset, KIND_SYSTEM, left=[user])

    def name(self, offset: int, user: str) -> Persisted:
        """Something is said of a member that stays: another role, a mute, the ownership."""
        return self._stored(offset, KIND_SYSTEM, named=[user])

    def dissolve(self, offset: int) -> Persisted:
        """The end."""
        self.is_dissolved = True
        return self._stored(offset, KIND_SYSTEM)

    def _stored(
        self, offset: int, kind: Kind, joined: Sequence[str] = (), left: Sequence[str] = (), named: Sequence[str] = ()
    ) -> Persisted:
        self.seq += 1
        self._version(offset, joined, left)
        reached = [*self.members, *left]
        before, self.mode = self.mode, self._mode_after()
        is_crossing = before != self.mode
        persisted = Persisted(
            source=Coordinates(offset=offset),
            stamps=stamps(bucket_rows=3, recipients_per_part=self.recipients_per_part),
            message=self._message(kind, offset),
            mode=MODE_WRITE if is_crossing else self.mode,
            joined_ids=joined,
            left_ids=left,
            dissolves=self.is_dissolved,
            named_ids=named,
        )
        if is_crossing:
            persisted.mode_from, persisted.mode_to = before, self.mode
        self._expect(persisted, reached)
        return persisted

    def _message(self, kind: Kind, offset: int) -> Message:
        return Message(
            message_id=offset + 1,
            session_id=self.session_id,
            seq=self.seq,
            sender_id="alice",
            at_ms=NOON_MS,
            kind=kind,
            count=self.count,
        )

    def _version(self, offset: int, joined: Sequence[str], left: Sequence[str]) -> None:
        for user in joined:
            self.members[user] = self.seq
            self.rows.append(self._row(user, offset, 0))
        for user in left:
            self.rows.append(self._row(user, offset, self.seq))
            del self.members[user]

    def _row(self, user: str, offset: int, left_seq: int) -> MemberRow:
        joined_seq = self.members[user]
        return MemberRow(self.session_id, user, self.seq, joined_seq, 0, left_seq, ROLE_MEMBER, 0, 0, offset)

    def _mode_after(self) -> Mode:
        if len(self.members) > self.write_diffusion_max:
            return MODE_READ
        if len(self.members) * 10 <= self.write_diffusion_max * 8:
            return MODE_WRITE
        return self.mode

    def _expect(self, persisted: Persisted, reached: Sequence[str]) -> None:
        if persisted.mode == MODE_READ or persisted.mode_to:
            self.reads.append(self.seq)
        if persisted.mode == MODE_READ and not self.is_dissolved:
            reached = [*persisted.joined_ids, *persisted.left_ids, *persisted.named_ids]
        for user in reached:
            self.inboxes[user].append(self.seq)
            if user in persisted.joined_ids:
                self.sessions[user] = Session(self.seq, self.count, 0, self.mode)
            if persisted.mode_to:
                self.sessions[user].mode = self.mode
            if user in persisted.left_ids or self.is_dissolved:
                self.sessions[user].left_seq = self.seq

    def rows_up_to(self, seq: int) -> list[TaggedRow]:
        """The versions that stand in the tables when this seq is on messages.persisted."""
        return [TaggedRow(0, row) for row in self.rows if row.as_of_seq <= seq]
