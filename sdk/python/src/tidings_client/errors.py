"""What can go wrong, as exceptions.

TidingsError
├── SendFailed        the message was refused, or every try went unanswered
├── ApiError          a REST call was answered with a problem
├── Unreachable       a REST call got no answer
├── InvalidId         an argument is no id of its kind (a ValueError, too)
├── FileInUse         another process holds a file of the client (a BlockingIOError, too)
└── Stopped           the client has stopped and will not reconnect
    ├── Replaced      by a newer connection of the same user and device
    └── NotAuthorized no token that the server accepts
"""

from __future__ import annotations

from tidings_client.frames import CLOSE_REPLACED, CLOSE_UNAUTHORIZED


class TidingsError(Exception):
    """Everything this library raises on purpose."""


class SendFailed(TidingsError):
    """`code` is PROTOCOL's. After `timeout` or `unavailable` the outcome is unknown: the message may
    still turn up, and its status is then *sent*."""

    def __init__(self, client_msg_id: str, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.client_msg_id = client_msg_id
        self.code = code


class ApiError(TidingsError):
    """`code` is PROTOCOL's. With `retryable` the same call, with its id, may succeed `retry_after_ms` later."""

    def __init__(self, status: int, code: str, reason: str, *, retryable: bool, retry_after_ms: int = 0) -> None:
        super().__init__(f"{status} {code}: {reason}")
        self.status = status
        self.code = code
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms


class Unreachable(TidingsError):
    """The server did not answer; the outcome of the call is unknown."""

    retryable = True
    retry_after_ms = 0


class InvalidId(TidingsError, ValueError):
    """An argument is no id of its kind; nothing was sent."""


class FileInUse(TidingsError, BlockingIOError):
    """Another process (or another client of this one) holds the file that the text names."""


class Stopped(TidingsError):
    """The client was left, or had to stop for the reason that the text gives."""


class Replaced(Stopped):
    """Closed with 4409. Reconnecting would replace the other one in turn, for ever."""


class NotAuthorized(Stopped):
    """Closed with 4401, and no other token to be had."""


def stopped_because(code: int | None, reason: str) -> Stopped:
    """The exception for a client that stopped with this close code; None: it was left."""
    if code == CLOSE_REPLACED:
        return Replaced(reason or "a newer connection of this user and device has taken over")
    if code == CLOSE_UNAUTHORIZED:
        return NotAuthorized(reason or "the server accepts no token that is to be had")
    return Stopped(reason or "the client has been closed")
