"""What a read does when a message that was stored is not there."""

from tidings.errors import StoreUnavailable
from tidings.logging import logger

_log = logger("tidings.gateway.reads")


def lost_message(
    session_id: str, seq: int, user_id: str | None = None, inbox_seq: int | None = None
) -> StoreUnavailable:
    """The error for a message that is neither stored nor purged. Logs it, with the inbox row that it was found by.

    An answer without the message would look whole to a client (G3).
    """
    _log.error(
        "a stored message cannot be read",
        session_id=session_id,
        seq=seq,
        user_id=user_id,
        inbox_seq=inbox_seq,
        action="Cassandra has lost a confirmed row; see docs/OPERATIONS.md, Message lost by Cassandra",
    )
    return StoreUnavailable(f"{session_id}: seq {seq} was stored and cannot be read")
