"""Block lists as stored in Cassandra, and the copy from the old table that held a row per block (ADR 35)."""

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

from cassandra import ReadFailure, ReadTimeout
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args

from tidings.errors import StoreUnavailable
from tidings.store import statements
from tidings.store.cassandra_cluster import prepared_transaction
from tidings.store.rows import COPIED_VERSION, BlockList

# Ids hold no spaces (PROTOCOL, Ids). One string is decoded 100 times as fast as a list of 1,000 ids.
_BETWEEN = " "
_USERS_AT_ONCE = 100
_WRITES_AT_ONCE = 16


def joined_ids(found: BlockList) -> str:
    """The column `blocked`."""
    return _BETWEEN.join(found.blocked_ids)


def block_list(user_id: str, blocked: str, version: int) -> BlockList:
    """The list of a row of `block_lists`."""
    return BlockList(user_id, tuple(blocked.split()), version)


def copy_old_blocks(session: Session) -> int:
    """Copy the lists of `blocks` that no gateway has changed in `block_lists`. Returns the number of users copied.

    Blocks. May be repeated, and then also copies what an older gateway has written since. Raises StoreUnavailable.
    """
    copied = 0
    try:
        lists = _old_lists(session)
        while some := list(islice(lists, _USERS_AT_ONCE)):
            copied += _copy(session, some)
    except (ReadFailure, ReadTimeout) as error:
        raise StoreUnavailable(
            "Cassandra cannot read the old table `blocks`, probably because of its deleted rows: lower its"
            f" gc_grace_seconds, run `nodetool compact` for it, and run `tidings init` again ({error})"
        ) from error
    return copied


def _old_lists(session: Session) -> Iterator[BlockList]:
    """The old lists. Grouping works because the rows of a user follow each other."""
    rows = session.execute(statements.OLD_BLOCKS)
    for user_id, some in groupby(rows, key=itemgetter(0)):
        yield BlockList(user_id, tuple(row[1] for row in some), COPIED_VERSION)


def _copy(session: Session, lists: Sequence[BlockList]) -> int:
    read = session.prepare(statements.BLOCK_LISTS)
    rows = session.execute(read, [[one.user_id for one in lists]])
    stored = {user_id: block_list(user_id, blocked, version) for user_id, blocked, version in rows}
    missing = [
        one
        for one in lists
        if one.user_id not in stored or (stored[one.user_id].version == COPIED_VERSION and stored[one.user_id] != one)
    ]
    values = [
        (joined_ids(one), one.version, one.user_id, COPIED_VERSION if one.user_id in stored else None)
        for one in missing
    ]
    replacing = prepared_transaction(session, statements.REPLACE_BLOCK_LIST)
    execute_concurrent_with_args(session, replacing, values, concurrency=_WRITES_AT_ONCE)
    return len(missing)
