"""Reads this gateway's push partition, and the start records of other processes with its ordinal."""

import asyncio

from google.protobuf.message import DecodeError

from services.gateway.push.router import PushRouter
from services.gateway.submit.publisher import GatewayIdentity
from tidings.broker.base import Reader, Record, TopicPartition
from tidings.errors import BrokerUnavailable, TidingsError
from tidings.logging import logger
from tidings.topics import GATEWAYS, PUSH
from tidings.wire.gateways_pb2 import GatewayEvent

POLL_RECORDS = 500
POLL_MS = 500
RETRY_S = 0.5


class Superseded(TidingsError):
    """Another process has started with this ordinal. This epoch is void, so the process must end."""


async def take_push_partition(reader: Reader, ordinal: int) -> None:
    """Fix the first offset to read on `push`, before fanout can read this gateway's start (H13). Raises
    BrokerUnavailable."""
    partition = TopicPartition(PUSH, ordinal)
    end = (await reader.end_offsets([partition]))[partition]
    reader.assign({partition: end})


def positions_of(identity: GatewayIdentity) -> dict[TopicPartition, int]:
    """Continue on `push` where `take_push_partition` stopped, and read start records above our own."""
    return {TopicPartition(PUSH, identity.ordinal): -1, TopicPartition(GATEWAYS, 0): identity.epoch + 1}


async def read_log(reader: Reader, identity: GatewayIdentity, router: PushRouter) -> None:
    """Route push records until cancelled; raises Superseded."""
    reader.assign(positions_of(identity))
    log = logger("tidings.gateway.log")
    while True:
        try:
            records = await reader.poll(POLL_RECORDS, POLL_MS)
        except BrokerUnavailable as error:
            # The position is kept, so every record since then is read after the outage.
            log.warning("Kafka cannot be read; retrying", reason=str(error))
            await asyncio.sleep(RETRY_S)
            continue
        for record in records:
            if record.topic == PUSH:
                router.take(record.value)
            else:
                check_not_superseded(record, identity)


def check_not_superseded(record: Record, identity: GatewayIdentity) -> None:
    """Raises Superseded for a start record of this ordinal above our own."""
    try:
        event = GatewayEvent.FromString(record.value or b"")
    except DecodeError:
        return
    is_start = event.state == GatewayEvent.STATE_STARTED
    if is_start and event.gateway == identity.ordinal and record.offset > identity.epoch:
        raise Superseded(f"gateway {identity.ordinal} has started again as epoch {record.offset}; this one ends")
