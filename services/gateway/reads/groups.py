"""Groups as their members see them, from the newest versions in the tables."""

from collections.abc import Sequence

import orjson

from services.gateway.reads.membership import is_member
from tidings.errors import StoreUnavailable
from tidings.groups import DEFAULT_SETTINGS, mode_name, role_name
from tidings.store import history
from tidings.store.base import ColdRows, Store
from tidings.store.rows import NEWEST, GroupRow, MemberRow

MAX_MEMBERS_PAGE = 500
# Pages of the store read for one answer. If so many rows in a row have left the group, the answer is a short page.
_MAX_READS = 10


class GroupReads:
    """Returns JSON. The caller must have checked the membership. Raises StoreUnavailable."""

    def __init__(self, store: Store, cold: ColdRows | None = None) -> None:
        """Nothing is cached."""
        self._store = store
        self._cold = cold

    async def members(self, group: GroupRow, after: str, limit: int) -> bytes:
        """The members above `after`, by user_id. The last page has no `next`."""
        found, following = await current_members(self._store, group, after, limit)
        answer: dict[str, object] = {"members": [_member(row) for row in found]}
        if following is not None:
            answer["next"] = following
        return orjson.dumps(answer)

    async def added_at(self, session_id: str, seq: int) -> Sequence[str]:
        """The users that the stored message of this seq added."""
        message = (await history.rows_at(self._store, {session_id: [seq]}, self._cold)).get((session_id, seq))
        if message is None:
            raise StoreUnavailable(f"{session_id}: seq {seq} was acked but cannot be read")
        user_ids: Sequence[str] = orjson.loads(message.body)["user_ids"]
        return user_ids


async def current_members(
    store: Store, group: GroupRow, after: str, limit: int
) -> tuple[Sequence[MemberRow], str | None]:
    """At most `limit` current members above `after`, and where the next page begins. Raises StoreUnavailable."""
    found: list[MemberRow] = []
    following: str | None = after
    for _ in range(_MAX_READS):
        rows, following = await store.member_page(group.session_id, NEWEST, following or "", limit)
        found += [row for row in rows if is_member(group, row)]
        if following is None or len(found) >= limit:
            break
    if len(found) > limit:
        found = found[:limit]
        following = found[-1].user_id
    return found, following


def described(group: GroupRow) -> dict[str, object]:
    """A group as PROTOCOL shows it."""
    return {
        "session_id": group.session_id,
        "name": group.name,
        "owner": group.owner,
        "mode": mode_name(group.mode),
        "member_count": group.member_count,
        "settings": {**DEFAULT_SETTINGS, **orjson.loads(group.settings)},
    }


def _member(row: MemberRow) -> dict[str, object]:
    member: dict[str, object] = {
        "user_id": row.user_id,
        "role": role_name(row.role),
        "joined_seq": row.joined_seq,
    }
    if row.muted_until:
        member["muted_until"] = row.muted_until
    return member
