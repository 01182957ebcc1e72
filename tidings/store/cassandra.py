"""The tables in Cassandra. Every method sends one or a few statements of statements.py, concurrently."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any, TypeVar

from tidings.errors import ConfigurationError, StoreUnavailable
from tidings.ids import is_group_session
from tidings.store import migrate, statements
from tidings.store.base import KeyBucket, SessionSegment, TaggedRow, UserBucket
from tidings.store.cassandra_batches import BATCH_BYTES, batches
from tidings.store.cassandra_block_lists import block_list, joined_ids
from tidings.store.cassandra_config import CassandraConfig
from tidings.store.cassandra_session import CassandraSession, DriverSession
from tidings.store.deployment import Deployment
from tidings.store.media_rows import MediaRefRow, MediaRow
from tidings.store.rows import (
    BlockList,
    BucketRow,
    GroupRow,
    InboxRow,
    KeyRow,
    MemberRow,
    MessageRow,
    ReceiptRow,
    UserSessionRow,
)
from tidings.store.segment_rows import ColdPlace, SegmentRow

# The least batch_size_fail_threshold: the largest batch plus the largest mutation (cassandra_batches), and a margin.
_LEAST_BATCH_THRESHOLD = 4 * BATCH_BYTES
# Up to so many members of one group are read one by one: a caller and the named users, as each may have many versions.
_MEMBERS_ALONE = 4

T = TypeVar("T")


class CassandraStore:
    """Implements Store."""

    def __init__(self, config: CassandraConfig, session: CassandraSession | None = None) -> None:
        """`session`: another driver for the same tables."""
        self.session = session or DriverSession(config)
        self._deployment: Deployment | None = None

    @property
    def deployment(self) -> Deployment:
        assert self._deployment is not None  # the store was started
        return self._deployment

    async def start(self) -> None:
        await self.session.start()
        try:
            await self._check_schema()
            await self._check_batch_threshold()
            self._deployment = await self._read_deployment()
        except BaseException:
            await self.session.stop()
            raise

    async def stop(self) -> None:
        await self.session.stop()

    async def ping(self) -> None:
        """One small read. Raises StoreUnavailable."""
        await self.session.execute(statements.SCHEMA_VERSIONS, ())

    async def _check_schema(self) -> None:
        stored = max((row[0] for row in await self.session.execute(statements.SCHEMA_VERSIONS, ())), default=0)
        if stored < migrate.newest_version():
            raise ConfigurationError(
                f"the schema has version {stored}, this code needs {migrate.newest_version()}: run `tidings init`"
            )

    async def _check_batch_threshold(self) -> None:
        name = "batch_size_fail_threshold"
        for (value,) in await self.session.execute(statements.SERVER_SETTING, (name,)):
            if value is not None and _bytes(value) < _LEAST_BATCH_THRESHOLD:
                raise ConfigurationError(f"Cassandra's {name} is {value}, 1MiB is needed: set it in cassandra.yaml")

    async def _read_deployment(self) -> Deployment:
        for row in await self.session.execute(statements.DEPLOYMENT, ()):
            return Deployment.of_row(row)
        raise ConfigurationError("the tables have no name (table deployments is empty): run `tidings init`")

    async def write(self, rows: Sequence[TaggedRow]) -> frozenset[int]:
        unconfirmed = await asyncio.gather(*map(self._write_batch, batches(rows, self.session.replica_set)))
        return frozenset(chain.from_iterable(unconfirmed))

    async def _write_batch(self, batch: Sequence[TaggedRow]) -> Collection[int]:
        try:
            await self.session.execute_batch(tagged.row for tagged in batch)
        except StoreUnavailable:
            return {tagged.source_partition for tagged in batch}
        return ()

    async def segments(self, session_ids: Collection[str], limit: int) -> Mapping[str, Sequence[SegmentRow]]:
        rows = await self._many(statements.SEGMENTS, ([chunk, limit] for chunk in _chunks(session_ids)))
        found: defaultdict[str, list[SegmentRow]] = defaultdict(list)
        for row in rows:
            found[row[0]].append(segment_row(row))
        return dict(found)

    async def segments_below(self, session_id: str, segment: int, limit: int) -> Sequence[SegmentRow]:
        rows = await self.session.execute(statements.SEGMENTS_BELOW, (session_id, segment, limit))
        return [segment_row(row) for row in rows]

    async def newest_messages(
        self, segments: Collection[SessionSegment], limit: int
    ) -> Mapping[SessionSegment, Sequence[MessageRow]]:
        asked = ([chunk, number, limit] for number, chunk in _by_number(segments))
        found: defaultdict[SessionSegment, list[MessageRow]] = defaultdict(list)
        for row in await self._many(statements.NEWEST_MESSAGES, asked):
            found[SessionSegment(row[0], row[1])].append(_message(row))
        return dict(found)

    async def messages(self, segment: SessionSegment, first_seq: int, last_seq: int) -> Sequence[MessageRow]:
        rows = await self.session.execute(statements.MESSAGES, (*segment, first_seq, last_seq))
        return [_message(row) for row in reversed(rows)]

    async def keys(self, wanted: Mapping[KeyBucket, Collection[tuple[str, str]]]) -> Sequence[KeyRow]:
        asked = ([*bucket, chunk] for bucket, keys in wanted.items() for chunk in _chunks(keys))
        return [KeyRow(*row) for row in await self._many(statements.KEYS, asked)]

    async def groups_as_of(self, seqs: Mapping[str, int]) -> Mapping[str, GroupRow]:
        asked = ([chunk, seq] for seq, chunk in _by_number(seqs.items()))
        return {row[0]: GroupRow(*row) for row in await self._many(statements.GROUPS_AS_OF, asked)}

    async def members_as_of(self, session_id: str, seq: int, user_ids: Collection[str]) -> Mapping[str, MemberRow]:
        if len(user_ids) <= _MEMBERS_ALONE:
            each = ([session_id, user_id, seq] for user_id in user_ids)
            rows = await self._many(statements.MEMBER_AS_OF, each)
        else:
            asked = ([session_id, chunk, seq] for chunk in _chunks(user_ids))
            rows = await self._many(statements.MEMBERS_AS_OF, asked)
        return {row[1]: MemberRow(*row) for row in rows}

    async def member_page(
        self, session_id: str, seq: int, after: str, limit: int
    ) -> tuple[Sequence[MemberRow], str | None]:
        rows = await self.session.execute(statements.MEMBER_VERSIONS, (session_id, after, limit))
        newest: dict[str, MemberRow] = {}
        for version in (MemberRow(*row) for row in rows):
            if version.as_of_seq <= seq:
                newest.setdefault(version.user_id, version)  # versions come newest first
        if len(rows) < limit:
            return list(newest.values()), None
        last: str = rows[-1][1]
        if last not in newest:  # the user's older versions may be beyond the limit
            newest.update(await self.members_as_of(session_id, seq, [last]))
        return list(newest.values()), last

    async def inbox_buckets(self, user_ids: Collection[str], limit: int) -> Mapping[str, Sequence[BucketRow]]:
        rows = await self._many(statements.INBOX_BUCKETS, ([chunk, limit] for chunk in _chunks(user_ids)))
        found: defaultdict[str, list[BucketRow]] = defaultdict(list)
        for row in rows:
            found[row[0]].append(BucketRow(*row))
        return dict(found)

    async def newest_inbox_rows(
        self, buckets: Collection[UserBucket], limit: int
    ) -> Mapping[UserBucket, Sequence[InboxRow]]:
        asked = ([chunk, number, limit] for number, chunk in _by_number(buckets))
        found: defaultdict[UserBucket, list[InboxRow]] = defaultdict(list)
        for row in await self._many(statements.NEWEST_INBOX_ROWS, asked):
            found[UserBucket(row[0], row[1])].append(InboxRow(*row))
        return dict(found)

    async def inbox_rows(self, bucket: UserBucket, first: int, last: int) -> Sequence[InboxRow]:
        rows = await self.session.execute(statements.INBOX_ROWS, (*bucket, first, last))
        return [InboxRow(*row) for row in reversed(rows)]

    async def user_sessions(self, user_id: str) -> Sequence[UserSessionRow]:
        rows = await self.session.execute(statements.USER_SESSIONS, (user_id,))
        return [UserSessionRow(*row) for row in rows if None not in row]

    async def receipts(self, pairs: Collection[tuple[str, str]]) -> Mapping[tuple[str, str], ReceiptRow]:
        wanted = set(pairs)
        direct = {session_id for session_id, _ in wanted if not is_group_session(session_id)}
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for session_id, user_id in wanted:
            if is_group_session(session_id):
                groups[session_id].append(user_id)
        in_groups = ([session_id, chunk] for session_id, users in groups.items() for chunk in _chunks(users))
        pages = await asyncio.gather(
            self._many(statements.DIRECT_RECEIPTS, ([chunk] for chunk in _chunks(direct))),
            self._many(statements.GROUP_RECEIPTS, in_groups),
        )
        found = {(row[0], row[1]): _receipt(row) for rows in pages for row in rows}
        return {pair: row for pair, row in found.items() if pair in wanted}

    async def receipt_page(self, session_id: str, after: str, limit: int) -> Sequence[ReceiptRow]:
        return [
            _receipt(row) for row in await self.session.execute(statements.RECEIPT_PAGE, (session_id, after, limit))
        ]

    async def block_lists(self, user_ids: Collection[str]) -> Mapping[str, BlockList]:
        rows = await self._many(statements.BLOCK_LISTS, ([chunk] for chunk in _chunks(user_ids)))
        return {user_id: block_list(user_id, blocked, version) for user_id, blocked, version in rows}

    async def replace_block_list(self, changed: BlockList, seen_version: int) -> bool:
        values = (joined_ids(changed), changed.version, changed.user_id, seen_version or None)
        ((is_applied, *_),) = await self.session.execute(statements.REPLACE_BLOCK_LIST, values)
        return bool(is_applied)

    async def media(self, media_ids: Collection[str]) -> Mapping[str, MediaRow]:
        rows = await self._many(statements.MEDIA, ([chunk] for chunk in _chunks(media_ids)))
        return {row[0]: MediaRow(*row) for row in rows}

    async def add_media(self, row: MediaRow) -> MediaRow:
        values = tuple(getattr(row, name) for name in statements.columns(MediaRow))
        ((is_applied, *_),) = await self.session.execute(statements.ADD_MEDIA, values)
        stored = row if is_applied else (await self.media((row.media_id,))).get(row.media_id)
        if stored is None:
            raise StoreUnavailable("the upload under this id was removed meanwhile")
        return stored

    async def mark_media(self, media_id: str, removing_at: int, seen: int) -> bool:
        ((is_applied, *_),) = await self.session.execute(statements.MARK_MEDIA, (removing_at, media_id, seen))
        return bool(is_applied)

    async def drop_media(self, media_id: str, removing_at: int) -> bool:
        ((is_applied, *_),) = await self.session.execute(statements.DROP_MEDIA, (media_id, removing_at))
        return bool(is_applied)

    async def media_refs(self, media_id: str, limit: int) -> Sequence[MediaRefRow]:
        rows = await self.session.execute(statements.MEDIA_REFS, (media_id, limit))
        return [MediaRefRow(*row) for row in rows]

    async def media_refs_in(self, media_id: str, session_ids: Collection[str]) -> Sequence[MediaRefRow]:
        rows = await self._many(statements.MEDIA_REFS_IN, ([media_id, chunk] for chunk in _chunks(session_ids)))
        return [MediaRefRow(*row) for row in rows]

    async def media_usage(self, user_id: str, day: int) -> int:
        ((size,),) = await self.session.execute(statements.MEDIA_USAGE, (user_id, day))
        return size or 0

    async def _many(self, statement: str, asked: Iterator[list[Any]]) -> list[tuple[Any, ...]]:
        """All rows of one statement with many values. The requests have no order."""
        pages = await asyncio.gather(*(self.session.execute(statement, values) for values in asked))
        return list(chain.from_iterable(pages))


def _chunks(keys: Collection[T]) -> Iterator[list[T]]:
    left = iter(keys)
    while chunk := list(islice(left, statements.KEYS_PER_REQUEST)):
        yield chunk


def _by_number(partitions: Collection[tuple[str, int]]) -> Iterator[tuple[int, list[str]]]:
    """Partitions by the number of their segment or bucket, because IN on both columns would read all combinations."""
    by_number: defaultdict[int, list[str]] = defaultdict(list)
    for name, number in partitions:
        by_number[number].append(name)
    return ((number, chunk) for number, names in by_number.items() for chunk in _chunks(names))


def _message(row: tuple[Any, ...]) -> MessageRow:
    mentions = row[-1]
    # The driver returns a list, and rows are immutable.
    return MessageRow(*row) if mentions is None else MessageRow(*(*row[:-1], tuple(mentions)))


def segment_row(row: tuple[Any, ...]) -> SegmentRow:
    """A row of the directory, as the driver returns it."""
    found = SegmentRow(*row)
    return found if found.cold is None else replace(found, cold=ColdPlace._make(found.cold))


def _receipt(row: tuple[Any, ...]) -> ReceiptRow:
    return ReceiptRow(row[0], row[1], *(number or 0 for number in row[2:]))


def _bytes(text: str) -> int:
    """The bytes of a size as Cassandra writes it: `1MiB`, `50KiB`, `640B`."""
    units = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "B": 1}
    unit = next(unit for unit in units if text.endswith(unit))
    return int(text.removesuffix(unit)) * units[unit]
