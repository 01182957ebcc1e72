"""The states of a connection, and what a deployment decides about connections. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from zlib import crc32

from services.gateway.protocol.bodies import BodyRules
from services.gateway.protocol.identity import Identity
from services.gateway.protocol.send_queue import SendQueueLimits


class State(Enum):
    """What a connection is waiting for. The table at the end of connection.py says what it does with each frame."""

    # No `hello` yet. Its time-out is HELLO_WITHIN_MS.
    NEW = "new"
    # Presence is announced until fanout answers with `live`.
    SIGNED_IN = "signed in"
    # Everything up to the tail is in the inbox, the rest is pushed. A loss of pushes leads back to SIGNED_IN.
    LIVE = "live"
    # What is queued is still sent; nothing is taken in. The end.
    CLOSING = "closing"


@dataclass(frozen=True, slots=True)
class ConnectionRules:
    """What a deployment decides about connections. `verify(token, wall_ms)` raises Refused.

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
    """Half to all of the interval, by the connection's name: after a mass reconnect beats are spread evenly."""
    share = 0.5 + (crc32(connection_id.encode()) % 1024) / 2048
    return int(heartbeat_s * 1000 * share)
