"""Builds the connections of one gateway."""

from dataclasses import dataclass

from services.gateway.connections.endpoint import WebSocketEndpoint
from services.gateway.connections.live import LiveAnswers
from services.gateway.connections.registry import ConnectionRegistry
from services.gateway.connections.timers import Timers
from services.gateway.protocol.connection_state import ConnectionRules
from services.gateway.protocol.origins import AllowedOrigins
from services.gateway.reads.build import Reads
from services.gateway.submit.build import Submit
from tidings.clock import Clock
from tidings.store.base import Store


@dataclass(frozen=True, slots=True)
class SocketRules:
    """`name`: the prefix of connection ids, unique among all gateways and their starts. `origins`: of allowed pages."""

    name: str
    origins: AllowedOrigins
    max_connections: int


@dataclass(frozen=True, slots=True)
class Connections:
    """The endpoint of the sockets, and everything that acts on connections without a frame from them."""

    endpoint: WebSocketEndpoint
    live: LiveAnswers
    registry: ConnectionRegistry
    ticker: Timers


def build_connections(
    reads: Reads, submit: Submit, store: Store, clock: Clock, rules: ConnectionRules, sockets: SocketRules
) -> Connections:
    """The caller runs the ticker."""
    registry = ConnectionRegistry(rules, submit.publisher, clock, sockets.name, reads.known_heads)
    live = LiveAnswers(registry, store, reads.memberships, reads.sessions, clock)
    endpoint = WebSocketEndpoint(
        registry, submit.submitter, submit.watermarks, reads.inbox, clock, sockets.origins, sockets.max_connections
    )
    return Connections(endpoint, live, registry, Timers(registry, reads.inbox, live, submit.latency, clock))
