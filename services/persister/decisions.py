"""What can become of one command. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.persister.state import Stored
from tidings.store.rows import MODE_READ, MODE_WRITE, GroupRow, MemberRow
from tidings.wire.common_pb2 import Kind

# PROTOCOL: (user_id, code) of those whom a command asked for and did not take in.
LeftOutIds = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a message does to its session besides standing in it.

    `mode`: the way this message goes. `group` and `members`: the versions that
    begin with it. `mode_from` and `mode_to` differ from 0 only where it
    changes the way of delivery (law 10). `named_ids`: whom it is about
    although they neither join nor leave.
    """

    mode: int = MODE_WRITE
    mode_from: int = 0
    mode_to: int = 0
    group: GroupRow | None = None
    members: tuple[MemberRow, ...] = ()
    joined_ids: tuple[str, ...] = ()
    left_ids: tuple[str, ...] = ()
    named_ids: tuple[str, ...] = ()
    dissolves: bool = False
    left_out: LeftOutIds = ()


# By mode, what most messages change: nothing. Made once, since every post needs it.
NOTHING = {mode: Change(mode=mode) for mode in (MODE_WRITE, MODE_READ)}


@dataclass(frozen=True, slots=True)
class Entry:
    """A message before it has its seq: what it says (`body` is canonical JSON), and what it changes."""

    kind: Kind
    body: bytes
    change: Change
    reply_to: int = 0
    mentions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The command is message `seq`. `opens_segment`: it is the first of a new one."""

    stored: Stored
    entry: Entry
    count: int
    segment: int
    segment_first_seq: int
    month: int
    opens_segment: bool


@dataclass(frozen=True, slots=True)
class Repeated:
    """The command is stored already: the first ack again."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Nobody was there to be added: an answer without a message, and the same command may come again."""

    left_out: LeftOutIds


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command takes no seq. `code` is PROTOCOL's."""

    code: str
    text: str


Decision = Accepted | Repeated | Unchanged | Rejected


def not_found() -> Rejected:
    """The one answer to a stranger, whether the session exists, existed or never did (G11)."""
    return Rejected("session_not_found", "there is no such session for you; check session_id")
