"""Messages by seq, from the cache or the tables. Equal reads under way are shared."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from services.gateway.reads.message_cache import MessageCache, block_of, first_of, last_of
from tidings import ids, metrics
from tidings.clock import Clock
from tidings.errors import ColdUnavailable, StoreUnavailable
from tidings.store import history
from tidings.store.base import ColdRows, Store
from tidings.store.rows import MessageRow


class _Wanted(NamedTuple):
    """A block, the range of seqs that is needed (both ends included), and the seq up to which it may be read."""

    session_id: str
    number: int
    first_seq: int
    last_seq: int
    readable_seq: int


class _Span(NamedTuple):
    """A range of seqs of one block, both ends included."""

    session_id: str
    first_seq: int
    last_seq: int

    def seqs(self) -> range:
        return range(self.first_seq, self.last_seq + 1)


class _Read(NamedTuple):
    """The rows of a span, and the error if some of them could not be read.

    Rows of cold segments are left out where the first reader needs none of them, so that hot pages open no object.
    """

    rows: list[MessageRow]
    error: StoreUnavailable | None = None


_Reads = dict[_Span, _Read]


class _Found(NamedTuple):
    """Rows in no order, and the errors of the sessions of which a cold segment cannot be read."""

    rows: list[MessageRow]
    failed: dict[str, ColdUnavailable]


class MessageReads:
    """Reads only up to seqs that the caller has found to be stored. Raises StoreUnavailable."""

    def __init__(self, store: Store, clock: Clock, cache_bytes: int, cold: ColdRows | None = None) -> None:
        """`cache_bytes`: the size of the cache, for all sessions together."""
        self._store = store
        self._cold = cold
        self._clock = clock
        self._blocks = MessageCache(cache_bytes)
        self._running: dict[_Span, asyncio.Task[_Reads]] = {}

    async def range(self, session_id: str, first_seq: int, last_seq: int, head_seq: int) -> list[MessageRow]:
        """The messages first_seq..last_seq (both included), ascending.

        `head_seq`: a head that was read for the same request. last_seq must be at or below it.
        """
        wanted = [
            _Wanted(
                session_id,
                number,
                max(first_seq, first_of(number)),
                min(last_seq, last_of(number)),
                min(head_seq, last_of(number)),
            )
            for number in range(block_of(first_seq), block_of(last_seq) + 1)
        ]
        found = await self._read(wanted)
        by_seq = {row.seq: row for row in found.rows}
        rows = [by_seq[seq] for seq in range(first_seq, last_seq + 1) if seq in by_seq]
        # Another reader of the block may need what this one does not.
        if found.failed and len(rows) <= last_seq - first_seq:
            raise found.failed[session_id]
        return rows

    async def readable_rows_at(
        self, wanted: Mapping[str, Collection[int]]
    ) -> tuple[dict[tuple[str, int], MessageRow], Mapping[str, ColdUnavailable]]:
        """The messages at these seqs, which rows of an inbox name, without those that are not stored.

        The errors are of sessions of which a cold segment cannot be read. Other rows of them may be found.

        Only groups use the cache. A message of a direct session is read by two users, so reading its 63 neighbours
        would cost more than it saves.
        """
        groups = {session_id: seqs for session_id, seqs in wanted.items() if ids.is_group_session(session_id)}
        direct = {session_id: seqs for session_id, seqs in wanted.items() if session_id not in groups}
        of_groups, (found, failed) = await asyncio.gather(
            self._read([block for name, seqs in groups.items() for block in _blocks_of(name, seqs)]),
            history.readable_rows_at(self._store, direct, self._cold),
        )
        found.update({(row.session_id, row.seq): row for row in of_groups.rows if row.seq in groups[row.session_id]})
        return found, failed | of_groups.failed

    async def _read(self, wanted: Iterable[_Wanted]) -> _Found:
        """The cached and read rows of the blocks, at least up to the needed seqs."""
        rows: list[MessageRow] = []
        missing: dict[_Span, _Span] = {}
        for block in wanted:
            known = self._blocks.known(block.session_id, block.number, self._clock.monotonic_ms())
            rows.extend(known)
            following = first_of(block.number) + len(known)
            if following <= block.last_seq:
                needed = _Span(block.session_id, max(following, block.first_seq), block.last_seq)
                missing[_Span(block.session_id, following, block.readable_seq)] = needed
            else:
                metrics.HISTORY_BLOCKS.labels("hit").inc()
        if not missing:
            return _Found(rows, {})
        found = await self._fetch(missing)
        return _Found(rows + found.rows, found.failed)

    async def _fetch(self, missing: Mapping[_Span, _Span]) -> _Found:
        """Read spans, each with what is needed of it. Equal reads under way are waited for, because stored messages
        never change."""
        new = {span: needed for span, needed in missing.items() if span not in self._running}
        metrics.HISTORY_BLOCKS.labels("read").inc(len(new))
        metrics.HISTORY_BLOCKS.labels("joined").inc(len(missing) - len(new))
        if new:
            task = asyncio.create_task(self._load(new))
            self._running.update(dict.fromkeys(new, task))
            task.add_done_callback(lambda done: self._forget(new, done))
        tasks = {span: self._running[span] for span in missing}
        # Not gather, because a cancelled caller must not cancel the reads of other callers.
        await asyncio.wait(set(tasks.values()))
        reads = {span: task.result()[span] for span, task in tasks.items()}
        joined = [span for span in missing if span not in new]
        left_out = [missing[span] for span in joined if _lacks(reads[span], missing[span])]
        if left_out:
            reads |= await self._load({needed: needed for needed in left_out})
        return _found(reads)

    def _forget(self, spans: Iterable[_Span], done: asyncio.Task[_Reads]) -> None:
        for span in spans:
            del self._running[span]
        if not done.cancelled():
            done.exception()  # mark it as retrieved, because all callers may have been cancelled

    async def _load(self, spans: Mapping[_Span, _Span]) -> _Reads:
        """Read all spans at once. If that fails, read each session alone, so that one session fails no other caller."""
        try:
            return await self._load_together(spans)
        except StoreUnavailable as error:
            by_session: dict[str, dict[_Span, _Span]] = {}
            for span, needed in spans.items():
                by_session.setdefault(span.session_id, {})[span] = needed
            if len(by_session) == 1:
                return dict.fromkeys(spans, _Read([], error))
            parts = await asyncio.gather(*map(self._load, by_session.values()))
            return {span: read for part in parts for span, read in part.items()}

    async def _load_together(self, spans: Mapping[_Span, _Span]) -> _Reads:
        wanted, nearby = _seqs_of(spans.values()), _seqs_of(spans)
        found, failed = await history.readable_rows_at(self._store, wanted, self._cold, nearby)
        reads: _Reads = {}
        for span in spans:
            rows = [found[span.session_id, seq] for seq in span.seqs() if (span.session_id, seq) in found]
            reads[span] = _Read(rows, failed.get(span.session_id))
            self._blocks.keep(span.session_id, block_of(span.first_seq), rows, self._clock.monotonic_ms())
        metrics.HISTORY_CACHE_BYTES.set(self._blocks.size_bytes)
        return reads


def _seqs_of(spans: Iterable[_Span]) -> dict[str, set[int]]:
    """By session."""
    seqs: dict[str, set[int]] = {}
    for span in spans:
        seqs.setdefault(span.session_id, set()).update(span.seqs())
    return seqs


def _lacks(read: _Read, needed: _Span) -> bool:
    """Whether needed rows may have been left out."""
    return read.error is None and not {row.seq for row in read.rows}.issuperset(needed.seqs())


def _found(reads: Mapping[_Span, _Read]) -> _Found:
    """The rows of all spans. Raises StoreUnavailable unless it is of cold segments only."""
    rows: list[MessageRow] = []
    failed: dict[str, ColdUnavailable] = {}
    for span, (some, error) in reads.items():
        rows.extend(some)
        if isinstance(error, ColdUnavailable):
            failed[span.session_id] = error
        elif error is not None:
            raise error
    return _Found(rows, failed)


def _blocks_of(session_id: str, seqs: Collection[int]) -> list[_Wanted]:
    """The blocks that contain these stored seqs. Messages below the highest of them are stored too (G3)."""
    head_seq = max(seqs)
    blocks = [(number, list(needed)) for number, needed in groupby(sorted(seqs), block_of)]
    return [
        _Wanted(session_id, number, needed[0], needed[-1], min(head_seq, last_of(number))) for number, needed in blocks
    ]
