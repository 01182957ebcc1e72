"""Refuses a plan whose sessions hold other messages, because messages cannot be added before existing ones."""

from cli.seeding.plan import PlannedSession, SeedPlan
from tidings import ids
from tidings.errors import ColdUnavailable, ConfigurationError
from tidings.store.archive_tables import ArchiveTables, Shard
from tidings.store.base import Store
from tidings.store.history import rows_at

# The first sessions are of all kinds, and one read of their beginnings is enough.
_LOOKED_AT = 50


async def refuse_other_messages(store: Store, plan: SeedPlan) -> None:
    """Compare the first messages of some sessions with the plan. Without messages, or with the plan's, it can be sent.

    Raises ConfigurationError, and StoreUnavailable.
    """
    sessions = plan.sessions[:_LOOKED_AT]
    try:
        rows = await rows_at(store, {session.session_id: (1,) for session in sessions})
    except ColdUnavailable:
        raise _other_messages(sessions[0]) from None
    for session in sessions:
        row = rows.get((session.session_id, 1))
        if row is not None and row.client_msg_id != next(plan.messages_of(session)).command.client_msg_id:
            raise _other_messages(session)


async def unfinish(tables: ArchiveTables, plan: SeedPlan) -> None:
    """Let the archiver look again at the months of a plan, which it may have finished. Raises StoreUnavailable."""
    first_month = ids.month_of(plan.starts_at_ms)
    for row in await tables.archived_shards():
        if row.month >= first_month:
            await tables.reopen(Shard(row.month, row.shard))


def _other_messages(session: PlannedSession) -> ConfigurationError:
    return ConfigurationError(
        f"users such as {session.members[0]} have messages of another day or of other options already, or archived"
        " ones, and messages cannot be added before existing ones; give other users by --prefix"
    )
