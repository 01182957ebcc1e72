"""Identifiers: their syntax, how they are built, and the partitions that they hash to. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

# Not dots only, because HTTP clients fold a path that ends in /members/.. to the group's own path (PROTOCOL, Ids).
_USER = re.compile(r"(?!\.+\Z)[A-Za-z0-9_.@-]{1,64}")
_LOGGED_USER = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
USER_ID_TEXT = "1-64 characters A-Z a-z 0-9 _ . @ -, not dots only"
_CLIENT_MSG = re.compile(r"[\x20-\x7e]{1,64}")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_MEDIA = re.compile(r"[0-9a-f]{32}")
_GROUP = re.compile(r"g:[A-Za-z0-9_-]{1,64}")

# message_id: 6 bits epoch, 10 bits inbound partition, 47 bits offset (ARCHITECTURE, Identity).
_PARTITION_BITS = 10
_OFFSET_BITS = 47
DAY_MS = 86_400_000
MAX_PARTITIONS = 2**_PARTITION_BITS


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A position in one partition of the log. Offsets start again when the epoch rises."""

    epoch: int
    offset: int


def is_user_id(text: str) -> bool:
    """Whether a client may use the text as a user id: 1-64 characters of A-Z a-z 0-9 _ . @ -, not dots only."""
    return _USER.fullmatch(text) is not None


def is_logged_user_id(text: str) -> bool:
    """Whether records and rows may hold the text as a user id. Early gateways also accepted ids of dots only.

    Stages use this function and gateways use is_user_id, because a replay must decide as before: law 1 (the log
    decides).
    """
    return _LOGGED_USER.fullmatch(text) is not None


def is_client_msg_id(text: str) -> bool:
    """Whether the text is 1-64 printable ASCII characters."""
    return _CLIENT_MSG.fullmatch(text) is not None


def is_media_id(text: str) -> bool:
    """Whether the text has the form of an upload's id."""
    return _MEDIA.fullmatch(text) is not None


def direct_session(one: str, other: str) -> str:
    """The session id of two users in either order, or of one user's notes."""
    first, second = sorted((one, other))
    return f"d:{first}:{second}"


# About 250 bytes each: 4 MB. A miss costs 1 µs, and the gateway calls this three times for every message.
@lru_cache(maxsize=16_384)
def direct_users(session_id: str) -> tuple[str, ...]:
    """The one or two users of a direct session; empty if the id is not a well-formed direct session."""
    users = logged_direct_users(session_id)
    return users if all(map(is_user_id, users)) else ()


def logged_direct_users(session_id: str) -> tuple[str, ...]:
    """Like direct_users, with is_logged_user_id."""
    match session_id.split(":"):
        case ["d", first, second] if is_logged_user_id(first) and is_logged_user_id(second) and first <= second:
            return (first,) if first == second else (first, second)
        case _:
            return ()


def is_group_session(session_id: str) -> bool:
    """Whether the text is a well-formed group id. The group need not exist."""
    return _GROUP.fullmatch(session_id) is not None


def is_session_id(session_id: str) -> bool:
    """Whether the text is a well-formed direct or group session id."""
    return is_group_session(session_id) or bool(direct_users(session_id))


def is_logged_session_id(session_id: str) -> bool:
    """Like is_session_id, with is_logged_user_id."""
    return is_group_session(session_id) or bool(logged_direct_users(session_id))


def message_id(epoch: int, partition: int, offset: int) -> int:
    """The int64 id of a message, made of the coordinates of its command on messages.inbound."""
    return (epoch << (_PARTITION_BITS + _OFFSET_BITS)) | (partition << _OFFSET_BITS) | offset


def split_message_id(number: int) -> tuple[int, int, int]:
    """(epoch, partition, offset) of the command of a message."""
    offset = number & (2**_OFFSET_BITS - 1)
    partition = (number >> _OFFSET_BITS) & (MAX_PARTITIONS - 1)
    return number >> (_PARTITION_BITS + _OFFSET_BITS), partition, offset


def uuid7_time_ms(client_msg_id: str) -> int | None:
    """The time inside a UUIDv7 in its canonical text form (either case); None for any other id."""
    # A pattern, because uuid.UUID takes 5 µs and this runs several times per message.
    if _UUID7.fullmatch(client_msg_id) is None:
        return None
    return int(client_msg_id[:8] + client_msg_id[9:13], 16)


def day_of(at_ms: int) -> int:
    """The UTC day of a time, as days since 1970."""
    return at_ms // DAY_MS


def month_of(at_ms: int) -> int:
    """The UTC month of a time as yyyymm: 202611."""
    # Cached by day, because every message needs it.
    return _month_of_day(at_ms // 86_400_000)


def month_end_ms(month: int) -> int:
    """The time at which the UTC month that follows `month` (as 202611) begins."""
    year, number = divmod(month, 100)
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp() * 1000)


def month_begin_ms(month: int) -> int:
    """The time at which a UTC month (as 202611) begins."""
    return int(datetime(*divmod(month, 100), 1, tzinfo=UTC).timestamp() * 1000)


@lru_cache(maxsize=1024)
def _month_of_day(day: int) -> int:
    moment = datetime.fromtimestamp(day * 86_400, UTC)
    return moment.year * 100 + moment.month


@lru_cache(maxsize=65_536)
def partition_of(identifier: str, partitions: int) -> int:
    """The partition that Kafka's default partitioner gives to the id's UTF-8 bytes."""
    return (murmur2(identifier.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 (seed 0x9747b28c), as an unsigned 32-bit number."""
    mask = 0xFFFFFFFF
    m = 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)
