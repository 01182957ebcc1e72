"""The life of the tables. An inbox_seq or a seq is valid within one life only.

`tidings init` names a set of tables once. Tables that are restored from a backup get a new name. By it a cursor from
the lost time after the backup differs from a current cursor (ADR 25).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

# Restores are rare, years apart. 50 of them add 700 bytes to a `welcome`.
MOST_RESTORES = 50


@dataclass(frozen=True, slots=True)
class Deployment:
    """One life of a set of tables. Times are log time in milliseconds, like the `at` of messages.

    `id` names this life, and a restore changes it. `origin` names the set of tables, and a restore keeps it.
    `since`: the begin of this life. `restored`: the begin of each life that began with a restore, ascending.
    """

    id: str
    origin: str
    since: int
    restored: tuple[int, ...] = ()

    @classmethod
    def new(cls, life_id: str, at_ms: int) -> "Deployment":
        """The first life of new tables."""
        return cls(life_id, life_id, at_ms)

    def after_restore(self, life_id: str, at_ms: int) -> "Deployment":
        """The life that begins when these tables are restored from a backup."""
        return replace(self, id=life_id, since=at_ms, restored=(*self.restored, at_ms)[-MOST_RESTORES:])

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "Deployment":
        """A row of statements.DEPLOYMENT."""
        return cls(row[0], row[1], row[2], tuple(row[3] or ()))

    def fields(self) -> dict[str, object]:
        """The fields as in PROTOCOL."""
        shown: dict[str, object] = {"id": self.id, "origin": self.origin, "since": self.since}
        if self.restored:
            shown["restored"] = list(self.restored)
        return shown
