"""Decides when a message may get a new id. Pure. Rules: PROTOCOL, *Ids*.

An id contains the time at which it was made, by a clock that may be wrong. The client may change an id only if nothing
can be stored under it. Otherwise a repeat under the new id would be a second message.
"""

from __future__ import annotations

from tidings_client.drafts import Draft
from tidings_client.ids import uuid7_time_ms

AHEAD = "clock_skew"
BEHIND = "too_old"
NEW_IDS = 2  # for one message; the second one is for a server whose clock was corrected in between
# The server refuses ids 5 min ahead or 90 days old. An untried id is changed well before these limits.
MAX_AHEAD_MS = 60_000
MAX_BEHIND_MS = 89 * 24 * 3_600_000


def is_off(draft: Draft, server_ms: int) -> bool:
    """The server would refuse this id, or may do so soon. Only for messages that were never tried."""
    made_ms = _changeable_ms(draft)
    return made_ms is not None and not server_ms - MAX_BEHIND_MS <= made_ms <= server_ms + MAX_AHEAD_MS


def may_change(draft: Draft, code: str, tries: int, changes: int) -> bool:
    """True if this refusal proves that nothing is stored under the id. `tries` counts those of this process.

    An id ahead of the server's time was even further ahead at any earlier try. An id that is too old may have been
    accepted by an earlier try, so this must be the first."""
    if _changeable_ms(draft) is None or changes >= NEW_IDS:
        return False
    return code == AHEAD or (code == BEHIND and draft.attempt == 1 and tries == 1)


def _changeable_ms(draft: Draft) -> int | None:
    """The time inside an id that the client made; None for other ids, which never change."""
    return None if draft.id_is_given else uuid7_time_ms(draft.client_msg_id)
