"""A checksum over every column of the rows of a segment. It does not depend on how the rows are stored. Pure.

Each row begins with the number of its columns that are not None, in 1 byte. These follow in the order of the class.
Each has its name, `=`, the length of its value (4 bytes) and the value. A value is 8 bytes for an int, and UTF-8 for
text. A tuple of texts is the length and the UTF-8 of each. All numbers are big-endian.

So no two lists of rows have the same encoding. A column that is added later, and is None in old rows, leaves their
checksums as they are.
"""

import hashlib
import struct
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter

from tidings.store.rows import MessageRow

_LENGTH = struct.Struct(">I")
_INTEGER = struct.Struct(">Iq")
_INTEGER_BYTES = 8
_COLUMNS = tuple(column.name for column in fields(MessageRow))
_NAMES = tuple(f"{name}=".encode() for name in _COLUMNS)
_values = attrgetter(*_COLUMNS)


class RowsChecksum:
    """The checksum of the rows so far."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, rows: Iterable[MessageRow]) -> None:
        """The next rows. Lists of any length give the same checksum."""
        for row in rows:
            self._sha256.update(_encoded(row))

    def digest(self) -> bytes:
        """32 bytes."""
        return self._sha256.digest()


def rows_sha256(rows: Iterable[MessageRow]) -> bytes:
    """The checksum of a segment: `ColdPlace.rows_sha256`."""
    checksum = RowsChecksum()
    checksum.add(rows)
    return checksum.digest()


def _encoded(row: MessageRow) -> bytes:
    parts = [b""]
    for name, value in zip(_NAMES, _values(row), strict=True):
        if value is not None:
            parts += (name, _encoded_value(value))
    parts[0] = bytes((len(parts) // 2,))
    return b"".join(parts)


def _encoded_value(value: int | str | bytes | tuple[str, ...]) -> bytes:
    if isinstance(value, int):
        return _INTEGER.pack(_INTEGER_BYTES, value)
    if isinstance(value, str):
        value = value.encode()
    elif isinstance(value, tuple):
        texts = [text.encode() for text in value]
        value = b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    return _LENGTH.pack(len(value)) + value
