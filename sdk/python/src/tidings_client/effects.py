"""What the core asks its shell to do, and what it tells the application. All frozen; no behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from tidings_client.drafts import Draft
from tidings_client.frames import ClientFrame, Deployment, Message


class Status(StrEnum):
    """Where a message stands, as its sender sees it (PROTOCOL, Status)."""

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
    """Where a life of the deployment ended for this device. Of what has an `at` below `before_ms`, everything up
    to these places was shown."""

    before_ms: int
    inbox_seq: int
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a device must remember to resume: the inbox up to which everything has been handled,
    for each read-diffusion group the last seq handled, and of which life of the deployment these places are."""

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
    """This connection takes WebSocket messages of at most so many bytes, with all their frames."""

    max_bytes: int


@dataclass(frozen=True, slots=True)
class RenewToken:
    """Get a new token and hand it to the core; the connection stays."""


@dataclass(frozen=True, slots=True)
class Deliver:
    """A message for the application, each exactly once; to be answered by `handled(ticket)`."""

    ticket: int
    message: Message


@dataclass(frozen=True, slots=True)
class PersistCursor:
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class KeepAs:
    """Put this draft in place of the one with the id `was`, all at once, before it is tried; to be answered by
    `kept(draft.client_msg_id)`."""

    was: str
    draft: Draft


@dataclass(frozen=True, slots=True)
class FetchHistory:
    """Read a group's log after `after_seq`; None: from the seq at which this user joined."""

    session_id: str
    after_seq: int | None


@dataclass(frozen=True, slots=True)
class FetchWatermarks:
    """Read the peer's watermarks of these sessions."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchOwnMarks:
    """Read up to where these sessions are stored as delivered to this user, and where the user joined."""

    session_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchCounts:
    """Read how many members have received and read this message of ours in a group."""

    session_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A message of ours moved on. `session_id`, `seq` and `message_id` are known from SENT on;
    `code` and `reason` only of a FAILED one."""

    client_msg_id: str
    status: Status
    session_id: str | None = None
    seq: int | None = None
    message_id: str | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class IdChanged:
    """A message of ours goes under another id from now on: the server refused the time inside the first one, so
    nothing is stored under that, or it was never tried."""

    was: str
    client_msg_id: str


@dataclass(frozen=True, slots=True)
class WatermarksMoved:
    """Another user, or another device of this one, has received and read up to here."""

    session_id: str
    user_id: str
    delivered_seq: int
    read_seq: int


@dataclass(frozen=True, slots=True)
class CountsMoved:
    """How many members of a group have received and read a message of ours."""

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
    """The server refused a frame that has no answer of its own; or, with the code `other_life`, its tables were
    made anew or restored, and this device reads from the beginning."""

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
