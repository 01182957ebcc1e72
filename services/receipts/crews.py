"""How far the members of groups in write diffusion hold and have read, and what that counts up to. Pure.

Counts are hints (PROTOCOL): what is forgotten here costs a client one look at
`…/receipts`, never a watermark.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from tidings.wire.deliveries_pb2 import SeqCount

# A member with its two numbers is some 250 bytes: 25 MB.
_MEMBERS_IN_MEMORY = 100_000
# Authors look at what they wrote last; older counts are had from the list of receipts.
SEQS_TOLD = 50


class Crew:
    """The current members of one group; of each (delivered_seq, read_seq), 0 where nothing."""

    __slots__ = ("marks",)

    def __init__(self, user_ids: Iterable[str]) -> None:
        """Nobody holds anything yet."""
        self.marks = dict.fromkeys(user_ids, (0, 0))

    def raise_to(self, user_id: str, delivered_seq: int, read_seq: int) -> None:
        """Take the maxima (reading implies delivery); who is no member does not count."""
        if user_id in self.marks:
            delivered, read = self.marks[user_id]
            self.marks[user_id] = max(delivered, delivered_seq, read_seq), max(read, read_seq)

    def counts(self, authors: Mapping[int, str]) -> dict[str, list[SeqCount]]:
        """For each author who is still a member: of each of their seqs, how many others hold and have read it."""
        delivered = sorted(mark[0] for mark in self.marks.values())
        read = sorted(mark[1] for mark in self.marks.values())
        counts: dict[str, list[SeqCount]] = {}
        for seq, author in sorted(authors.items()):
            if author in self.marks:
                own_delivered, own_read = self.marks[author]
                count = SeqCount(
                    seq=seq,
                    delivered=len(delivered) - bisect_left(delivered, seq) - (own_delivered >= seq),
                    read=len(read) - bisect_left(read, seq) - (own_read >= seq),
                )
                counts.setdefault(author, []).append(count)
        return counts


class Crews:
    """Crews in memory, the least recently used first out. Bounded in members, not in groups."""

    __slots__ = ("_crews", "_members", "_most_members")

    def __init__(self, most_members: int = _MEMBERS_IN_MEMORY) -> None:
        """`most_members`: over all groups together; one group is always kept."""
        self._crews: OrderedDict[str, Crew] = OrderedDict()
        self._members = 0
        self._most_members = most_members

    def get(self, session_id: str) -> Crew | None:
        """The crew, if it is known."""
        crew = self._crews.get(session_id)
        if crew is not None:
            self._crews.move_to_end(session_id)
        return crew

    def put(self, session_id: str, crew: Crew) -> None:
        """What the tables say now."""
        self.drop(session_id)
        self._crews[session_id] = crew
        self._members += len(crew.marks)
        while self._members > self._most_members and len(self._crews) > 1:
            self.drop(next(iter(self._crews)))

    def drop(self, session_id: str) -> None:
        """The members changed: the tables are asked again."""
        crew = self._crews.pop(session_id, None)
        if crew is not None:
            self._members -= len(crew.marks)

    def clear(self) -> None:
        """Nothing is known."""
        self._crews.clear()
        self._members = 0


class Untold:
    """Seqs whose counts changed, by session, until their authors are told `quiet_s` after the first change."""

    __slots__ = ("_quiet_s", "_sessions")

    def __init__(self, quiet_s: float) -> None:
        """So a session's authors are told at most once in `quiet_s`."""
        self._quiet_s = quiet_s
        self._sessions: dict[str, tuple[float, int, set[int]]] = {}

    def add(self, session_id: str, tag: int, seqs: Iterable[int], now_s: float) -> None:
        """These counts changed; `tag`: the source partition of the session."""
        _, _, changed = self._sessions.setdefault(session_id, (now_s + self._quiet_s, tag, set()))
        changed.update(seqs)

    def due(self, now_s: float) -> dict[str, tuple[int, list[int]]]:
        """Sessions whose time has come: (tag, the newest SEQS_TOLD of the seqs). They are no longer untold."""
        names = [name for name, (due_s, _, _) in self._sessions.items() if due_s <= now_s]
        taken = {name: self._sessions.pop(name) for name in names}
        return {name: (tag, sorted(seqs)[-SEQS_TOLD:]) for name, (_, tag, seqs) in taken.items()}

    def next_due_s(self) -> float | None:
        """When somebody is to be told next."""
        return min((due_s for due_s, _, _ in self._sessions.values()), default=None)

    def clear(self) -> None:
        """Everything is another's to tell now."""
        self._sessions.clear()


def changed_seqs(before: tuple[int, int], after: tuple[int, int]) -> set[int]:
    """The newest seqs whose counts a member moved, of (delivered_seq, read_seq) before and after."""
    pairs = zip(before, after, strict=True)
    return {seq for low, high in pairs for seq in range(max(low, high - SEQS_TOLD) + 1, high + 1)}
