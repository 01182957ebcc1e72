"""Block lists as they stand in Cassandra, and the copy out of the table that held a row a block (ADR 35)."""

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter

from cassandra import ConsistencyLevel, ReadFailure, ReadTimeout
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import PreparedStatement

from tidings.errors import StoreUnavailable
from tidings.store import statements
from tidings.store.rows import COPIED_VERSION, BlockList

# Ids hold no spaces (PROTOCOL, Ids). One string is decoded 100 times as fast as a list of 1,000.
_BETWEEN = " "
_USERS_AT_ONCE = 100
_WRITES_AT_ONCE = 16


def joined_ids(found: BlockList) -> str:
    """The column `blocked`."""
    return _BETWEEN.join(found.blocked_ids)


def block_list(user_id: str, blocked: str, version: int) -> BlockList:
    """A row of `block_lists`."""
    return BlockList(user_id, tuple(blocked.split()), version)


def replacing(session: Session) -> PreparedStatement:
    """REPLACE_BLOCK_LIST. Every process reads and writes in its own data centre, and so do its transactions."""
    replace = session.prepare(statements.REPLACE_BLOCK_LIST)
    replace.serial_consistency_level = ConsistencyLevel.LOCAL_SERIAL
    return replace


def copy_old_blocks(session: Session) -> int:
    """Copy the lists of `blocks` that no gateway has changed in `block_lists`; how many users had one to copy.

    Blocks. May be repeated: what an older gateway has written since is taken over, too. Raises StoreUnavailable.
    """
    copied = 0
    try:
        lists = _old_lists(session)
        while some := list(islice(lists, _USERS_AT_ONCE)):
            copied += _copy(session, some)
    except (ReadFailure, ReadTimeout) as error:
        raise StoreUnavailable(
            "Cassandra cannot read the old table `blocks`, probably for its deleted rows: lower its gc_grace_seconds,"
            f" run `nodetool compact` for it, and `tidings init` again ({error})"
        ) from error
    return copied


def _old_lists(session: Session) -> Iterator[BlockList]:
    """The rows of a user follow each other."""
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
    execute_concurrent_with_args(session, replacing(session), values, concurrency=_WRITES_AT_ONCE)
    return len(missing)
