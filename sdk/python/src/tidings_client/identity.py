"""When a message may go under another id. Pure. Rules: PROTOCOL, *Ids*.

An id holds the time at which it was made, by a clock that may be wrong. It may be changed only while it is
certain that nothing is stored under it; a repeat under another id would be a second message.
"""

from __future__ import annotations

from tidings_client.drafts import Draft
from tidings_client.ids import uuid7_time_ms

AHEAD = "clock_skew"
BEHIND = "too_old"
NEW_IDS = 2  # for one message: the server's time was known for the first, and may have been set for the second
# The server refuses 5 min and 90 days. Ids that were never tried are changed well inside of that.
MAX_AHEAD_MS = 60_000
MAX_BEHIND_MS = 89 * 24 * 3_600_000


def is_off(draft: Draft, server_ms: int) -> bool:
    """The server would refuse this id, or might after a while. Asked of messages that were never tried."""
    made_ms = _changeable_ms(draft)
    return made_ms is not None and not server_ms - MAX_BEHIND_MS <= made_ms <= server_ms + MAX_AHEAD_MS


def may_change(draft: Draft, code: str, tries: int, changes: int) -> bool:
    """This refusal says for certain that nothing is stored under the id. `tries`: of this process, with this one.

    Ahead of the server's time: it was still further ahead at any earlier try. Too old: an earlier try may have been
    in time, unless there was none."""
    if _changeable_ms(draft) is None or changes >= NEW_IDS:
        return False
    return code == AHEAD or (code == BEHIND and draft.attempt == 1 and tries == 1)


def _changeable_ms(draft: Draft) -> int | None:
    """The time inside an id of our own; None for others, which stay as they are."""
    return None if draft.id_is_given else uuid7_time_ms(draft.client_msg_id)
