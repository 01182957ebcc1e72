"""Builds the path of one gateway to Kafka."""

from dataclasses import dataclass

from services.gateway.protocol.rate_limits import RateLimits
from services.gateway.reads.build import Reads
from services.gateway.submit.command_calls import CommandCalls
from services.gateway.submit.hidden_receipts import HiddenReceipts
from services.gateway.submit.latency import AckLatency
from services.gateway.submit.pending_calls import PendingCalls
from services.gateway.submit.publisher import GatewayIdentity, Publisher
from services.gateway.submit.read_marks import ReadMarks
from services.gateway.submit.submitter import Submitter
from services.gateway.submit.watermarks import WatermarkMoves
from tidings.broker.base import Producer
from tidings.clock import Clock
from tidings.store.base import Store
from tidings.topics import TopicSizes
from tidings.wire.common_pb2 import Stamps


@dataclass(frozen=True, slots=True)
class SubmitRules:
    """`stamps`: the limits that later stages use. `pending_calls`: the most REST calls that wait at the same time."""

    sizes: TopicSizes
    stamps: Stamps
    messages_per_s: int
    burst: int
    pending_calls: int


@dataclass(frozen=True, slots=True)
class Submit:
    """Everything that publishes requests of clients, and the calls that wait for answers."""

    calls: CommandCalls
    latency: AckLatency
    pending: PendingCalls
    publisher: Publisher
    read_marks: ReadMarks
    submitter: Submitter
    watermarks: WatermarkMoves


def build_submit(
    producer: Producer, identity: GatewayIdentity, reads: Reads, store: Store, clock: Clock, rules: SubmitRules
) -> Submit:
    """The producer must be started, and the start record written."""
    hidden = HiddenReceipts(reads.block_lists)
    publisher = Publisher(producer, identity, rules.sizes, rules.stamps, hidden)
    latency = AckLatency()
    pending = PendingCalls(rules.pending_calls)
    limits = RateLimits(rules.messages_per_s, rules.burst)
    submitter = Submitter(publisher, limits, reads, store, latency, clock)
    return Submit(
        calls=CommandCalls(submitter, pending),
        latency=latency,
        pending=pending,
        publisher=publisher,
        read_marks=ReadMarks(publisher, reads.sessions.watermarks, rules.pending_calls),
        submitter=submitter,
        watermarks=WatermarkMoves(publisher, reads.memberships, reads.sessions, clock),
    )
