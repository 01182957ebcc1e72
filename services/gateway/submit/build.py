"""The way to Kafka of one gateway, wired."""

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
    """`stamps`: the limits by which later stages decide. `pending_calls`: REST calls that wait at once."""

    sizes: TopicSizes
    stamps: Stamps
    messages_per_s: int
    burst: int
    pending_calls: int


@dataclass(frozen=True, slots=True)
class Submit:
    """Every way by which a client's request gets to Kafka, and what waits for the answers."""

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
    """The producer is started, the identity written."""
    hidden = HiddenReceipts(reads.block_lists)
    publisher = Publisher(producer, identity, rules.sizes, rules.stamps, hidden)
    latency = AckLatency()
    pending = PendingCalls(rules.pending_calls)
    limits = RateLimits(rules.messages_per_s, rules.burst)
    submitter = Submitter(publisher, limits, reads.block_lists, store, latency, clock)
    return Submit(
        calls=CommandCalls(submitter, pending),
        latency=latency,
        pending=pending,
        publisher=publisher,
        read_marks=ReadMarks(publisher, reads.sessions.watermarks, rules.pending_calls),
        submitter=submitter,
        watermarks=WatermarkMoves(publisher, reads.memberships, reads.sessions, clock),
    )
