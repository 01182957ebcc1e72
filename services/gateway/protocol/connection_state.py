"""The states of a connection, and a deployment's settings for connections. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from zlib import crc32

from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.send_queue import SendQueueLimits


class State(Enum):
    """The state of a connection. The table at the end of connection.py has the handler of each frame in each state."""

    # No `hello` yet. Its time-out is HELLO_WITHIN_MS.
    NEW = "new"
    # Presence is announced until fanout answers with `live`.
    SIGNED_IN = "signed in"
    # Messages up to the tail are in the inbox, and later ones are pushed. A loss of pushes leads back to SIGNED_IN.
    LIVE = "live"
    # The end: queued frames are sent, and no frame is accepted.
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """A deployment's settings for connections. `verify(token, wall_ms)` raises Refused.

    `deployment`: the life of the tables, as `welcome` shows it.
    """

    verify: Callable[[str, int], Identity]
    heartbeat_s: int = 20
    messages_per_s: int = 100
    burst: int = 1_000
    bodies: BodyRules = field(default_factory=BodyRules)
    send_queue: SendQueueLimits = field(default_factory=SendQueueLimits)
    deployment: Mapping[str, object] | None = None


def first_beat_ms(connection_id: str, heartbeat_s: int) -> int:
    """Half to all of the interval, derived from the connection's name, to spread heartbeats after a mass reconnect."""
    share = 0.5 + (crc32(connection_id.encode()) % 1024) / 2048
    return int(heartbeat_s * 1000 * share)
