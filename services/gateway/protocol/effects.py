"""The effects that a connection returns. `connections` performs them. Pure."""

from dataclasses import dataclass

from services.gateway.protocol.commands import Draft


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The connection has a user and a device: register it, replace an older one, announce presence."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish presence `here`."""


@dataclass(frozen=True, slots=True)
class HeartbeatDue:
    """Read the tail of the inbox, then `beat`."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a message, if rate limits and block lists allow it."""

    draft: Draft
    ref: str | None


@dataclass(frozen=True, slots=True)
class ReadInbox:
    """Read a page of the inbox, then call `page` or `failed`."""

    after: int
    limit: int
    ref: str | None


@dataclass(frozen=True, slots=True)
class CheckAck:
    """An ack is above the highest inbox_seq that was sent: read the tail, then call `ack_checked`."""

    inbox_seq: int
    ref: str | None


@dataclass(frozen=True, slots=True)
class MoveWatermark:
    """Publish a watermark of this user; 0 for a part that is absent."""

    session_id: str
    delivered_seq: int
    read_seq: int
    ref: str | None

    @property
    def seq(self) -> int:
        """The highest seq that the watermark names."""
        return max(self.delivered_seq, self.read_seq)


Effect = SignedIn | Announce | HeartbeatDue | Publish | ReadInbox | CheckAck | MoveWatermark
