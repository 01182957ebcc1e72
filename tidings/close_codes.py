"""The codes with which a gateway closes a WebSocket (PROTOCOL has their meaning). The metric of closes has them all."""

from enum import IntEnum


class CloseCode(IntEnum):
    """RFC 6455's and our own."""

    GOING_AWAY = 1001
    TOO_BIG = 1009
    BAD_FRAME = 4400
    NOT_AUTHORISED = 4401
    TOO_SLOW = 4408
    REPLACED = 4409
    UNAVAILABLE = 4503


# What is counted where the gateway has not closed: the client has, or the web server (1007, 1009).
NOT_OURS = 1000
