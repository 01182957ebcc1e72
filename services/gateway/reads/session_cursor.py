"""The `next` of a list of sessions: where a page ends, and checksums of the sessions shown so far. Pure.

A session that moves between two pages is above the second one, and the client does not read the first page again
(ADR 33). So the cursor has PARTS checksums of the names shown. After the last place they are compared with the whole
list. The parts that differ are shown again by name, because no message changes that order.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tidings import ids

# With 1,000 sessions a part has 16 of them, which are shown again if one moved. The sums take 256 bytes of a URL.
PARTS = 64
_SUM = 0xFFFFFFFF
_PLACE = struct.Struct(f">cq{PARTS}I")
_REST = struct.Struct(">cQ")

Sums = tuple[int, ...]
NOTHING_SHOWN: Sums = (0,) * PARTS


@dataclass(frozen=True, slots=True)
class Place:
    """The next page begins below this place. `shown`: the checksums of all names up to it."""

    at: int
    session_id: str
    shown: Sums


@dataclass(frozen=True, slots=True)
class Rest:
    """All places were shown. The sessions of these parts are shown again, those after this name next."""

    parts: frozenset[int]
    after: str = ""

    def holds(self, session_id: str) -> bool:
        """True for a session that is still to be shown again."""
        return session_id > self.after and _number(session_id) % PARTS in self.parts


Cursor = Place | Rest


def added(sums: Sums, names: Iterable[str]) -> Sums:
    """The checksums with these names added."""
    changed = list(sums)
    for number in map(_number, names):
        changed[number % PARTS] = (changed[number % PARTS] + number) & _SUM
    return tuple(changed)


def rest_of(shown: Sums, listed: Collection[str]) -> Rest | None:
    """The parts to show again, because their checksums differ from those of the list; None if all are equal."""
    differing = enumerate(zip(shown, added(NOTHING_SHOWN, listed), strict=True))
    rest = Rest(frozenset(part for part, (one, other) in differing if one != other))
    return rest if any(map(rest.holds, listed)) else None


def encoded(cursor: Cursor) -> str:
    """Opaque text for a URL, at most 560 characters."""
    match cursor:
        case Place(at, name, shown):
            head = _PLACE.pack(b"p", at, *shown)
        case Rest(parts, name):
            head = _REST.pack(b"r", sum(1 << part for part in parts))
    return base64.urlsafe_b64encode(head + name.encode()).decode().rstrip("=")


def decoded(text: str) -> Cursor | None:
    """The cursor of a text; None for a text that `encoded` does not return."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        cursor = _of_place(data) if data[:1] == b"p" else _of_rest(data)
    except (ValueError, binascii.Error, struct.error):
        return None
    return cursor if encoded(cursor) == text else None


def _of_place(data: bytes) -> Cursor:
    _, at, *sums = _PLACE.unpack_from(data)
    name = data[_PLACE.size :].decode()
    if not ids.is_logged_session_id(name):
        raise ValueError("not a session")
    return Place(at, name, tuple(sums))


def _of_rest(data: bytes) -> Cursor:
    kind, bits = _REST.unpack_from(data)
    name = data[_REST.size :].decode()
    if kind != b"r" or (name and not ids.is_logged_session_id(name)):
        raise ValueError("not the rest of a list")
    return Rest(frozenset(part for part in range(PARTS) if bits >> part & 1), name)


def _number(name: str) -> int:
    # Cheap (0.1 µs) and the same in every process. Only in the first part it can be 0, so a single name that was not
    # shown changes its checksum. Several names cancel each other out in one of 4 billion lists.
    return zlib.crc32(name.encode())
