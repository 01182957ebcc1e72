"""What a read does when a message that was stored is not there."""

from tidings.errors import StoreUnavailable
from tidings.logging import logger

_log = logger("tidings.gateway.reads")


def lost_message(session_id: str, seq: int, **found_by: object) -> StoreUnavailable:
    """The error for a message that is neither stored nor purged. Logs it; `found_by`: further fields for the log.

    An answer without the message would look whole to a client (G3).
    """
    _log.error(
        "a stored message cannot be read",
        session=session_id,
        seq=seq,
        **found_by,
        action="Cassandra has lost a confirmed row; see docs/OPERATIONS.md, Message lost by Cassandra",
    )
    return StoreUnavailable(f"{session_id}: seq {seq} was stored and cannot be read")
