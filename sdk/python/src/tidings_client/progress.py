"""How far the application has come: the cursor that is safe to keep.

Each delivery has a ticket, in the order of delivery. The cursor passes a ticket when it and all before
it are handled, so that what is kept never runs ahead of what was done.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from tidings_client.effects import Cursor


@dataclass(slots=True)
class _Ticket:
    inbox_seq: int | None
    position: tuple[str, int] | None = None
    in_group_log: bool = False
    handled: bool = False


@dataclass(slots=True)
class Progress:
    inbox_seq: int = 0
    groups: dict[str, int] = field(default_factory=dict)
    _last: int = 0
    _open: OrderedDict[int, _Ticket] = field(default_factory=OrderedDict)

    @property
    def outstanding(self) -> int:
        return len(self._open)

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.inbox_seq, dict(self.groups))

    def issue(self, inbox_seq: int | None) -> int:
        """A ticket for the next delivery; `inbox_seq` None: it came from a group's log."""
        self._last += 1
        self._open[self._last] = _Ticket(inbox_seq)
        return self._last

    def shown(self, ticket: int, session_id: str, seq: int, *, in_group_log: bool) -> None:
        """It went to the application; `in_group_log`: from here on the session is read from its log."""
        entry = self._open[ticket]
        entry.position, entry.in_group_log = (session_id, seq), in_group_log

    def handled(self, ticket: int) -> bool:
        """The application is done with it. True if the cursor moved. Repeating is harmless."""
        if ticket in self._open:
            self._open[ticket].handled = True
        moved = False
        while self._open and next(iter(self._open.values())).handled:
            self._pass(self._open.popitem(last=False)[1])
            moved = True
        return moved

    def skip(self, inbox_seq: int) -> bool:
        """Everything up to `inbox_seq` has expired: nothing there to handle."""
        return self.handled(self.issue(inbox_seq))

    def _pass(self, ticket: _Ticket) -> None:
        if ticket.inbox_seq is not None:
            self.inbox_seq = max(self.inbox_seq, ticket.inbox_seq)
        if ticket.position is None:
            return
        session_id, seq = ticket.position
        if ticket.in_group_log:
            self.groups[session_id] = max(seq, self.groups.get(session_id, 0))
        else:
            self.groups.pop(session_id, None)
