"""The rows of uploads, and of the messages that refer to them."""

from dataclasses import dataclass
from typing import ClassVar

# Of MediaRow.removing_at. No time is as low.
MARKED = 1


@dataclass(frozen=True, slots=True)
class MediaRefRow:
    """The newest message of a session that refers to an upload. A member that may read it may read the upload.

    The write timestamp is the seq, so that the highest one stays, whatever the order of the writes.
    """

    table: ClassVar[str] = "media_refs"
    partition_key: ClassVar[tuple[str, ...]] = ("media_id",)

    media_id: str
    session_id: str
    seq: int

    @property
    def write_timestamp(self) -> int:
        """The seq itself."""
        return self.seq


@dataclass(frozen=True, slots=True)
class MediaUsageRow:
    """The bytes of one upload, counted for its user and UTC day before its MediaRow is written. TTL 3 days.

    The write timestamp is the size. Otherwise a smaller upload under the same Idempotency-Key, which is refused as a
    conflict afterwards, would lower what the stored one counts.
    """

    table: ClassVar[str] = "media_usage"
    partition_key: ClassVar[tuple[str, ...]] = ("user_id", "day")

    user_id: str
    day: int
    media_id: str
    size: int

    @property
    def write_timestamp(self) -> int:
        """The size itself."""
        return self.size


@dataclass(frozen=True, slots=True)
class MediaRow:
    """One upload. Written once, by a lightweight transaction, after its objects are stored.

    `object_key`: the key of the content; the thumbnail's has `.thumb` at its end. `size` and `thumb_size` in bytes; a
    `thumb_size` of 0: no thumbnail. `width` and `height` in pixels as shown, 0 for a file. `sha256`: of the bytes that
    the client sent, 32 bytes. `removing_at`: with it, no message may refer to the upload any more. It is a time
    (ms) at which the mark was in effect; MARKED: in effect, and its time is not written yet; 0: the upload stays.
    """

    table: ClassVar[str] = "media"

    media_id: str
    owner_id: str
    object_key: str
    content_type: str
    name: str
    size: int
    sha256: bytes
    width: int
    height: int
    thumb_size: int
    uploaded_at: int
    removing_at: int = 0

    @property
    def is_image(self) -> bool:
        """Whether the upload can be the content of an image message."""
        return self.width > 0

    @property
    def thumb_key(self) -> str:
        """The object key of the thumbnail."""
        return f"{self.object_key}.thumb"
