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

from tidings.store.rows import MessageRow

# The columns that are never None.
_ALWAYS = 12
_length = struct.Struct(">I").pack
# A name with its `=`, the length of the value, and the value. Neighbours are packed at once: this is most of the
# archiver's work, and a loop over the columns takes three times as long.
_segment_seq_message_id = struct.Struct(">8sIq4sIq11sIq").pack
_kind = struct.Struct(">5sIq").pack
_at_count_log_epoch_log_offset = struct.Struct(">3sIq6sIq10sIq11sIq").pack
_reply_to = struct.Struct(">9sIq").pack


class RowsChecksum:
    """The checksum of the rows so far."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, rows: Iterable[MessageRow]) -> None:
        """The next rows. Lists of any length give the same checksum."""
        self._sha256.update(b"".join(map(_encoded, rows)))

    def digest(self) -> bytes:
        """32 bytes."""
        return self._sha256.digest()


def rows_sha256(rows: Iterable[MessageRow]) -> bytes:
    """The checksum of a segment: `ColdPlace.rows_sha256`."""
    checksum = RowsChecksum()
    checksum.add(rows)
    return checksum.digest()


def _encoded(row: MessageRow) -> bytes:
    session_id, sender_id, client_msg_id = row.session_id.encode(), row.sender_id.encode(), row.client_msg_id.encode()
    numbers = (b"segment=", 8, row.segment, b"seq=", 8, row.seq, b"message_id=", 8, row.message_id)
    coordinates = (b"log_epoch=", 8, row.log_epoch, b"log_offset=", 8, row.log_offset)
    is_reply, has_mentions = row.reply_to is not None, row.mentions is not None
    return b"".join(
        (
            bytes((_ALWAYS + is_reply + has_mentions,)),
            b"session_id=",
            _length(len(session_id)),
            session_id,
            _segment_seq_message_id(*numbers),
            b"sender_id=",
            _length(len(sender_id)),
            sender_id,
            b"client_msg_id=",
            _length(len(client_msg_id)),
            client_msg_id,
            _kind(b"kind=", 8, row.kind),
            b"body=",
            _length(len(row.body)),
            row.body,
            _at_count_log_epoch_log_offset(b"at=", 8, row.at, b"count=", 8, row.count, *coordinates),
            _reply_to(b"reply_to=", 8, row.reply_to) if is_reply else b"",
            _encoded_mentions(row.mentions) if row.mentions is not None else b"",
        )
    )


def _encoded_mentions(mentions: Iterable[str]) -> bytes:
    texts = [text.encode() for text in mentions]
    value = b"".join(part for text in texts for part in (_length(len(text)), text))
    return b"mentions=" + _length(len(value)) + value
