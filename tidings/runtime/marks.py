"""Marks: how far a stage has come in each partition of messages.inbound.

Law 4 (every stage drops what it has seen) compares each record with them.
"""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.message import DecodeError

from tidings.wire.common_pb2 import Coordinates
from tidings.wire.marks_pb2 import Mark
from tidings.wire.marks_pb2 import Marks as MarksRecord

_VERSION = 1

# The broker refuses commit metadata above offset.metadata.max.bytes, 4,096 by default.
METADATA_MAX_BYTES = 4096
# One mark: tag, length, and four varints with their tags. The offset takes up to 7 bytes.
_MARK_MAX_BYTES = 2 + (1 + 2) + (1 + 1) + (1 + 7) + (1 + 3)


class Marks:
    """The highest (epoch, offset, part) finished per source partition. A round works on a copy."""

    __slots__ = ("_highest",)

    def __init__(self, highest: dict[int, tuple[int, int, int]] | None = None) -> None:
        """Start from these marks. None: the stage has finished with no record yet."""
        self._highest = highest or {}

    def copy(self) -> "Marks":
        return Marks(dict(self._highest))

    def is_repeat(self, source: Coordinates) -> bool:
        """Whether the coordinates are at or below the mark of their source partition."""
        return (source.epoch, source.offset, source.part) <= self._highest.get(source.partition, (-1, -1, -1))

    def advance(self, source: Coordinates) -> None:
        """Raise the mark to a record that the stage has decided. Never called for a repeat."""
        self._highest[source.partition] = (source.epoch, source.offset, source.part)

    def highest(self) -> Mapping[int, tuple[int, int, int]]:
        """The highest (epoch, offset, part) by source partition, for operators."""
        return MappingProxyType(self._highest)

    def encoded(self) -> str:
        """The marks as commit metadata. It is not empty even if there is no mark."""
        marks = [
            Mark(partition=partition, epoch=epoch, offset=offset, part=part)
            for partition, (epoch, offset, part) in sorted(self._highest.items())
        ]
        record = MarksRecord(version=_VERSION, marks=marks)
        return base64.b64encode(record.SerializeToString()).decode()

    @staticmethod
    def decoded(metadata: str) -> "Marks":
        """Marks from commit metadata. ValueError if it holds none, because that never means "no marks" (H18)."""
        try:
            record = MarksRecord.FromString(base64.b64decode(metadata, validate=True))
        except (binascii.Error, DecodeError) as error:
            raise ValueError(f"commit metadata is not marks: {metadata[:40]!r}") from error
        if record.version != _VERSION:
            raise ValueError(f"commit metadata has marks of version {record.version}, not {_VERSION}")
        return Marks({mark.partition: (mark.epoch, mark.offset, mark.part) for mark in record.marks})


def fits_metadata(source_partitions: int) -> bool:
    """Whether the marks of so many source partitions fit into a commit's metadata."""
    return (source_partitions * _MARK_MAX_BYTES + 2) * 4 / 3 + 4 <= METADATA_MAX_BYTES
