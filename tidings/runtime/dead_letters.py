"""Puts poison records aside: to `dead-letters`, with coordinates, reason and bytes.

Law 9 (fail in three words: backpressure, poison, retryable).
"""

import hashlib

from tidings import metrics
from tidings.broker.base import NewRecord, Record, TopicPartition
from tidings.errors import PoisonRecord
from tidings.logging import logger
from tidings.runtime.outbox import Outbox
from tidings.topics import DEAD_LETTERS
from tidings.wire.dead_letters_pb2 import DeadLetter

# Together with the other fields these stay below the largest record that our producers append.
_VALUE_BYTES = 512 * 1024
_KEY_BYTES = 4 * 1024


def put_aside(outbox: Outbox, stage: str, epoch: int, record: Record, poison: PoisonRecord) -> None:
    """Add a dead letter for the record to the round's outbox. Copies from repeated rounds have the same key."""
    value, reason = record.value or b"", str(poison)
    if len(value) > _VALUE_BYTES:
        reason += f" (cut: {len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()})"
    letter = DeadLetter(
        topic=record.topic,
        epoch=epoch,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
        key=(record.key or b"")[:_KEY_BYTES],
        value=value[:_VALUE_BYTES],
        at_ms=record.at_ms,
    )
    key = f"{record.topic}/{epoch}/{record.partition}/{record.offset}".encode()
    target = TopicPartition(DEAD_LETTERS, record.partition)
    outbox.add(record.partition, target, NewRecord(letter.SerializeToString(), key))
    metrics.DEAD_LETTERS.labels(stage).inc()
    logger(f"tidings.dead_letters.{stage}").error(
        "poison record put aside",
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        reason=str(poison),
        action="`tidings dlq show` prints it, `tidings dlq replay` sends it again",
    )
