"""Calls of operators on the admin port: what is served there, and the token that allows it."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import orjson

from tidings.logging import logger

# `openssl rand -hex 32` gives 64 characters, and nothing shorter than half of it is accepted.
_LEAST_CHARACTERS = 32
_LEAST_DIFFERENT = 8
# A file of tokens is a few lines. Anything longer is another file, named by mistake.
_MOST_BYTES = 64 * 1024
_SCHEME = "bearer "

_log = logger("tidings.operators")


@dataclass(frozen=True, slots=True)
class AdminRequest:
    """A request to the admin port. `query` is not decoded. `peer`: address and port that it came from."""

    method: str
    query: str
    authorization: str
    peer: str


@dataclass(frozen=True, slots=True)
class AdminAnswer:
    """An answer of the admin port, JSON unless `content_type` says otherwise."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Sequence[tuple[str, str]] = field(default=())

    @classmethod
    def json(cls, status: int, content: object, *headers: tuple[str, str]) -> "AdminAnswer":
        """An answer with this content."""
        return cls(status, orjson.dumps(content) + b"\n", headers=headers)


AdminCall = Callable[[AdminRequest], Awaitable[AdminAnswer]]


class AdminCalls:
    """The operator calls of one process, by path. The admin port is served before the parts that they need."""

    def __init__(self) -> None:
        """Without calls: their paths answer 404."""
        self._calls: dict[str, AdminCall] = {}

    @contextlib.contextmanager
    def serving(self, path: str, call: AdminCall) -> Iterator[None]:
        """Serve the call at the path while the block runs. Of several parts with one path the newest serves it."""
        self._calls[path] = call
        try:
            yield
        finally:
            if self._calls.get(path) is call:
                del self._calls[path]

    def at(self, path: str) -> AdminCall | None:
        """The call at a path."""
        return self._calls.get(path)


class Access(Enum):
    """Whether a request may use operator calls. OFF: no token is configured, so there are no such calls."""

    GRANTED = 1
    DENIED = 2
    OFF = 3


class OperatorTokens:
    """The tokens of operators: the lines of a file that is read again at every call, so that they can be rotated."""

    def __init__(self, path: str) -> None:
        """`path` is empty if the deployment has no operator calls. The file need not exist yet."""
        self._path = path

    async def access(self, authorization: str) -> Access:
        """Whether the header of a request has one of the tokens. A file that cannot be used allows nothing."""
        try:
            text = await asyncio.to_thread(self._text)
        except FileNotFoundError:
            return Access.OFF
        except (OSError, UnicodeDecodeError) as error:
            _log.error("the file of operator tokens cannot be read", path=self._path, reason=str(error))
            return Access.DENIED
        if text is None:
            return Access.OFF
        accepted = [line for line in map(str.strip, text.splitlines()) if _is_strong(line)]
        if not accepted:
            _log.error("the file of operator tokens has no line that is a token", path=self._path)
        scheme, token = authorization[: len(_SCHEME)].lower(), authorization[len(_SCHEME) :].strip()
        # All lines are compared, each in constant time, so that the time of an answer says nothing about them.
        matches = [_is_equal(token, line) for line in accepted]
        return Access.GRANTED if scheme == _SCHEME and any(matches) else Access.DENIED

    def _text(self) -> str | None:
        if not self._path:
            return None
        with Path(self._path).open("rb") as file:
            return file.read(_MOST_BYTES).decode()


def _is_strong(line: str) -> bool:
    return len(line) >= _LEAST_CHARACTERS and len(set(line)) >= _LEAST_DIFFERENT


def _is_equal(given: str, token: str) -> bool:
    """By digests, because the time of comparing texts of different lengths says which lengths differ."""
    return hmac.compare_digest(_digest(given), _digest(token))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
