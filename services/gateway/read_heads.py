"""How far the read-diffusion groups of users have come, told to nobody who is out of them (G10)."""

import asyncio
from collections.abc import Collection, Mapping

from services.gateway.membership import Memberships
from services.gateway.read_groups import ReadGroups
from services.gateway.session_reads import SessionReads


async def read_heads(
    groups: ReadGroups, sessions: SessionReads, memberships: Memberships, user_ids: Collection[str]
) -> dict[str, dict[str, int]]:
    """The heads of each user's read-diffusion groups, read in batches. Raises StoreUnavailable."""
    heads = await sessions.head_seqs({name for user_id in user_ids for name in groups.of_user(user_id)})
    found = await asyncio.gather(*(_of_user(groups, memberships, user_id, heads) for user_id in user_ids))
    return dict(zip(user_ids, found, strict=True))


async def _of_user(
    groups: ReadGroups, memberships: Memberships, user_id: str, heads: Mapping[str, int]
) -> dict[str, int]:
    """Where pushes are behind the head, a removal may be on its way with them: the tables are asked, after the heads.

    With pushes up to the head, as in every group that is quiet, nothing has to be read.
    """
    names = [name for name in groups.of_user(user_id) if name in heads]
    behind = [name for name in names if not groups.is_surely_in(user_id, name, heads[name])]
    members = await memberships.check_many(user_id, behind) if behind else {}
    told = set(names).difference(behind)
    # Who was out when the head was read may have been added since.
    told.update(name for name, member in members.items() if heads[name] >= member.first_seq)
    return {name: heads[name] for name in groups.of_user(user_id) if name in told}
