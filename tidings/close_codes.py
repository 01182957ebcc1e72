"""The codes with which a gateway closes a WebSocket. PROTOCOL has their meaning; the metric of closes has them all."""

from enum import IntEnum


class CloseCode(IntEnum):
    """Codes of RFC 6455, and our own from 4400 on."""

    GOING_AWAY = 1001
    TOO_BIG = 1009
    BAD_FRAME = 4400
    NOT_AUTHORISED = 4401
    TOO_SLOW = 4408
    REPLACED = 4409
    UNAVAILABLE = 4503


# Counted for a close by the client or by the web server (1007, 1009) instead of the gateway.
NOT_OURS = 1000
