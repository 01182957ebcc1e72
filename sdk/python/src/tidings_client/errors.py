"""The exceptions of the client.

TidingsError
├── SendFailed        the server refused the message, or answered no try
├── ApiError          the server answered a REST call with a problem
├── Unreachable       a REST call got no answer
├── InvalidId         an argument is not a valid id (also a ValueError)
├── FileInUse         another process holds a file of the client (also a BlockingIOError)
└── Stopped           the client has stopped and will not reconnect
    ├── Replaced      by a newer connection of the same user and device
    └── NotAuthorized no token that the server accepts
"""

from __future__ import annotations

from tidings_client.frames import CLOSE_REPLACED, CLOSE_UNAUTHORIZED


class TidingsError(Exception):
    """Base class of all exceptions that this library defines."""


class SendFailed(TidingsError):
    """The message failed; `code` is one of PROTOCOL's. After `timeout` or `unavailable` the outcome is unknown: the
    message may still be stored, and its status is then *sent*."""

    def __init__(self, client_msg_id: str, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.client_msg_id = client_msg_id
        self.code = code


class ApiError(TidingsError):
    """A refused call; `code` is one of PROTOCOL's. If `retryable`, repeat the call with its id after
    `retry_after_ms`."""

    def __init__(self, status: int, code: str, reason: str, *, retryable: bool, retry_after_ms: int = 0) -> None:
        super().__init__(f"{status} {code}: {reason}")
        self.status = status
        self.code = code
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms


class Unreachable(TidingsError):
    """The server did not answer, so the outcome of the call is unknown."""

    retryable = True
    retry_after_ms = 0


class InvalidId(TidingsError, ValueError):
    """An argument is not a valid id. Nothing was sent."""


class FileInUse(TidingsError, BlockingIOError):
    """Another process, or another client in this one, holds the file that the text names."""


class Stopped(TidingsError):
    """The application closed the client, or the client stopped for the reason in the text."""


class Replaced(Stopped):
    """The server closed the connection with 4409. The client must not reconnect, because the two connections would
    replace each other without end."""


class NotAuthorized(Stopped):
    """The server closed the connection with 4401, and the client has no other token."""


def stopped_because(code: int | None, reason: str) -> Stopped:
    """The exception for a close code; None if the application closed the client."""
    if code == CLOSE_REPLACED:
        return Replaced(reason or "a newer connection of this user and device has taken over")
    if code == CLOSE_UNAUTHORIZED:
        return NotAuthorized(reason or "the server accepts none of the available tokens")
    return Stopped(reason or "the client has been closed")
