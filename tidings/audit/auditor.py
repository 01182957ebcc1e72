"""A walk through all tables and objects, which can be stopped anywhere and continued from its position."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

from tidings import metrics
from tidings.audit.inboxes import Inboxes
from tidings.audit.keys import Keys
from tidings.audit.objects import Objects
from tidings.audit.pacing import Pacing
from tidings.audit.rules import KINDS, Finding
from tidings.audit.sessions import Sessions
from tidings.cold.ports import Ports
from tidings.ids import Position
from tidings.store.audit_tables import FIRST_TOKEN, AuditTables, Walked
from tidings.store.base import KeyBucket, SessionSegment, UserBucket

_PAGE = 64
# Each with a page of rows in memory.
_AT_ONCE = 8
SHARDS = "shards"
# The tables and the index, in the order of the walk.
PARTS: tuple[str, ...] = (*get_args(Walked), SHARDS)
_TOKENS = 2**64


class Place(NamedTuple):
    """A position of the walk: everything before it has been looked at. As text `inbox:-123` or `shards:17`."""

    part: str
    after: int

    def __str__(self) -> str:
        return f"{self.part}:{self.after}"

    @classmethod
    def of(cls, text: str) -> "Place":
        """Raises ValueError for a text that is no position."""
        part, _, after = text.partition(":")
        if part not in PARTS or not after.removeprefix("-").isdecimal():
            raise ValueError(f"{text!r} is no position of an audit, as {PARTS[0]}:-123")
        return cls(part, int(after))


BEGINNING = Place(PARTS[0], FIRST_TOKEN)
END = Place(SHARDS, 2**63)


@dataclass(frozen=True, slots=True)
class AuditRules:
    """`rows_per_s` 0: no limit. `settle_s`: between a finding and the second look that it needs to count."""

    rows_per_s: float = 0.0
    settle_s: float = 30.0


@dataclass(slots=True)
class Audited:
    """What a pass has found until `place`. `unseen`: places that need an object store that was away, by part."""

    rows: int = 0
    places: int = 0
    found: Counter[str] = field(default_factory=Counter)
    unseen: Counter[str] = field(default_factory=Counter)
    place: Place = BEGINNING

    @property
    def share(self) -> float:
        """How much of the walk is done, from 0 to 1, as if all parts were equally long."""
        done = PARTS.index(self.place.part)
        inside = (self.place.after - FIRST_TOKEN) / _TOKENS if self.place.part != SHARDS else 0.0
        return 1.0 if self.place == END else (done + inside) / len(PARTS)


class _Unit(NamedTuple):
    """One place to look at. `after`: the position behind it."""

    after: int
    key: Hashable


_Look = Callable[[Any], Awaitable[set[Finding]]]


class Auditor:
    """One pass over the ports. Raises Retryable errors; `run` then continues where it was, with the same counts."""

    def __init__(
        self,
        ports: Ports,
        tables: AuditTables,
        rules: AuditRules,
        progress: Callable[[Audited], None] = lambda _: None,
        say: Callable[[Finding], None] = lambda _: None,
    ) -> None:
        """`progress` is called often, `say` for every finding at once."""
        self._ports = ports
        self._tables = tables
        self._rules = rules
        self._progress = progress
        self._say = say
        self._pacing = Pacing(ports.clock, rules.rows_per_s)
        self._objects = Objects(ports, self._pacing)
        self._sessions = Sessions(ports.store, ports.tables, self._pacing)
        self._inboxes = Inboxes(ports.store, ports.clock, self._pacing)
        self._keys = Keys(ports.store, tables, self._pacing)
        self._confirmed: Sequence[Position] = ()
        self.audited = Audited()

    async def run(self, start: Place | None = None) -> Audited:
        """Walk from a position to the end; without one from where the last call was."""
        done = self.audited
        if start is not None:
            done.place = start
        looks = self._looks()
        while done.place != END:
            part = done.place.part
            self._objects.begin_part()
            async for units in self._units(part, done.place.after):
                for begin in range(0, len(units), _AT_ONCE):
                    some = units[begin : begin + _AT_ONCE]
                    await self._look(looks[part], [unit.key for unit in some])
                    done.places += len(some)
                    done.place = Place(part, some[-1].after)
                    self._count()
            following = PARTS.index(part) + 1
            done.place = END if following == len(PARTS) else Place(PARTS[following], FIRST_TOKEN)
            self._count()
        return done

    def _looks(self) -> Mapping[str, _Look]:
        """How to look at a place of each part."""

        async def session(key: tuple[str]) -> set[Finding]:
            return await self._sessions.look(*key, self._confirmed_of(*key))

        async def bucket_of_keys(key: tuple[str, int, int]) -> set[Finding]:
            return await self._keys.look(KeyBucket(*key), self._confirmed_of(key[0]))

        looks: dict[str, _Look] = {
            "segments": session,
            "messages": lambda key: self._sessions.look_at_segment(SessionSegment(*key)),
            "message_keys": bucket_of_keys,
            "inbox_buckets": lambda key: self._inboxes.look(*key),
            "inbox": lambda key: self._inboxes.look_at_bucket(UserBucket(*key)),
            "media_refs": lambda key: self._objects.look_at_upload(*key),
            SHARDS: self._objects.look_at_shard,
        }
        return looks

    def _confirmed_of(self, session_id: str) -> Position:
        return self._confirmed[self._ports.closing.partition_of(session_id)]

    async def _units(self, part: str, after: int) -> AsyncIterator[Sequence[_Unit]]:
        """The places of a part above a position, a few at a time."""
        if part == SHARDS:
            shards = await self._ports.tables.indexed_shards()
            # A shard is one place, and its position has the month and the shard, so that later shards change none.
            units = [_Unit(shard.month * 10_000 + shard.shard, shard) for shard in shards]
            if units := [unit for unit in units if unit.after > after]:
                yield units
            return
        for table in get_args(Walked):
            if table == part:
                while page := await self._tables.partitions(table, after, _PAGE):
                    yield [_Unit(one.token, one.key) for one in page]
                    after = page[-1].token

    async def _look(self, look: _Look, keys: Sequence[Hashable]) -> None:
        """Look at some places, and again at those with findings: what a write or a move in progress explains goes."""
        found = await self._found(look, keys)
        suspicious = [key for key, findings in found.items() if findings]
        if not suspicious:
            return
        await asyncio.sleep(self._rules.settle_s)
        again = await self._found(look, suspicious)
        for key in suspicious:
            for finding in sorted(found[key] & again[key]):
                self.audited.found[finding.kind] += 1
                self._say(finding)

    async def _found(self, look: _Look, keys: Sequence[Hashable]) -> Mapping[Hashable, set[Finding]]:
        self._confirmed = await self._ports.closing.confirmed()
        return dict(zip(keys, await asyncio.gather(*map(look, keys)), strict=True))

    def _count(self) -> None:
        self.audited.rows = self._pacing.rows
        self.audited.unseen = self._objects.unseen
        self._progress(self.audited)


def show_pass(done: Audited, at_ms: int) -> None:
    """Set the gauges of the last whole pass."""
    for kind in KINDS:
        metrics.AUDIT_FINDINGS.labels(kind).set(done.found[kind])
    metrics.AUDIT_UNSEEN.set(done.unseen.total())
    metrics.AUDIT_LAST_PASS_SECONDS.set(at_ms / 1000)
