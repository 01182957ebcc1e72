"""What the audit counts as a finding, over rows in their order. Pure."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from tidings.ids import DAY_MS
from tidings.store.rows import InboxRow, MessageRow

Kind = Literal["missing", "doubled", "out_of_order", "orphaned"]
KINDS: tuple[Kind, ...] = ("missing", "doubled", "out_of_order", "orphaned")

# ARCHITECTURE, Identity: a key counts for 91 days. After 90 days a repeat may become a second message (SEMANTICS).
_REPEAT_MS = 90 * DAY_MS
# Rows of inboxes expire after 100 days, and an inbox whose tail is 90 days old continues at a later number. Below 85
# days neither explains a hole, also with clocks that differ by days.
HOLE_MS = 85 * DAY_MS
# 40 MB of one session. A client repeats a message within its newest few, so that more find nothing.
_MOST_REPEATS = 100_000


class Finding(NamedTuple):
    """One breach. `place`: where, as an operator finds it in the tables or in the object store."""

    kind: Kind
    place: str
    problem: str


def runs_missing(found: Sequence[int], first: int, last: int) -> Iterator[tuple[int, int]]:
    """The runs of numbers in first..last that are missing in `found`, which is ascending."""
    for before, after in pairwise([first - 1, *found, last + 1]):
        if after - before > 1:
            yield before + 1, after - 1


class Repeats:
    """Finds two messages of one session with one (sender_id, client_msg_id). The newest 100,000 are compared."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], MessageRow] = OrderedDict()

    def add(self, row: MessageRow) -> Finding | None:
        """The next message of the session, by seq."""
        name = (row.sender_id, row.client_msg_id)
        first = self._seen.pop(name, None)
        self._seen[name] = row
        if len(self._seen) > _MOST_REPEATS:
            self._seen.popitem(last=False)
        if first is None or row.at - first.at > _REPEAT_MS:
            return None
        problem = f"{row.sender_id} sent {row.client_msg_id!r} as seq {first.seq} and as seq {row.seq}"
        return Finding("doubled", f"session {row.session_id}", problem)


class SeenSeqs:
    """A set of seqs in runs, so that a million seqs in a row take one entry."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    @property
    def highest(self) -> int:
        """0 if there is none."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, seq: int) -> bool:
        index = bisect_right(self._firsts, seq) - 1
        return index >= 0 and seq <= self._lasts[index]

    def add(self, seq: int) -> None:
        """Add a seq that is not there."""
        index = bisect_right(self._firsts, seq)
        if index and self._lasts[index - 1] == seq - 1:
            self._lasts[index - 1] = seq
        else:
            self._firsts.insert(index, seq)
            self._lasts.insert(index, seq)


class InboxOrder:
    """One inbox, row by row: its numbers have no hole, and it has each message once, in seq order per session."""

    def __init__(self, user_id: str, now_ms: int) -> None:
        """`now_ms`: a hole next to a row that is about to expire is no finding."""
        self._place = f"inbox {user_id}"
        self._now_ms = now_ms
        self._last: InboxRow | None = None
        self._seen: dict[str, SeenSeqs] = {}

    def add(self, row: InboxRow) -> Collection[Finding]:
        """The next row, by inbox_seq."""
        found = [*self.reaches(row.inbox_seq)]
        self._last = row
        seen = self._seen.setdefault(row.session_id, SeenSeqs())
        message = f"inbox_seq {row.inbox_seq} has {row.session_id} seq {row.seq}"
        if row.seq in seen:
            found.append(Finding("doubled", self._place, f"{message}, which an earlier row has too"))
            return found
        if row.seq < seen.highest:
            found.append(Finding("out_of_order", self._place, f"{message} after seq {seen.highest}"))
        seen.add(row.seq)
        return found

    def reaches(self, inbox_seq: int) -> Collection[Finding]:
        """The next row has this number, or would have it."""
        last = self._last
        if last is None or inbox_seq <= last.inbox_seq + 1 or self._now_ms - last.delivery_at > HOLE_MS:
            return ()
        return (Finding("missing", self._place, f"{numbers('inbox_seq', last.inbox_seq + 1, inbox_seq - 1)} lost"),)


def numbers(name: str, first: int, last: int) -> str:
    """A number, or a range of them, with its verb: `seq 5 is`, `seqs 5 to 7 are`."""
    return f"{name} {first} is" if first == last else f"{name}s {first} to {last} are"
