"""Which life of the tables this is. Numbers of an inbox or a session mean something within one life only.

A set of tables is named once, by `tidings init`. Tables that come back from a backup are named anew, so that a
cursor of the time after the backup can be told from one of now (ADR 25).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

# A restore is an event of years; 50 of them add 700 bytes to a `welcome`.
MOST_RESTORES = 50


@dataclass(frozen=True, slots=True)
class Deployment:
    """Times are log time in milliseconds, as the `at` of messages.

    `id` names this life, `origin` the set of tables: a restore changes the first and keeps the second.
    `since`: when this life began. `restored`: when each life that began with a restore began, ascending.
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
        """The life that begins with these tables out of a backup."""
        return replace(self, id=life_id, since=at_ms, restored=(*self.restored, at_ms)[-MOST_RESTORES:])

    @classmethod
    def of_row(cls, row: Sequence[Any]) -> "Deployment":
        """A row of statements.DEPLOYMENT."""
        return cls(row[0], row[1], row[2], tuple(row[3] or ()))

    def fields(self) -> dict[str, object]:
        """As PROTOCOL shows it."""
        shown: dict[str, object] = {"id": self.id, "origin": self.origin, "since": self.since}
        if self.restored:
            shown["restored"] = list(self.restored)
        return shown
