"""What a connection asks of the world around it. Pure."""

from dataclasses import dataclass

from services.gateway.protocol.commands import Draft


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Now known as (user_id, device_id): register, replace an older one, announce."""


@dataclass(frozen=True, slots=True)
class Announce:
    """Publish presence `here`."""


@dataclass(frozen=True, slots=True)
class HeartbeatDue:
    """Read the tail of the inbox, then `beat`."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A message to publish, if rates and blocks allow it."""

    draft: Draft
    ref: str | None


@dataclass(frozen=True, slots=True)
class ReadInbox:
    """A page of the inbox to read, then `page` or `failed`."""

    after: int
    limit: int
    ref: str | None


@dataclass(frozen=True, slots=True)
class CheckAck:
    """An ack above all that the connection was sent of its inbox: read the tail, then `ack_checked`."""

    inbox_seq: int
    ref: str | None


@dataclass(frozen=True, slots=True)
class MoveWatermark:
    """A watermark of this user to publish; 0 where nothing was said."""

    session_id: str
    delivered_seq: int
    read_seq: int
    ref: str | None

    @property
    def seq(self) -> int:
        """The message that the session has to have."""
        return max(self.delivered_seq, self.read_seq)


Effect = SignedIn | Announce | HeartbeatDue | Publish | ReadInbox | CheckAck | MoveWatermark
