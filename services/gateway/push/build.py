"""Builds the push path of one gateway, from Kafka to its connections."""

from services.gateway.connections.build import Connections
from services.gateway.push.router import PushRouter
from services.gateway.reads.build import Reads
from services.gateway.submit.build import Submit
from tidings.clock import Clock


def build_push(connections: Connections, submit: Submit, reads: Reads, gateway_epoch: int, clock: Clock) -> PushRouter:
    """The router; its records come from `push.reader`."""
    return PushRouter(
        connections.registry,
        submit.pending,
        submit.latency,
        connections.live,
        reads.session_orders,
        gateway_epoch,
        clock,
    )
