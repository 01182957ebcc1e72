"""How far the members of groups hold and have read, and what that counts up to. Pure.

Counts are hints (PROTOCOL): what is forgotten here costs a client one look at
`…/receipts`, never a watermark. A crew is read from the tables once; then the
membership messages of `messages.persisted` keep it current, so that members who
come and go cost nothing of the size of their group (docs/adr/0017).
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from tidings.store.rows import MODE_WRITE
from tidings.wire.deliveries_pb2 import SeqCount
from tidings.wire.persisted_pb2 import Persisted

# A member with its two numbers is some 250 bytes: 25 MB.
MEMBERS_IN_MEMORY = 100_000
# Authors look at what they wrote last; older counts are had from the list of receipts.
SEQS_TOLD = 50


class Crew:
    """The members of one group after the message `as_of_seq`; of each (delivered_seq, read_seq), 0 where nothing.

    `as_of_seq` None: as they were in the tables at some time, after an unknown
    message. `newcomers`: those whose stored watermarks are not read yet (who
    comes back has some), with the seq at which they came in. A member counts
    for the messages from the own joining on.
    """

    __slots__ = ("_delivered", "_joined", "_read", "as_of_seq", "marks", "mode", "newcomers")

    def __init__(self, joined: Mapping[str, int], mode: int = MODE_WRITE, as_of_seq: int | None = None) -> None:
        """`joined`: by member. Nobody holds anything yet, as far as is known: all are newcomers."""
        self.marks = dict.fromkeys(joined, (0, 0))
        self.mode = mode
        self.as_of_seq = as_of_seq
        self.newcomers = dict.fromkeys(self.marks, 0)
        self._joined = dict(joined)
        # How many members have each watermark: counts for 50 messages without a look at all members.
        self._delivered = _Spans()
        self._read = _Spans()

    def raise_to(self, user_id: str, delivered_seq: int, read_seq: int) -> None:
        """Take the maxima (reading implies delivery); who is no member does not count."""
        if user_id in self.marks:
            delivered, read = self.marks[user_id]
            after = max(delivered, delivered_seq, read_seq), max(read, read_seq)
            self._move(user_id, after)
            self.marks[user_id] = after

    def know(self, asked: Mapping[str, int]) -> None:
        """The watermarks of these newcomers are read; not of those who have left and come in again meanwhile."""
        self.newcomers = {name: seq for name, seq in self.newcomers.items() if asked.get(name) != seq}

    def follow(self, persisted: Persisted) -> bool:
        """The members after a message that changes them or the mode; a repeat changes nothing.

        False: whether the change is in the crew cannot be known.
        """
        if self.as_of_seq is None:
            return False
        seq = persisted.message.seq
        if seq > self.as_of_seq:
            self.as_of_seq = seq
            self.mode = persisted.mode_to or self.mode
            for user_id in list(self.marks) if persisted.dissolves else persisted.left_ids:
                self._leave(user_id)
            for user_id in persisted.joined_ids:
                self._join(user_id, seq)
        return True

    def counts(self, authors: Mapping[int, str]) -> dict[str, list[SeqCount]]:
        """For each author who is still a member: of each of their seqs, how many others hold and have read it."""
        delivered, read = self._delivered.over(authors), self._read.over(authors)
        counts: dict[str, list[SeqCount]] = {}
        for seq, author in sorted(authors.items()):
            if author in self.marks:
                own_delivered, own_read = (self._joined[author] <= seq <= mark for mark in self.marks[author])
                count = SeqCount(seq=seq, delivered=delivered[seq] - own_delivered, read=read[seq] - own_read)
                counts.setdefault(author, []).append(count)
        return counts

    def _join(self, user_id: str, seq: int) -> None:
        if user_id not in self.marks:
            self.marks[user_id] = (0, 0)
            self._joined[user_id] = seq
            self.newcomers[user_id] = seq

    def _leave(self, user_id: str) -> None:
        if user_id in self.marks:
            self._move(user_id, (0, 0))
            del self.marks[user_id], self._joined[user_id]
            self.newcomers.pop(user_id, None)

    def _move(self, user_id: str, after: tuple[int, int]) -> None:
        joined, before = self._joined[user_id], self.marks[user_id]
        for spans, low, high in zip((self._delivered, self._read), before, after, strict=True):
            if low != high:
                spans.add(joined, low, -1)
                spans.add(joined, high, 1)


class _Spans:
    """How many members have each message: each member those from the joining up to the watermark."""

    __slots__ = ("_begins", "_ends")

    def __init__(self) -> None:
        """Nobody has any."""
        self._begins = _Tally()
        self._ends = _Tally()

    def add(self, first_seq: int, last_seq: int, members: int) -> None:
        """So many more, or fewer, have these; nothing where the last is below the first."""
        if first_seq <= last_seq:
            self._begins.add(first_seq, members)
            self._ends.add(last_seq, members)

    def over(self, seqs: Collection[int]) -> dict[int, int]:
        """Of each seq how many members have it: those who have come so far, but for those who began above it."""
        ends, begins = self._ends.at_or_above(seqs), self._begins.at_or_above([seq + 1 for seq in seqs])
        return {seq: ends[seq] - begins[seq + 1] for seq in seqs}


class _Tally:
    """How many members stand at each seq."""

    __slots__ = ("_members",)

    def __init__(self) -> None:
        """Nobody stands anywhere."""
        self._members: dict[int, int] = {}

    def add(self, seq: int, members: int) -> None:
        """So many more, or fewer, stand here."""
        left = self._members.get(seq, 0) + members
        if left:
            self._members[seq] = left
        else:
            self._members.pop(seq, None)

    def at_or_above(self, seqs: Collection[int]) -> dict[int, int]:
        """Of each seq how many members stand there or above."""
        lowest = min(seqs, default=0)
        marks, members = sorted(mark for mark in self._members if mark >= lowest), 0
        found = {}
        for seq in sorted(seqs, reverse=True):
            while marks and marks[-1] >= seq:
                members += self._members[marks.pop()]
            found[seq] = members
        return found


class Crews:
    """Crews in memory, the least recently used first out. Bounded in members, not in groups."""

    __slots__ = ("_crews", "_members", "_most_members")

    def __init__(self, most_members: int = MEMBERS_IN_MEMORY) -> None:
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
        """What the tables say."""
        self.drop(session_id)
        self._crews[session_id] = crew
        self._members += _size(crew)
        self._shrink()

    def follow(self, persisted: Persisted) -> None:
        """Keep the crew current, if it is known; one that cannot be kept is forgotten."""
        session_id = persisted.message.session_id
        crew = self._crews.get(session_id)
        if crew is not None:
            before = _size(crew)
            if crew.follow(persisted):
                self._members += _size(crew) - before
                self._shrink()
            else:
                self.drop(session_id)

    def drop(self, session_id: str) -> None:
        """The tables are to be asked again."""
        crew = self._crews.pop(session_id, None)
        if crew is not None:
            self._members -= _size(crew)

    def clear(self) -> None:
        """Nothing is known."""
        self._crews.clear()
        self._members = 0

    def _shrink(self) -> None:
        while self._members > self._most_members and len(self._crews) > 1:
            self.drop(next(iter(self._crews)))


def _size(crew: Crew) -> int:
    """In members: a crew of nobody, of a group that is dissolved, takes its place too."""
    return len(crew.marks) + 1


class Untold:
    """Seqs whose counts changed, by session, until their authors are told `quiet_s` after the first change."""

    __slots__ = ("_quiet_s", "_sessions")

    def __init__(self, quiet_s: float) -> None:
        """So a session's authors are told at most once in `quiet_s`."""
        self._quiet_s = quiet_s
        self._sessions: dict[str, tuple[float, int, set[int]]] = {}

    def add(self, session_id: str, source_partition: int, seqs: Iterable[int], now_s: float) -> None:
        """These counts changed; `source_partition`: the source partition of the session."""
        _, _, changed = self._sessions.setdefault(session_id, (now_s + self._quiet_s, source_partition, set()))
        changed.update(seqs)

    def due(self, now_s: float) -> dict[str, tuple[int, list[int]]]:
        """Sessions that are due: (source_partition, the newest SEQS_TOLD of the seqs). They are taken out."""
        names = [name for name, (due_s, _, _) in self._sessions.items() if due_s <= now_s]
        taken = {name: self._sessions.pop(name) for name in names}
        return {
            name: (source_partition, sorted(seqs)[-SEQS_TOLD:]) for name, (_, source_partition, seqs) in taken.items()
        }

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
