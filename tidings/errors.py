"""All errors of Tidings, as one tree.

TidingsError
├── Retryable                 the same round again, with backoff (law 9)
│   ├── BrokerUnavailable     the log did not confirm; the outcome is unknown
│   ├── StoreUnavailable      the tables did not confirm; the outcome is unknown
│   │   └── ColdUnavailable   messages in the object store cannot be read now
│   └── MediaUnavailable      the object store did not confirm; the outcome is unknown
├── MediaMissing              there is no such object, or it ends before the wanted bytes
├── UnreadableObject          an archived object is damaged, or of a format that this version cannot read
├── Backpressure              a bound is full: the source waits
├── PoisonRecord              a record before the ack cannot be decoded: to dead-letters
├── PartitionStopped          this partition is stopped until an operator acts
│   ├── UnreadableRecord      a record after the ack: skipping it would lose a message
│   ├── UnknownRules          the code is older than the record
│   ├── LostLogTail           the tables hold more than the log
│   └── PositionOutOfRange    the stage was stopped longer than the log's retention
├── Refused                   a client's command or call is refused, with PROTOCOL's code
└── ConfigurationError        the process must not start
"""

from collections.abc import Collection


class TidingsError(Exception):
    """The root of the tree."""


class Retryable(TidingsError):
    """The same round is tried again, with backoff. The outcome of the failed try is unknown."""


class BrokerUnavailable(Retryable):
    """The log did not confirm in time, or with an error."""


class StoreUnavailable(Retryable):
    """The tables did not confirm in time, or with an error."""


class ColdUnavailable(StoreUnavailable):
    """Archived messages cannot be read now: the object store does not answer, or an object is damaged or missing."""


class MediaUnavailable(Retryable):
    """The object store did not answer in time, or with an error, or with fewer bytes than it promised."""


class MediaMissing(TidingsError):
    """The object store answered that there is no such object, or it ends before the wanted bytes."""


class UnreadableObject(TidingsError):
    """An archived object is damaged, or of a format that this version cannot read. A retry does not help."""


class Backpressure(TidingsError):
    """A bound is full, so its source has to wait."""


class PoisonRecord(TidingsError):
    """A record before the ack cannot be decoded. It goes to dead-letters and takes no seq."""


class PartitionStopped(TidingsError):
    """One partition is stopped, and the record is not committed. The text says what the operator can do."""


class UnreadableRecord(PartitionStopped):
    """A record after the ack cannot be read."""


class UnknownRules(PartitionStopped):
    """A record is stamped with rules that this version of the code cannot decide by."""


class LostLogTail(PartitionStopped):
    """The tables hold rows whose records the log of this epoch no longer holds."""


class PositionOutOfRange(PartitionStopped):
    """The committed position is outside of what the log still holds."""

    def __init__(self, text: str, partitions: Collection[object] = ()) -> None:
        """`partitions`: the TopicPartitions (of the broker port) concerned."""
        super().__init__(text)
        self.partitions = tuple(partitions)


class ConfigurationError(TidingsError):
    """The settings do not fit each other or the servers; the process must not start."""


# PROTOCOL, section Codes: code -> HTTP status.
HTTP_STATUS = {
    "invalid_frame": 400,
    "invalid_body": 400,
    "unauthorized": 401,
    "token_expired": 401,
    "origin_not_allowed": 403,
    "forbidden": 403,
    "user_blocked": 403,
    "muted": 403,
    "session_not_found": 404,
    "message_not_found": 404,
    "media_not_found": 404,
    "not_member": 409,
    "conflict": 409,
    "clock_skew": 409,
    "too_old": 409,
    "group_full": 409,
    "block_list_full": 409,
    "cursor_ahead": 409,
    "too_large": 413,
    "rate_limited": 429,
    "unavailable": 503,
    "timeout": 504,
}
RETRYABLE_CODES = frozenset({"rate_limited", "unavailable", "timeout"})


class Refused(TidingsError):
    """A command or call is refused. `code` is one of HTTP_STATUS; `text` says what to change."""

    def __init__(self, code: str, text: str, retry_after_ms: int | None = None) -> None:
        """`code`: one of PROTOCOL's codes. Any other code is a programming error (KeyError)."""
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text
        self.retry_after_ms = retry_after_ms
        self.http_status = HTTP_STATUS[code]

    @property
    def is_retryable(self) -> bool:
        """True for the three codes that PROTOCOL marks with a star."""
        return self.code in RETRYABLE_CODES
