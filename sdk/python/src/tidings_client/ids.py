"""Checks of ids, session ids, and UUIDv7 message ids. Pure.

Rules: PROTOCOL, *Ids*. Every id is checked before it is put into a frame or a path. Otherwise a wrong id could reach
another REST call, because clients and proxies resolve `.` and `..` in a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tidings_client.errors import InvalidId

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_GROUP = re.compile(r"g:[A-Za-z0-9_-]{1,64}")
_MESSAGE = re.compile(r"[\x20-\x7e]{1,64}")
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_NAME_TEXT = "use 1 to 64 of A-Z a-z 0-9 _ . @ -, and not only dots"


def checked_user(value: object, name: str = "user id") -> str:
    """The user id (or, as `name`, the device id). Raises InvalidId, as the other checks do."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or not value.strip("."):
        raise InvalidId(f"{value!r} is not a valid {name}: {_NAME_TEXT}")
    return value


def checked_session(value: object) -> str:
    """A session id, direct or group."""
    if isinstance(value, str) and (_GROUP.fullmatch(value) or _is_direct(value)):
        return value
    raise InvalidId(f"{value!r} is not a valid session id: use d:<a>:<b> of two users in byte order, or g:<id>")


def checked_group(value: object) -> str:
    """The id of a group."""
    if isinstance(value, str) and _GROUP.fullmatch(value):
        return value
    raise InvalidId(f"{value!r} is not a valid group id: use the g:<id> from the answer of `create`")


def checked_message_id(value: object) -> str:
    """A client_msg_id."""
    if isinstance(value, str) and _MESSAGE.fullmatch(value):
        return value
    raise InvalidId(f"{value!r} is not a valid client_msg_id: use 1 to 64 printable ASCII characters")


def checked_header_id(value: object) -> str:
    """A client_msg_id for a header. HTTP strips spaces at the ends of a header and quotes around it."""
    text = checked_message_id(value)
    if text != text.strip(" ") or text.startswith('"'):
        raise InvalidId(f"{value!r}: the header Idempotency-Key cannot have spaces at the ends or a quote at the start")
    return text


def checked_seq(value: object) -> int:
    """The seq of a message."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise InvalidId(f"{value!r} is not a valid seq: use a whole number of at least 1")


def _is_direct(value: str) -> bool:
    match value.split(":"):
        case ["d", first, second]:
            return first <= second and all(_NAME.fullmatch(user) and user.strip(".") for user in (first, second))
        case _:
            return False


def uuid7_time_ms(client_msg_id: str) -> int | None:
    """The time inside a UUIDv7 in its canonical text form; None for any other id."""
    if _UUID7.fullmatch(client_msg_id) is None:
        return None
    return int(client_msg_id[:8] + client_msg_id[9:13], 16)


def direct_session(a: str, b: str) -> str:
    """The direct session of two users, or a user's notes if both are the same. Ids are in byte order."""
    first, second = sorted((a, b), key=lambda user: user.encode())
    return f"d:{first}:{second}"


def is_group(session_id: str) -> bool:
    """True for a group, False for a direct session."""
    return session_id.startswith("g:")


def peer_of(session_id: str, user_id: str) -> str | None:
    """The other user of a direct session, or the same user in a user's notes; None for a group."""
    kind, _, rest = session_id.partition(":")
    first, _, second = rest.partition(":")
    if kind != "d":
        return None
    return second if first == user_id else first


# A second of ids at 4,096 a millisecond, far more than a client makes; the server allows 5 minutes.
FOLLOW_BACK_MS = 1_000


class MessageIds:
    """UUIDv7 ids that rise within the process: 48 bits of milliseconds, then a counter, then random bits.

    `random_bits(n)` returns n random bits. RFC 9562, method 1 (12 bits of counter in `rand_a`). The time part runs
    ahead if the counter is used up, or if the clock stands still or steps back a little. A larger step back is
    followed, because the clock was wrong before and the server refuses ids ahead of its time.
    """

    __slots__ = ("_counter", "_last_ms", "_random_bits")

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self._random_bits = random_bits
        self._last_ms = 0
        self._counter = 0

    def make(self, at_ms: int) -> str:
        """The next id. It has the time `at_ms` (server time, ms since 1970) unless that is in the past."""
        if at_ms > self._last_ms or at_ms < self._last_ms - FOLLOW_BACK_MS:
            self._last_ms, self._counter = at_ms, self._random_bits(8)
        else:
            self._counter += 1
            if self._counter >= 1 << 12:
                self._last_ms, self._counter = self._last_ms + 1, 0
        value = (self._last_ms << 80) | (7 << 76) | (self._counter << 64) | (2 << 62) | self._random_bits(62)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
