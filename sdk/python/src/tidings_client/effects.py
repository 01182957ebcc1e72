"""The effects that the core returns: actions for its shell and events for the application. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tidings_client.drafts import Draft
from tidings_client.frames import ClientFrame, Deployment, Message


class Status(StrEnum):
    """The status of a message, as its sender sees it (PROTOCOL, Status)."""

    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


class Link(StrEnum):
    """The state of the connection."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    SIGNING_IN = "signing_in"
    READY = "ready"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Earlier:
    """Where a life of the deployment ended for this device. Messages with an `at` below `before_ms` were shown up to
    these seqs."""

    before_ms: int
    inbox_seq: int
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a device resumes: the inbox_seq up to which all messages were handled, and the last handled seq of each
    read-diffusion group. `deployment` is the life that they belong to."""

    inbox_seq: int
    groups: dict[str, int] = field(default_factory=dict)
    deployment: Deployment | None = None
    earlier: tuple[Earlier, ...] = ()


@dataclass(frozen=True, slots=True)
class Connect:
    """Get a token (a new one, if `fresh_token`) and open a connection."""

    fresh_token: bool


@dataclass(frozen=True, slots=True)
class CloseConnection:
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class SendFrame:
    frame: ClientFrame


@dataclass(frozen=True, slots=True)
class LimitMessages:
    """Send WebSocket messages of at most `max_bytes` on this connection, with all their frames."""

    max_bytes: int


@dataclass(frozen=True, slots=True)
class RenewToken:
    """Get a new token and pass it to the core. The connection stays open."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """Pass a message to the application, each exactly once. The answer is `handled(ticket)`."""

    ticket: int
    message: Message


@dataclass(frozen=True, slots=True)
class PersistCursor:
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class KeepAs:
    """Replace the draft with the id `was` atomically, before the new one is tried. The answer is
    `kept(draft.client_msg_id)`."""

    was: str
    draft: Draft


@dataclass(frozen=True, slots=True)
class FetchHistory:
    """Read a group's log after `after_seq`; None: from the seq of joining."""

    session_id: str
    after_seq: int | None


@dataclass(frozen=True, slots=True)
class FetchWatermarks:
    """Read the peer's watermarks of these sessions."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchOwnMarks:
    """Read this user's stored *delivered* watermark and seq of joining for these sessions."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchCounts:
    """Read how many members of a group have received and read this own message."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """An own message changed its status. `session_id`, `seq` and `message_id` are set from SENT on, `code` and
    `reason` only for FAILED."""

    client_msg_id: str
    status: Status
    session_id: str | None = None
    seq: int | None = None
    message_id: str | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class IdChanged:
    """An own message has a new id from now on. The old one was never tried, or the server refused the time inside it.
    In both cases nothing is stored under the old id."""

    was: str
    client_msg_id: str


@dataclass(frozen=True, slots=True)
class WatermarksMoved:
    """Another user, or another device of this user, has received and read messages up to these seqs."""

    session_id: str
    user_id: str
    delivered_seq: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class CountsMoved:
    """How many members of a group have received and read an own message."""

    session_id: str
    seq: int
    delivered: int
    read: int


@dataclass(frozen=True, slots=True)
class LinkChanged:
    link: Link
    code: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The server refused a frame that has no answer of its own. With the code `other_life`: the server's tables were
    created again or restored, so this device reads from the beginning."""

    code: str
    message: str


Event = StatusChanged | IdChanged | WatermarksMoved | CountsMoved | LinkChanged | Complaint
Fetch = FetchHistory | FetchWatermarks | FetchOwnMarks | FetchCounts
Effect = (
    Connect
    | CloseConnection
    | SendFrame
    | LimitMessages
    | RenewToken
    | Deliver
    | PersistCursor
    | KeepAs
    | Fetch
    | Event
)
