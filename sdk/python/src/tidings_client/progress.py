"""Computes the cursor that is safe to save, from the deliveries that the application has handled.

Each delivery has a ticket. A group's part of the cursor passes a ticket once it and all tickets shown before it are
handled. The inbox part also needs all earlier tickets of the inbox to be handled. So the cursor never passes an
unhandled message, and its inbox part never passes a mode switch that the group's part lacks. The two orders differ if
a message of the inbox waits for its group's history.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tidings_client.effects import Cursor

Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class _Shown:
    session_id: str
    seq: int
    in_group_log: bool


@dataclass(slots=True)
class Progress:
    inbox_seq: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    is_whole: bool = False
    _last: int = 0
    _inbox: OrderedDict[int, int] = field(default_factory=OrderedDict)
    _shown: OrderedDict[int, _Shown] = field(default_factory=OrderedDict)
    _handled: set[int] = field(default_factory=set)

    @property
    def outstanding(self) -> int:
        return max(len(self._inbox), len(self._shown))

    @property
    def unhandled(self) -> int:
        """Deliveries that the application has not handled yet."""
        return len(self._shown)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.inbox_seq, dict(self.groups), is_whole=self.is_whole)

    def begin_again(self) -> None:
        """Begin another life. Earlier tickets become invalid, and no ticket number is used twice."""
        self.inbox_seq, self.groups = 0, {}
        for places in (self._inbox, self._shown):
            places.clear()
        self._handled.clear()

    def inbox_seq_of(self, ticket: int) -> int | None:
        """The inbox_seq of a delivery that the cursor has not passed; None if it came from a group's log."""
        return self._inbox.get(ticket)

    def issue(self, inbox_seq: int | None) -> int:
        """A ticket for the next delivery. `inbox_seq` is None if it came from a group's log."""
        self._last += 1
        if inbox_seq is not None:
            self._inbox[self._last] = inbox_seq
        return self._last

    def shown(self, ticket: int, session_id: str, seq: int, *, in_group_log: bool) -> None:
        """The delivery was passed to the application. `in_group_log`: from here on the session is read from its log."""
        self._shown[ticket] = _Shown(session_id, seq, in_group_log)

    def handled(self, ticket: int) -> bool:
        """The application has handled a delivery. True if the cursor moved. Safe to repeat."""
        if ticket not in self._inbox and ticket not in self._shown:
            return False
        self._handled.add(ticket)
        shown = list(self._passing(self._shown))
        inbox = list(self._passing(self._inbox, but=self._shown))
        self.inbox_seq = max([self.inbox_seq, *inbox])
        for place in shown:
            self._pass(place)
        return bool(inbox or shown)

    def skip(self, inbox_seq: int) -> bool:
        """Pass `inbox_seq`, because the inbox has expired up to it. True if the cursor moved."""
        return self.handled(self.issue(inbox_seq))

    def _passing(self, places: OrderedDict[int, Place], but: Container[int] = ()) -> Iterator[Place]:
        while places and next(iter(places)) in self._handled and next(iter(places)) not in but:
            ticket, place = places.popitem(last=False)
            if ticket not in self._inbox and ticket not in self._shown:
                self._handled.discard(ticket)
            yield place

    def _pass(self, place: _Shown) -> None:
        if place.in_group_log:
            self.groups[place.session_id] = place.seq
        else:
            self.groups.pop(place.session_id, None)
