"""The possible outcomes of one command. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.persister.state import Stored
from tidings.store.rows import MODE_READ, MODE_WRITE, GroupRow, MemberRow
from tidings.wire.common_pb2 import Kind

# PROTOCOL: (user_id, code) of the users that a command named but did not add.
LeftOutIds = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What a message changes in its session.

    `mode` is the delivery mode of this message. `group` and `members` are the
    versions that begin with it. `mode_from` and `mode_to` are 0 unless the
    message changes the delivery mode of the group. `named_ids` are users that
    the message concerns although they neither join nor leave.
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


# Most messages change nothing. One instance per mode is shared because every post needs one.
NOTHING = {mode: Change(mode=mode) for mode in (MODE_WRITE, MODE_READ)}


@dataclass(frozen=True, slots=True)
class Entry:
    """A message without its seq: its content (`body` is canonical JSON) and what it changes.

    `media_ids`: the uploads that the body refers to.
    """

    kind: Kind
    body: bytes
    change: Change
    reply_to: int = 0
    mentions: Sequence[str] = ()
    media_ids: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The command became a message. `opens_segment`: the message is the first of a new segment."""

    stored: Stored
    entry: Entry
    count: int
    segment: int
    segment_first_seq: int
    month: int
    opens_segment: bool


@dataclass(frozen=True, slots=True)
class Repeated:
    """The command is stored already. The persister repeats the first ack."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Unchanged:
    """No named user could be added. The command is answered but not stored, so a repeat is decided again."""

    left_out: LeftOutIds


@dataclass(frozen=True, slots=True)
class Closed:
    """The newest segment is closed with this tail. The command makes no message and gets no answer."""

    segment: int
    last_seq: int
    last_count: int
    last_at: int


@dataclass(frozen=True, slots=True)
class LeftOpen:
    """The segment is not the newest one, or closed, or the session has a later message. Nothing happens."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The command is refused and takes no seq. `code` is one of PROTOCOL's codes."""

    code: str
    text: str


Decision = Accepted | Repeated | Unchanged | Rejected | Closed | LeftOpen


def not_found() -> Rejected:
    """The answer to a non-member. It is the same whether or not the session exists or ever existed (G11)."""
    return Rejected("session_not_found", "there is no such session for you; check session_id")
