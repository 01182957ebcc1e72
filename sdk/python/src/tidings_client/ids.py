"""Ids that a client makes or reads: session ids, and UUIDv7 message ids."""

from __future__ import annotations

from collections.abc import Callable


def direct_session(a: str, b: str) -> str:
    """The session of two users; of one, for notes to oneself. Byte order decides, as the server does it."""
    first, second = sorted((a, b), key=lambda user: user.encode())
    return f"d:{first}:{second}"


def is_group(session_id: str) -> bool:
    """A group rather than a direct session."""
    return session_id.startswith("g:")


def peer_of(session_id: str, user_id: str) -> str | None:
    """The other user of a direct session (oneself, in notes to oneself); None for a group."""
    kind, _, rest = session_id.partition(":")
    first, _, second = rest.partition(":")
    if kind != "d":
        return None
    return second if first == user_id else first


class MessageIds:
    """UUIDv7 ids that rise within the process: 48 bits of milliseconds, then a counter, then chance.

    `random_bits(n)` gives n random bits. RFC 9562, method 1 (12 bits of counter in `rand_a`); when the
    counter is used up, or the clock stands or steps back, the time part runs ahead by itself.
    """

    __slots__ = ("_counter", "_last_ms", "_random_bits")

    def __init__(self, random_bits: Callable[[int], int]) -> None:
        self._random_bits = random_bits
        self._last_ms = 0
        self._counter = 0

    def make(self, at_ms: int) -> str:
        """The next id, with the time `at_ms` (milliseconds since 1970, the server's) if that is not behind."""
        if at_ms > self._last_ms:
            self._last_ms, self._counter = at_ms, self._random_bits(8)
        else:
            self._counter += 1
            if self._counter >= 1 << 12:
                self._last_ms, self._counter = self._last_ms + 1, 0
        value = (self._last_ms << 80) | (7 << 76) | (self._counter << 64) | (2 << 62) | self._random_bits(62)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
